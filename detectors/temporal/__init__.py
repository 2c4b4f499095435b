"""Temporal anomaly scores: how surprising the newest value of a series is, given the series' own past."""
