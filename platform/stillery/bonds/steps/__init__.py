"""Segmentation of a trace into steps."""
