"""stillery distils the reasoning of a large language model into a small one, on Ray."""

__version__ = "0.1.0"
