"""How the shipped classifiers are trained: annotated graphs in, weights out. Not used by `analyze`."""
