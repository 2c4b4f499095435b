"""Detectors over what a model predicts."""
