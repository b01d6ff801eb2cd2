"""Training of the shipped classifiers: annotated graphs in, weights out. Not used by `analyze`."""
