"""The command line: one module a group of commands."""

from stillery.cli.main import main

__all__ = ["main"]
