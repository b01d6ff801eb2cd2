"""The order of the stages, and a runner for the missing ones."""
