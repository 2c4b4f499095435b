"""Records on disk: for outages longer than memory lasts, and for what a process leaves behind."""
