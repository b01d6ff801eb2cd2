"""Trained weights, and card.json: the data, its licence, the command, and the measured results."""
