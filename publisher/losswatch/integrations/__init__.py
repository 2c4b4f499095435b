"""Adapters for training frameworks. Each module imports its framework, and nothing else imports the module."""

from __future__ import annotations
