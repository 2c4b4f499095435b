"""Detectors over the components of one objective."""
