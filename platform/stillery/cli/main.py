"""The command line and the entry points of the jobs: parse, check, run, print.

Exit codes: 0 done, 2 something the user can mend (one or two lines, no traceback), 130 stopped with Ctrl-C; anything
else is a bug of ours or of a library, with its traceback.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillery.cli.arguments import RENAMED, STAGE_COMMANDS, parse_arguments
from stillery.cli.keys import run_keys
from stillery.config import Config, load_config, to_yaml
from stillery.errors import UserError
from stillery.telemetry import logs
from stillery.telemetry.logs import logger, with_fields


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] and given[0] in RENAMED:
        return _complain(f"there is no command {given[0]}; it is `stillery {RENAMED[given[0]]}` now")
    parsed = parse_arguments(given)
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
    logger.error(message)
    return 2


def _dispatch(parsed: argparse.Namespace) -> int:
    if parsed.command in HANDLERS:
        return HANDLERS[parsed.command](parsed)
    if parsed.command in FILE_HANDLERS and parsed.overrides and "=" not in parsed.overrides[0]:
        return FILE_HANDLERS[parsed.command](parsed)
    if parsed.command == "prompts" and parsed.inspect is not None:
        from stillery.problems.inspection import inspect_file

        print(inspect_file(parsed.inspect), end="")
        return 0
    config = load_config(parsed.config, parsed.overrides)
    if parsed.command == "bonds":
        config.bonds.enabled = True
    if parsed.show_config:
        print(to_yaml(config), end="")
        return 0
    if parsed.command == "attention" and config.attention.target is None:
        raise UserError("attention.target is null: set it to teacher or bonds")
    if parsed.command == "refine" and not config.refine.enabled:
        raise UserError("refine.enabled is false: set it, or take --config refine")
    if parsed.command == "report":
        from stillery.pipeline.runner import report_finished

        print(f"report: {report_finished(config).summary['path']}")
        return 0
    return _run(config, None if parsed.command == "run" else STAGE_COMMANDS[parsed.command][0])


def _runs(parsed: argparse.Namespace) -> int:
    from stillery.cli import runs

    print(runs.list_runs() if parsed.action == "list" else runs.ACTIONS[parsed.action](parsed.run))
    return 0


def _explain(parsed: argparse.Namespace) -> int:
    from stillery.cli.explain import explain

    print(explain(parsed.sample, run=parsed.run))
    return 0


def _ui(parsed: argparse.Namespace) -> int:
    from stillery.cli.ui import serve_runs

    serve_runs(parsed.runs, host=parsed.host, port=parsed.port, key_file=parsed.keys, open_browser=parsed.open)
    return 0


def _bonds(parsed: argparse.Namespace) -> int:
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


def _parity(parsed: argparse.Namespace) -> int:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from stillery.cli.parity import check_parity

    config = load_config(parsed.config, parsed.overrides)
    settings = {"quantization": parsed.quantization, "as_json": parsed.json}
    return check_parity(parsed.checkpoint, Path(parsed.artifact), config, **settings)


def _benchmark(parsed: argparse.Namespace) -> int:
    from stillery.benchmark.measuring import Settings
    from stillery.cli.benchmark import Options, benchmark

    settings = Settings(parsed.samples, parsed.max_tokens, parsed.greedy, parsed.instruction)
    options = Options(
        tasks=parsed.tasks,
        data=None if parsed.data is None else Path(parsed.data).expanduser(),
        limit=parsed.limit,
        settings=settings,
        against=parsed.against,
        max_loss=parsed.max_loss / 100,
        served_name=parsed.served_name,
        as_json=parsed.json,
    )
    return benchmark(parsed.model, load_config(parsed.config, parsed.overrides), options)


def _patterns(parsed: argparse.Namespace) -> int:
    from stillery.cli.patterns import describe_patterns

    describe_patterns(parsed.file, parsed.other, problem=parsed.problem, as_json=parsed.json)
    return 0


def _reward(parsed: argparse.Namespace) -> int:
    from stillery.cli.reward import run_reward

    return run_reward(parsed)


def _keys(parsed: argparse.Namespace) -> int:
    print(run_keys(parsed))
    return 0


def _serve(parsed: argparse.Namespace) -> int:
    from stillery.cli.serve import serve_endpoint

    overrides = list(parsed.overrides)
    if overrides and "=" not in overrides[0]:
        overrides[0] = f"model={overrides[0]}"
    serve_endpoint(parsed.config, overrides, show_config=parsed.show_config)
    return 0


def _promote(parsed: argparse.Namespace) -> int:
    from stillery.pipeline.measuring import measure_as_in
    from stillery.registry.promotion import promote

    uri = parsed.tracking_uri
    print(promote(parsed.name, parsed.version, measure_as_in=measure_as_in, tracking_uri=uri, force=parsed.force))
    return 0


def _roll_back(parsed: argparse.Namespace) -> int:
    from stillery.registry.promotion import roll_back

    print(roll_back(parsed.name, tracking_uri=parsed.tracking_uri))
    return 0


def _push(parsed: argparse.Namespace) -> int:
    from stillery.cli.push import push

    out = None if parsed.out is None else Path(parsed.out)
    print(push(parsed.source, to=parsed.to, out=out, private=parsed.private, tracking_uri=parsed.tracking_uri))
    return 0


def _plan(parsed: argparse.Namespace) -> int:
    from stillery.cli.plan import plan_run

    plan_run(parsed.config, parsed.overrides, as_json=parsed.json, model_configs=parsed.model_config)
    return 0


def _export(parsed: argparse.Namespace) -> int:
    model, *overrides = parsed.overrides
    config = load_config(parsed.config, overrides)
    if parsed.format:
        config.export.formats = parsed.format.split(",")
        # A config file's quantizations belong to the formats that it names.
        if not any(override.startswith("export.quantizations=") for override in overrides):
            config.export.quantizations = []
    if parsed.quantization:
        config.export.quantizations = parsed.quantization.split(",")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from stillery.cli.export import export

    budget = {"max_size_mb": parsed.max_size_mb, "max_accuracy_drop": parsed.max_accuracy_drop}
    return export(model, config, out=Path(parsed.out), **budget)


def _head(parsed: argparse.Namespace) -> int:
    from stillery.cluster.head import Ports, start_head, stop_head

    ports = Ports(parsed.port, parsed.dashboard_port, parsed.agent_port)
    if parsed.stop:
        print(stop_head(ports))
    else:
        print(start_head(ports, num_cpus=parsed.num_cpus, temp_dir=parsed.temp_dir))
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from stillery.cli.doctor import diagnose

    return diagnose(address=parsed.address)


def _init(parsed: argparse.Namespace) -> int:
    from stillery.cli.init import write_config

    answers = {name: getattr(parsed, name) for name in ("teacher", "student", "problems", "test", "name")}
    print(write_config(Path(parsed.file), answers, force=parsed.force))
    return 0


HANDLERS: dict[str, Callable[[argparse.Namespace], int]] = {
    "runs": _runs,
    "explain": _explain,
    "parity": _parity,
    "benchmark": _benchmark,
    "ui": _ui,
    "patterns": _patterns,
    "reward": _reward,
    "serve keys": _keys,
    "serve": _serve,
    "promote": _promote,
    "rollback": _roll_back,
    "push": _push,
    "plan": _plan,
    "head": _head,
    "doctor": _doctor,
    "init": _init,
}
# Commands that are stages of a run, and take a file or a model of anyone's as well.
FILE_HANDLERS: dict[str, Callable[[argparse.Namespace], int]] = {"bonds": _bonds, "export": _export}


def _run(config: Config, until: str | None) -> int:
    # What workers and engines inherit from this process: no look-ups of models that are named as local folders.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from stillery.pipeline.runner import run_pipeline

    logs.check_format()
    outputs = run_pipeline(config, until=until)
    logger.info(
        "\n" + closing_table({name: output.summary for name, output in outputs.items()}),
        extra=with_fields(run=config.run.name),
    )
    return 0


def closing_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """What a run ends with: accuracy of student before, student after and teacher, the report, the model version."""
    lines: list[str] = []
    roles = {
        "evaluate_before": "student before",
        "evaluate_sft": "fine-tuned",
        "evaluate_after": "student after",
        "evaluate_teacher": "teacher",
    }
    for stage, role in roles.items():
        if stage in summaries:
            lines += _accuracy_rows(role, summaries[stage])
    if lines:
        top = max(next(iter(summaries[stage]["ks"] for stage in roles if stage in summaries)))
        lines.insert(
            0, f"{'model':<16}{'split':<10}{'problems':>9}{'pass@1':>16}{f'pass@{top}':>9}{f'majority@{top}':>12}"
        )
    failed = {stage: summary["failed"] for stage, summary in summaries.items() if summary.get("failed")}
    if failed:
        shares = ", ".join(f"{share:.1%} in {stage}" for stage, share in failed.items())
        lines.append(f"samples that failed, and count in no rate: {shares}")
    if "curate" in summaries:
        funnel = summaries["curate"]
        lines.append(f"samples: {funnel['generated']} generated, {funnel['correct']} correct, {funnel['kept']} kept")
    if "refine" in summaries:
        lines.append(_refinement(summaries["refine"]))
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


def _refinement(summary: Mapping[str, Any]) -> str:
    before, after, last = (summary[f"validation_{name}"] for name in ("before", "after", "last"))
    kept = f"step {summary['kept_step']} of {summary['last_step']} kept"
    return f"refinement: {kept}, validation pass@1 {before:.3f} before, {after:.3f} there, {last:.3f} at the end"


def _accuracy_rows(role: str, summary: Mapping[str, Any]) -> list[str]:
    top = max(summary["ks"])
    rows: list[str] = []
    for split, figures in summary["splits"].items():
        overall = figures["overall"]
        pass_1 = f"{overall['pass@1']['mean']:.3f} ± {overall['pass@1']['standard_error'] or 0:.3f}"
        rows.append(
            f"{role:<16}{split:<10}{overall['num_problems']:>9}{pass_1:>16}"
            f"{_mean(overall, f'pass@{top}'):>9}{_mean(overall, f'majority@{top}'):>12}"
        )
    return rows


def _mean(measures: Mapping[str, Any], name: str) -> str:
    """A measure that failures may have left no problem for."""
    return f"{measures[name]['mean']:.3f}" if name in measures else "-"


if __name__ == "__main__":
    sys.exit(main())
