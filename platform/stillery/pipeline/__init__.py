"""The order of the stages, and running those that are missing."""
