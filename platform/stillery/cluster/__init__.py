"""The Ray cluster: connecting to it, a head on this machine, and its capacity."""
