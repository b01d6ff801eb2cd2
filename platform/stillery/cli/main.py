"""The command line and the entry points of the jobs: parse, run, report errors.

Exit codes: 0 done, 2 an error that the user can fix (one or two lines, no traceback), 130 stopped with Ctrl-C; anything
else is a bug of ours or of a library, with its traceback.
"""

import argparse
import errno
import os
import sys
from collections.abc import Iterator, Sequence

from stillery import __version__
from stillery.cli.command import CommandParser
from stillery.cli.commands import GROUPS
from stillery.errors import UserError
from stillery.telemetry.logs import logger

# Commands that had another name in an earlier version.
RENAMED = {"train": "sft", "keys": "serve keys"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] and given[0] in RENAMED:
        return _print_error(f"there is no command {given[0]}; it is `stillery {RENAMED[given[0]]}` now")
    parsed = parse_arguments(given)
    try:
        return parsed.run_command(parsed)
    except UserError as error:
        # Ray wraps one raised on a worker, with the worker's traceback as its text.
        return _print_error(str(getattr(error, "cause", error)))
    except Exception as error:
        # Libraries wrap this error in many ways, but all keep the system's text.
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        return _print_error("no space left on the disk; free some and run the same command again, it goes on from here")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def _print_error(message: str) -> int:
    logger.error(message)
    return 2


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. Exits with 2 and a message if it is invalid."""
    given = list(arguments)
    # Two words that form one command: an endpoint's model may stand in place of the second.
    if given[:2] == ["serve", "keys"]:
        given[:2] = ["serve keys"]
    parser = make_parser()
    parsed, rest = parser.parse_known_args(given)
    # argparse does not accept settings after an option.
    if rest and (not hasattr(parsed, "overrides") or any(text.startswith("-") or "=" not in text for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parsed.overrides += rest
    return parsed


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; a parsed line has its command's function under `run_command`."""
    parser = argparse.ArgumentParser(
        prog="stillery",
        usage="stillery COMMAND ...",
        description="Distil a model's reasoning into a smaller one.",
        epilog="\n".join(_list_commands()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stillery {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=CommandParser, help=argparse.SUPPRESS
    )
    for command in (command for group in GROUPS.values() for command in group):
        description = command.description or f"{command.help[0].upper()}{command.help[1:]}."
        added = commands.add_parser(command.name, help=command.help, description=description)
        added.until = command.until
        added.set_defaults(run_command=command.run)
        command.fill(added)
    return parser


def _list_commands() -> Iterator[str]:
    """The commands in their groups: argparse lists subcommands only in a single group."""
    for title, commands in GROUPS.items():
        yield f"{title}:"
        yield from (f"  {command.name:<12}{command.help}" for command in commands)
        yield ""
    yield "`stillery COMMAND --help` says more."


if __name__ == "__main__":
    sys.exit(main())
