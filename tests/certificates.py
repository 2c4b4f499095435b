"""Authorities and certificates for tests, made on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a certificate with its chain, and of its key."""

    chain: Path
    key: Path


class Authority:
    """Issues certificates. ``file`` is what those who trust it are given."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._ca = folder, trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def certificate(self, name: str) -> Certificate:
        """A certificate for a host name, an IP address or, for a client, any name."""
        issued = self._ca.issue_cert(name)
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        made.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(made.key)
        return made
