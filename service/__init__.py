"""The service: everything that is started, configured or looked at."""
