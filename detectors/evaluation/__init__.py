"""Detectors over two series of a run, one judged against the other."""
