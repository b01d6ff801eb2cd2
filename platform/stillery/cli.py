"""The command line, and the entry points of the jobs: parse, check, run, print the table.

Exit codes: 0 done, 2 something the user can mend (one or two lines, no traceback), 130 stopped with Ctrl-C; anything
else is a bug of ours or of a library, with its traceback.
"""

import argparse
import errno
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillery import __version__
from stillery.config import Config, load_config, to_yaml
from stillery.errors import UserError
from stillery.serve.doors.keys_command import fill_keys_parser, run_keys

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
    bonds.add_argument("--layout", choices=("arcs", "force"), default="arcs", help="how a drawing is laid out")
    bonds.add_argument(
        "--reinforce", metavar="OUT", help="write the traces with checks inserted after firm transitions, JSON lines"
    )
    patterns = commands.add_parser(
        "patterns",
        help="the bond patterns of a corpus of traces, or of two compared",
        description="Shares of the bonds and what follows what, with 95%% intervals; effective patterns; isomers; with "
        "a second file how far the two corpora are apart, beside what chance alone gives. Files are as for bonds; "
        "prompt_id (or else question) says which traces share a problem.",
    )
    patterns.add_argument("file", metavar="FILE", help="JSON lines; - for standard input")
    patterns.add_argument("other", metavar="FILE", nargs="?", help="a second corpus to compare with")
    patterns.add_argument("--problem", metavar="TEXT", help="show the patterns that suit this problem best")
    patterns.add_argument("--json", action="store_true", help="print everything as one JSON object")
    fill_keys_parser(commands.add_parser("keys", help="the API keys of an endpoint: add, list, revoke"))
    serve = commands.add_parser(
        "serve",
        help="an OpenAI-compatible endpoint for a registered model, until Ctrl-C",
        description="Serve a model of the registry, a folder or a Hub model, following the registry's alias.",
    )
    serve.add_argument(
        "--config", metavar="FILE", help="a Ray Serve config file; the project's own is serving/serve.yaml"
    )
    serve.add_argument("--show-config", action="store_true", help="print the resolved config and stop")
    serve.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as port=8001 or engine.replicas=2")
    promote = commands.add_parser(
        "promote",
        help="make a version the champion, if it passes the gate",
        description="Move the alias `champion` to a version that beats the present champion by more than chance; "
        "endpoints that follow the alias change over.",
    )
    promote.add_argument("name", metavar="NAME", help="the registered model")
    promote.add_argument("version", metavar="VERSION", help="such as 3")
    promote.add_argument("--force", metavar="REASON", help="promote whatever the gate says; the reason is recorded")
    promote.add_argument("--tracking-uri", metavar="URI", help="MLflow, where $MLFLOW_TRACKING_URI does not say it")
    rollback = commands.add_parser("rollback", help="make the champion before this one the champion again")
    rollback.add_argument("name", metavar="NAME", help="the registered model")
    rollback.add_argument("--tracking-uri", metavar="URI", help="MLflow, where $MLFLOW_TRACKING_URI does not say it")
    plan = commands.add_parser(
        "plan",
        help="what a run will need and cost, before it starts",
        description="GPUs, memory, tokens, time and price by stage, from the config and the models' config.json alone. "
        "Throughputs, prices and acceptance come from the config's section `plan`. Exits with 2 where it cannot work.",
    )
    plan.add_argument("--config", metavar="FILE", help="YAML file; the project's own are in jobs/configs")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.add_argument("--model-config", metavar="MODEL=FILE", action="append", default=[], help="a model's config.json")
    plan.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as plan.gpu_memory_gib=80")
    edge = commands.add_parser(
        "export",
        help="edge artifacts (GGUF, ONNX, ExecuTorch) that answer like the checkpoint",
        description="Export a checkpoint, compare every artifact with it in the artifact's own runtime, and keep those "
        "that agree. Exits with 1 where none is kept, or none fits the budget.",
    )
    edge.add_argument("--config", metavar="FILE", help="YAML file; the project's own are in jobs/configs")
    edge.add_argument(
        "--format",
        metavar="NAMES",
        help="gguf,onnx,executorch or all (default: export.formats)",
    )
    edge.add_argument("--quantization", metavar="NAMES", help="such as Q8_0,Q4_K_M (default: two usual ones a format)")
    edge.add_argument("--out", metavar="DIR", default="exports", help="where artifacts go (default exports)")
    edge.add_argument("--max-size-mb", type=float, metavar="MB", help="name the best artifact within this size")
    edge.add_argument("--max-accuracy-drop", type=float, metavar="SHARE", help="and this drop, such as 0.01")
    edge.add_argument("model", metavar="MODEL", help="models:/NAME@champion, a checkpoint folder or embedded:student")
    edge.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as export.num_problems=200; after MODEL")
    head = commands.add_parser("head", help="start a local Ray head, unless one runs, or stop it")
    head.add_argument("--num-cpus", type=int, help="logical CPUs that Ray may hand out")
    head.add_argument("--port", type=int, default=6379, help="where Ray's processes meet (default 6379)")
    head.add_argument("--dashboard-port", type=int, default=8265, help="where jobs are submitted (default 8265)")
    head.add_argument("--agent-port", type=int, default=52365, help="of the agent that starts jobs (default 52365)")
    head.add_argument("--temp-dir", metavar="DIR", help="an absolute, short path for logs and sockets")
    head.add_argument("--stop", action="store_true", help="stop the head at --port, and no other Ray")
    return parser


def _dispatch(parsed: argparse.Namespace) -> int:
    if parsed.command == "bonds":
        from stillery.bonds.command import describe_file

        describe_file(
            parsed.file,
            as_json=parsed.json,
            draw=parsed.draw,
            chosen=parsed.trace,
            layout=parsed.layout,
            reinforced=parsed.reinforce,
        )
        return 0
    if parsed.command == "patterns":
        from stillery.bonds.patterns_command import describe_patterns

        describe_patterns(parsed.file, parsed.other, problem=parsed.problem, as_json=parsed.json)
        return 0
    if parsed.command == "keys":
        print(run_keys(parsed))
        return 0
    if parsed.command == "serve":
        from stillery.serve.command import serve_endpoint

        serve_endpoint(parsed.config, parsed.overrides, show_config=parsed.show_config)
        return 0
    if parsed.command == "promote":
        from stillery.registry.promotion import promote

        print(promote(parsed.name, parsed.version, tracking_uri=parsed.tracking_uri, force=parsed.force))
        return 0
    if parsed.command == "rollback":
        from stillery.registry.promotion import roll_back

        print(roll_back(parsed.name, tracking_uri=parsed.tracking_uri))
        return 0
    if parsed.command == "plan":
        from stillery.plan.command import plan_run

        plan_run(parsed.config, parsed.overrides, as_json=parsed.json, model_configs=parsed.model_config)
        return 0
    if parsed.command == "export":
        return _export(parsed)
    if parsed.command == "head":
        from stillery.head import Ports, start_head, stop_head

        ports = Ports(parsed.port, parsed.dashboard_port, parsed.agent_port)
        if parsed.stop:
            print(stop_head(ports))
        else:
            print(start_head(ports, num_cpus=parsed.num_cpus, temp_dir=parsed.temp_dir))
        return 0
    config = load_config(parsed.config, parsed.overrides)
    if parsed.show_config:
        print(to_yaml(config), end="")
        return 0
    until, _ = COMMANDS[parsed.command]
    return _run(config, until)


def _export(parsed: argparse.Namespace) -> int:
    config = load_config(parsed.config, parsed.overrides)
    if parsed.format:
        config.export.formats = parsed.format.split(",")
    if parsed.quantization:
        config.export.quantizations = parsed.quantization.split(",")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from stillery.export.command import export

    budget = {"max_size_mb": parsed.max_size_mb, "max_accuracy_drop": parsed.max_accuracy_drop}
    return export(parsed.model, config, out=Path(parsed.out), **budget)


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
    if exported := summaries.get("export", {}).get("candidates"):
        from stillery.export.candidates import table

        lines += ["", table(exported)]
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
