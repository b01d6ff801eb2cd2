"""Measurements on a molecule, and on a model's attention."""
