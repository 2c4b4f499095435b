"""Detectors over what a run declares about itself."""
