"""Curation: which generations become training data."""
