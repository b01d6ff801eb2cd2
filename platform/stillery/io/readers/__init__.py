"""Readers of problem and generation files, as streams of rows."""
