"""Detectors over how near the training samples are to those that are predicted."""
