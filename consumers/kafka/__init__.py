"""Any Kafka-compatible broker, by way of kafka-python."""

from __future__ import annotations

from consumers.kafka.broker import KafkaBroker

__all__ = ["KafkaBroker"]
