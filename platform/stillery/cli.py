"""The command line, and the entry points of the jobs: parse, check, run, print the table.

Exit codes: 0 done, 2 something the user can mend (one or two lines, no traceback), 130 stopped with Ctrl-C; anything
else is a bug of ours or of a library, with its traceback.
"""

import argparse
import errno
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from stillery import __version__
from stillery.config import Config, load_config, to_yaml
from stillery.errors import UserError

# The command that runs the line up to a stage, and the stage. `run` goes to the end.
COMMANDS: dict[str, tuple[str | None, str]] = {
    "run": (None, "the whole line: problems to a registered student and a report"),
    "prompts": ("prompts", "make the problems"),
    "generate": ("generate", "sample the teacher"),
    "verify": ("verify", "check the teacher's answers"),
    "curate": ("curate", "choose the training data"),
    "train": ("sft", "fine-tune the student"),
    "evaluate": ("evaluate_after", "measure the distilled student"),
    "report": ("report", "everything, ending with the report"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        return _dispatch(parsed)
    except UserError as error:
        # One that was raised on a worker comes wrapped by Ray, with the worker's traceback as its text.
        return _complain(str(getattr(error, "cause", error)))
    except Exception as error:
        # Libraries wrap this one in many ways, but all keep the system's text.
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        return _complain("no space left on the disk; free some and run the same command again, it goes on from here")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def _complain(message: str) -> int:
    print(f"stillery: {message}", file=sys.stderr, flush=True)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stillery", description="Distil a model's reasoning into a smaller one.")
    parser.add_argument("--version", action="version", version=f"stillery {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{name}: {text}.")
        command.add_argument("--config", metavar="FILE", help="YAML file; the project's own are in jobs/configs")
        command.add_argument("--show-config", action="store_true", help="print the resolved config and stop")
        command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as teacher.samples_per_prompt=16")
    bonds = commands.add_parser(
        "bonds",
        help="the reasoning molecules of traces: a summary each, or a drawing",
        description="One line a trace: steps, bonds by kind, conflict, stability. A file holds JSON lines with the "
        "trace under text or completion (and, if there, question and answer), or else one trace as plain text.",
    )
    bonds.add_argument("file", metavar="FILE", help="JSON lines or text; - for standard input")
    bonds.add_argument("--json", action="store_true", help="print each molecule as a line of JSON")
    bonds.add_argument(
        "--draw", metavar="OUT", help="draw one trace, or two side by side: .html, or one as .svg or .png"
    )
    bonds.add_argument("--trace", type=int, nargs="+", help="only these traces, counted from 1")
    head = commands.add_parser("head", help="start a local Ray head, unless one runs")
    head.add_argument("--num-cpus", type=int, help="logical CPUs that Ray may hand out")
    return parser


def _dispatch(parsed: argparse.Namespace) -> int:
    if parsed.command == "bonds":
        from stillery.bonds.command import describe_file

        describe_file(parsed.file, as_json=parsed.json, draw=parsed.draw, chosen=parsed.trace)
        return 0
    if parsed.command == "head":
        from stillery.cluster import start_head

        print(start_head(num_cpus=parsed.num_cpus))
        return 0
    config = load_config(parsed.config, parsed.overrides)
    if parsed.show_config:
        print(to_yaml(config), end="")
        return 0
    until, _ = COMMANDS[parsed.command]
    return _run(config, until)


def _run(config: Config, until: str | None) -> int:
    # What workers and engines inherit from this process: no look-ups of models that are named as local folders.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from stillery.pipeline import run_pipeline

    outputs = run_pipeline(config, until=until)
    print()
    print(closing_table({name: output.summary for name, output in outputs.items()}))
    return 0


def closing_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """What a run ends with: accuracy of student before, student after and teacher, the report, the model version."""
    lines: list[str] = []
    roles = {"evaluate_before": "student before", "evaluate_after": "student after", "evaluate_teacher": "teacher"}
    for stage, role in roles.items():
        if stage in summaries:
            lines += _accuracy_rows(role, summaries[stage])
    if lines:
        top = max(next(iter(summaries[stage]["ks"] for stage in roles if stage in summaries)))
        lines.insert(
            0, f"{'model':<16}{'split':<10}{'problems':>9}{'pass@1':>16}{f'pass@{top}':>9}{f'majority@{top}':>12}"
        )
    if "curate" in summaries:
        funnel = summaries["curate"]
        lines.append(f"samples: {funnel['generated']} generated, {funnel['correct']} correct, {funnel['kept']} kept")
    if "report" in summaries:
        lines.append(f"report: {summaries['report']['path']}")
    if "register" in summaries:
        model = summaries["register"]
        aliases = ", ".join(model["aliases"])
        lines.append(f"model: models:/{model['name']}/{model['version']} ({aliases}) in {model['tracking_uri']}")
        lines.append(f"gate: {model['decision']}")
    return "\n".join(lines)


def _accuracy_rows(role: str, summary: Mapping[str, Any]) -> list[str]:
    top = max(summary["ks"])
    rows: list[str] = []
    for split, figures in summary["splits"].items():
        overall = figures["overall"]
        pass_1 = f"{overall['pass@1']['mean']:.3f} ± {overall['pass@1']['standard_error'] or 0:.3f}"
        rows.append(
            f"{role:<16}{split:<10}{overall['num_problems']:>9}{pass_1:>16}"
            f"{overall[f'pass@{top}']['mean']:>9.3f}{overall[f'majority@{top}']['mean']:>12.3f}"
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
