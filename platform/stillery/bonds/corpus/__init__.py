"""Patterns of bonds over many traces."""
