"""LiteRT-LM."""
