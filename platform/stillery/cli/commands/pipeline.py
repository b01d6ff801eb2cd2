"""`stillery run`, a command for each stage, and `report`."""

import argparse
import os
from collections.abc import Callable
from functools import partial

from stillery.cli.command import Command, add_config
from stillery.cli.commands.models import export_model, fill_export
from stillery.cli.commands.traces import describe_traces, fill_bonds
from stillery.config import Config, load_config, to_yaml
from stillery.errors import UserError
from stillery.telemetry import logs
from stillery.telemetry.logs import logger, with_fields

# A command with a stage's name runs the pipeline up to it: the stage, its description, its own example.
STAGE_COMMANDS: dict[str, tuple[str, str, str]] = {
    "prompts": ("prompts", "make or read the problems", "prompts.source=file prompts.train=problems.jsonl"),
    "generate": ("generate", "sample the teacher, best of n", "teacher.samples_per_prompt=16"),
    "verify": ("verify", "grade the teacher's answers", "verify.num_processes=8"),
    "bonds": ("bonds", "find the molecules of the teacher's samples, or of FILE", "bonds.enabled=true"),
    "curate": ("curate", "choose the training data", "curate.max_per_prompt=2"),
    "attention": ("attention", "find what the student is to attend to", "attention.target=bonds"),
    "sft": ("sft", "fine-tune the student", "sft.trl.learning_rate=1e-5"),
    "refine": ("refine", "refine the student by rewards or preferences", "refine.enabled=true"),
    "evaluate": ("evaluate_after", "measure the distilled student", "evaluate.samples_per_prompt=16"),
    "register": ("register", "register the student with its lineage", "register.name=my-student"),
    "export": ("export", "make edge artifacts of the student, or of MODEL", "export.formats=[gguf]"),
}


def _fill_prompts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--inspect",
        metavar="FILE",
        help="say what a file of problems or recorded generations holds, propose the config, and stop",
    )


# The additional arguments of a stage's command besides a run's settings.
_OWN_ARGUMENTS = {"prompts": _fill_prompts, "bonds": fill_bonds, "export": fill_export}
# Stages that accept any file or model in place of a run.
_WITHOUT_A_RUN: dict[str, Callable[[argparse.Namespace], int]] = {"bonds": describe_traces, "export": export_model}


def _fill(parser: argparse.ArgumentParser, *, name: str, example: str) -> None:
    if name in _OWN_ARGUMENTS:
        _OWN_ARGUMENTS[name](parser)
    add_config(parser, example=example)


def _stage(parsed: argparse.Namespace) -> int:
    name = parsed.command
    if name in _WITHOUT_A_RUN and parsed.overrides and "=" not in parsed.overrides[0]:
        return _WITHOUT_A_RUN[name](parsed)
    if name == "prompts" and parsed.inspect is not None:
        from stillery.problems.inspection import inspect_file

        print(inspect_file(parsed.inspect), end="")
        return 0
    config = load_config(parsed.config, parsed.overrides)
    if name == "bonds":
        config.bonds.enabled = True
    if parsed.show_config:
        return _show(config)
    if name == "attention" and config.attention.target is None:
        raise UserError("attention.target is null: set it to teacher or bonds")
    if name == "refine" and not config.refine.enabled:
        raise UserError("refine.enabled is false: set it, or take --config refine")
    return _run_until(config, STAGE_COMMANDS[name][0])


def _run(parsed: argparse.Namespace) -> int:
    config = load_config(parsed.config, parsed.overrides)
    return _show(config) if parsed.show_config else _run_until(config, None)


def _report(parsed: argparse.Namespace) -> int:
    config = load_config(parsed.config, parsed.overrides)
    if parsed.show_config:
        return _show(config)
    from stillery.pipeline.runner import report_finished

    print(f"report: {report_finished(config).summary['path']}")
    return 0


def _show(config: Config) -> int:
    print(to_yaml(config), end="")
    return 0


def _run_until(config: Config, until: str | None) -> int:
    # Inherited by workers and engines: no look-ups of models that are named as local folders.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from stillery.cli.closing import closing_table
    from stillery.pipeline.runner import run_pipeline

    logs.check_format()
    outputs = run_pipeline(config, until=until)
    logger.info(
        "\n" + closing_table({name: output.summary for name, output in outputs.items()}),
        extra=with_fields(run=config.run.name),
    )
    return 0


COMMANDS = (
    Command(
        "run",
        help="the whole pipeline: problems to a registered student and a report",
        description="The whole pipeline.",
        fill=partial(_fill, name="run", example="teacher.samples_per_prompt=16"),
        run=_run,
        until="",
    ),
    *(
        Command(name, help=text, fill=partial(_fill, name=name, example=example), run=_stage, until=until)
        for name, (until, text, example) in STAGE_COMMANDS.items()
    ),
    Command(
        "report",
        help="write the report of what is finished",
        description="Write the report of the stages that are finished; no other stage runs.",
        fill=partial(_fill, name="report", example="report.num_traces=6"),
        run=_report,
    ),
)
