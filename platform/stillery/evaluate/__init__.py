"""Evaluation: how well a model solves problems that shaped neither it nor the choice of it."""
