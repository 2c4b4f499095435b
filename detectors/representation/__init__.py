"""Detectors over embeddings."""
