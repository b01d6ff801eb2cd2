"""`stillery promote`, `rollback`, `push`, `benchmark` and `parity`, and `export` for any model."""

import argparse
import os
from pathlib import Path

from stillery.cli.command import Command
from stillery.config import load_config


def fill_export(parser: argparse.ArgumentParser) -> None:
    """The arguments of `stillery export` in addition to a run's settings."""
    parser.description = (
        "With MODEL (models:/NAME@champion, a checkpoint folder or embedded:student) export it, compare every artifact "
        "with it in the artifact's own runtime, and keep those that agree; exits with 1 where none is kept, or none "
        "fits the budget. Without MODEL the stage export of a run."
    )
    parser.usage = "stillery export MODEL [options] [KEY=VALUE ...] | stillery export [--config FILE] [KEY=VALUE ...]"
    parser.add_argument(
        "--format", metavar="NAMES", help="gguf,onnx,executorch,litert,vllm or all (default: export.formats)"
    )
    parser.add_argument(
        "--quantization", metavar="NAMES", help="such as Q8_0,Q4_K_M (default: two usual ones a format)"
    )
    parser.add_argument("--out", metavar="DIR", default="exports", help="where artifacts go (default exports)")
    parser.add_argument("--max-size-mb", type=float, metavar="MB", help="name the best artifact within this size")
    parser.add_argument(
        "--max-accuracy-drop", type=float, metavar="SHARE", help="and this drop of accuracy, such as 0.01"
    )


def export_model(parsed: argparse.Namespace) -> int:
    """`stillery export MODEL`: without a run."""
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


def _fill_parity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, models:/NAME@ALIAS or embedded:student")
    parser.add_argument("artifact", metavar="ARTIFACT", help="a file or folder")
    parser.add_argument(
        "--quantization", metavar="NAME", help="what it is held to, such as Q4_K_M (default: as it says)"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="a YAML file or shipped config; `prompts` and `export` are read"
    )
    parser.add_argument("--json", action="store_true", help="print checks and figures as one JSON object")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as export.num_problems=20")


def _parity(parsed: argparse.Namespace) -> int:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from stillery.cli.parity import check_parity

    config = load_config(parsed.config, parsed.overrides)
    settings = {"quantization": parsed.quantization, "as_json": parsed.json}
    return check_parity(parsed.checkpoint, Path(parsed.artifact), config, **settings)


def _fill_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="what to measure")
    parser.add_argument(
        "--tasks", required=True, metavar="NAMES",
        help="gsm8k, math500, aime24, aime25, gpqa, mmlu, arc_challenge, or a file's name in --data; with commas",
    )  # fmt: skip
    parser.add_argument(
        "--data", metavar="FOLDER", help="TASK.jsonl or TASK/test.jsonl (or .csv, .parquet); else from the Hub"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N problems of each task")
    parser.add_argument("--samples", type=int, metavar="K", help="samples of each problem (default: as quoted)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="length of an answer (default: as quoted)")
    parser.add_argument("--greedy", action="store_true", help="one sample at temperature 0")
    parser.add_argument(
        "--instruction", default="auto", metavar="TEXT",
        help="before each question: a text, `template`, `none`, or `auto`: the task's usual one, none for students "
        "of stillery, which were trained on bare questions",
    )  # fmt: skip
    parser.add_argument("--against", metavar="MODEL", help="measure this one too, and say what was forgotten")
    parser.add_argument(
        "--max-loss", type=float, default=2.0, metavar="POINTS", help="the loss against it that is allowed (default 2)"
    )
    parser.add_argument("--served-name", metavar="NAME", help="the model's name at a server that has several")
    parser.add_argument("--json", action="store_true", help="print the receipt")
    parser.add_argument(
        "--config", metavar="FILE", help="a YAML file or shipped config; `evaluate` says how the engine runs"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as evaluate.num_gpus=1")


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


def _fill_promote(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the registered model")
    parser.add_argument("version", metavar="VERSION", help="such as 3")
    parser.add_argument("--force", metavar="REASON", help="promote against the gate; the reason is recorded")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow, where $MLFLOW_TRACKING_URI does not say it")


def _promote(parsed: argparse.Namespace) -> int:
    from stillery.pipeline.measuring import measure_as_in
    from stillery.registry.promotion import promote

    uri = parsed.tracking_uri
    print(promote(parsed.name, parsed.version, measure_as_in=measure_as_in, tracking_uri=uri, force=parsed.force))
    return 0


def _fill_rollback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the registered model")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow, where $MLFLOW_TRACKING_URI does not say it")


def _roll_back(parsed: argparse.Namespace) -> int:
    from stillery.registry.promotion import roll_back

    print(roll_back(parsed.name, tracking_uri=parsed.tracking_uri))
    return 0


def _fill_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="models:/NAME@ALIAS, a folder, or a run's name")
    parser.add_argument("--to", metavar="ORG/NAME", help="the Hub's repository; it is made if it is not there")
    parser.add_argument("--out", metavar="FOLDER", help="put what would be pushed here, and upload nothing")
    parser.add_argument("--private", action="store_true", help="make the repository private, where it is made")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's, for a registered version")


def _push(parsed: argparse.Namespace) -> int:
    from stillery.cli.push import push

    out = None if parsed.out is None else Path(parsed.out)
    print(push(parsed.source, to=parsed.to, out=out, private=parsed.private, tracking_uri=parsed.tracking_uri))
    return 0


COMMANDS = (
    Command(
        "benchmark",
        help="the usual benchmarks (gsm8k, math500, aime24, ...) of any model, with a receipt",
        description="avg@k with standard errors on problems that everybody quotes, by the run's own evaluation; a "
        "receipt says how each figure came about. MODEL is models:/NAME@ALIAS, a folder, embedded:teacher, a Hub name "
        "or the URL of an OpenAI-compatible server. A registered version gets the figures in MLflow and in its run's "
        "report. Exit code 1 where --against finds a task lost. Such as: stillery benchmark models:/student@champion "
        "--tasks gsm8k,math500 --data problems --limit 100",
        fill=_fill_benchmark,
        run=_benchmark,
    ),
    Command(
        "parity",
        help="whether anyone's artifact answers like its checkpoint",
        description="The gate of `export` for a GGUF file, or a folder of ONNX Runtime GenAI, ExecuTorch, LiteRT-LM "
        "or quantized weights for vLLM: every check with its limit; exit code 0 where all pass, 1 where one fails.",
        fill=_fill_parity,
        run=_parity,
    ),
    Command(
        "promote",
        help="make a version the champion, if it passes the gate",
        description="Move the alias `champion` to a version that beats the present champion by more than chance; "
        "endpoints that follow the alias change over.",
        fill=_fill_promote,
        run=_promote,
    ),
    Command(
        "rollback",
        help="make the champion before this one the champion again",
        fill=_fill_rollback,
        run=_roll_back,
    ),
    Command(
        "push",
        help="share a model, an edge artifact or a training set on the Hugging Face Hub",
        description="SOURCE is a registered version (models:/NAME@ALIAS), a folder with a model card (a checkpoint, an "
        "adapter, an artifact of `stillery export`), or a run, whose training set is pushed as a data set.",
        fill=_fill_push,
        run=_push,
    ),
)
