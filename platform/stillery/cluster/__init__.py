"""The Ray cluster: connecting to it, a head on this machine, and what it can hold."""
