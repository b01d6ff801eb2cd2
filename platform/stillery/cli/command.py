"""The definition of a command: its help text, its arguments, and its function."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `stillery`.

    `help` is its line in the list of commands, `description` heads its own help (default: the same line). `fill` adds
    the arguments to its parser; `run` executes it and returns the exit code. `until` is set if the command runs the
    pipeline: the last stage to run, or empty for all.
    """

    name: str
    help: str
    fill: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    description: str | None = None
    until: str | None = None


class CommandParser(argparse.ArgumentParser):
    """A parser whose description adds, when help is requested, the stages that the command runs."""

    until: str | None = None

    def format_help(self) -> str:
        if self.until is not None:
            from stillery.config import Config
            from stillery.pipeline.runner import stages_of

            config = Config()
            config.bonds.enabled = config.bonds.enabled or self.until == "bonds"
            names = ", ".join(stage.name for stage in stages_of(config, self.until or None))
            self.description = f"{self.description} Its stages, where they are not finished: {names}."
            self.until = None
        return super().format_help()


def add_config(parser: argparse.ArgumentParser, *, example: str) -> None:
    """The arguments of every command that runs the pipeline."""
    parser.add_argument("--config", metavar="FILE", help="a YAML file, or the name of a shipped config, such as demo")
    parser.add_argument("--show-config", action="store_true", help="print the resolved config and stop")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=f"such as {example}")
