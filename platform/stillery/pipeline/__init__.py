"""Which stages there are, and running those that are missing."""
