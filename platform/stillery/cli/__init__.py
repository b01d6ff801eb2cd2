"""The command line: one module per group of commands."""

from stillery.cli.main import main

__all__ = ["main"]
