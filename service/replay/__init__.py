"""Logs that people already have, put through the detectors as if the job had published them."""
