"""`stillery patterns` and `reward`, and `bonds` for any file of traces."""

import argparse

from stillery.cli.command import Command
from stillery.errors import UserError


def fill_bonds(parser: argparse.ArgumentParser) -> None:
    """The arguments of `stillery bonds` in addition to a run's settings."""
    parser.description = (
        "With FILE one line a trace: steps, bonds by kind, conflict, stability. FILE holds JSON lines with the trace "
        "under text or completion (and, if there, question and answer), or else one trace as plain text; - is standard "
        "input. Without FILE the stage bonds of a run."
    )
    parser.usage = "stillery bonds [FILE] [options] | stillery bonds [--config FILE] [KEY=VALUE ...]"
    parser.add_argument("--json", action="store_true", help="print each molecule as a line of JSON")
    parser.add_argument(
        "--draw", metavar="OUT", help="draw one trace, or two side by side: .html, or one as .svg or .png"
    )
    parser.add_argument("--trace", type=int, nargs="+", help="only these traces, counted from 1")
    parser.add_argument("--layout", choices=("arcs", "force"), default="arcs", help="layout of a drawing")
    parser.add_argument(
        "--reinforce", metavar="OUT", help="write the traces with checks inserted after firm transitions, JSON lines"
    )


def describe_traces(parsed: argparse.Namespace) -> int:
    """`stillery bonds FILE`: without a run."""
    from stillery.cli.bonds import describe_file

    file, *others = parsed.overrides
    if others:
        raise UserError(f"bonds: one FILE at a time, and no settings beside it; leave out {others[0]!r}")
    describe_file(
        file,
        as_json=parsed.json,
        draw=parsed.draw,
        chosen=parsed.trace,
        layout=parsed.layout,
        reinforced=parsed.reinforce,
    )
    return 0


def _fill_patterns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON lines; - for standard input")
    parser.add_argument("other", metavar="FILE", nargs="?", help="a second corpus to compare with")
    parser.add_argument("--problem", metavar="TEXT", help="show the patterns that suit this problem best")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")


def _patterns(parsed: argparse.Namespace) -> int:
    from stillery.cli.patterns import describe_patterns

    describe_patterns(parsed.file, parsed.other, problem=parsed.problem, as_json=parsed.json)
    return 0


def _fill_reward(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="JSON lines; - for standard input")
    parser.add_argument("--attack", action="store_true", help="run the adversarial suite")
    parser.add_argument("--traces", type=int, default=1, metavar="N", help="honest traces of each kind (default 1)")
    parser.add_argument("--every", type=int, default=1, metavar="M", help="only every M-th of them (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the honest traces and the attacks (default 0)")
    parser.add_argument("--json", action="store_true", help="print a line of JSON each")


def _reward(parsed: argparse.Namespace) -> int:
    from stillery.cli.reward import run_reward

    return run_reward(parsed)


COMMANDS = (
    Command(
        "patterns",
        help="the bond patterns of a corpus of traces, or of two compared",
        description="Shares of the bonds and what follows what, with 95%% intervals; effective patterns; isomers; with "
        "a second file how far the two corpora are apart, beside what chance alone gives. Files are as for bonds; "
        "prompt_id (or else question) says which traces share a problem.",
        fill=_fill_patterns,
        run=_patterns,
    ),
    Command(
        "reward",
        help="the refinement reward of completions, part by part, or attacks on it",
        description="A file holds JSON lines of question, answer and completion (and, if there, answer_kind, choices, "
        "teacher_length, teacher_steps). --attack runs the adversarial suite over honest traces of its own: a row an "
        "attack, exit code 1 where one is worth more than its honest twin.",
        fill=_fill_reward,
        run=_reward,
    ),
)
