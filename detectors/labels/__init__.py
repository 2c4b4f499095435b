"""Detectors over predictions and the labels that came with them."""
