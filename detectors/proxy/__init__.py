"""Detectors over two errors of the same samples."""
