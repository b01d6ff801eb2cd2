"""Logs, metrics and traces of a run."""
