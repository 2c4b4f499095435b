"""Kafka on one side, columns on the other: from records to the detectors and back."""
