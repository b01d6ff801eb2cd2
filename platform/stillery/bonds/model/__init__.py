"""The role of each step and the links between steps."""
