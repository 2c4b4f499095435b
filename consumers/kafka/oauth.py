"""OAUTHBEARER tokens that something else keeps fresh in a file, as Kubernetes does for service accounts."""

from __future__ import annotations

from pathlib import Path

from kafka.net.sasl.oauth import AbstractTokenProvider


class FileToken(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """Reads the token anew for every connection; raises OSError where it cannot."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def token(self) -> str:
        """The token of now."""
        return self._path.read_text().strip()

    def extensions(self) -> dict[str, str]:
        """None."""
        return {}
