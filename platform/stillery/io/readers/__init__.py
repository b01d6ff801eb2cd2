"""Rows of files as people have them: problems and recorded generations are read by the same code."""
