"""Detectors over one series at a time."""
