"""Drawings and pages of molecules."""
