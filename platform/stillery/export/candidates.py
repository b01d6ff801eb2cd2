"""The candidates of an export: all formats and quantizations to try, each made and gated.

In: a checkpoint, problems, the `export` section. Out: one ArtifactOutcome per candidate, with the kept artifacts, the
reports of the refused ones, `summary.json` and `size-accuracy.svg` in one folder.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stillery.config import ExportConfig
from stillery.errors import UserError
from stillery.export.artifact import ArtifactOutcome, Exporter
from stillery.export.budget import plot
from stillery.export.formats import Format, all_formats, format_named
from stillery.export.parity.corpus import build_corpus
from stillery.export.parity.figures import Reference, answer_all, ask_reference
from stillery.export.parity.reference import CheckpointRuntime
from stillery.export.sources import ExportSource
from stillery.records import Prompt, Split
from stillery.telemetry.logs import logger

# The default candidates: nearly the checkpoint, and the usual choice for a phone.
_DEFAULTS = {
    "gguf": ("Q8_0", "Q4_K_M"),
    "onnx": ("int8", "int4-k-quant-mixed"),
    "executorch": ("8da4w",),
    "litert": ("int8", "int4"),
    "vllm": ("int8", "int4"),
}


def check_split(config: ExportConfig) -> None:
    """Raise UserError for an unknown split."""
    if config.split not in list(Split):
        raise UserError(f"export.split is {config.split!r}; it must be one of {', '.join(Split)}")


def find_candidates(formats: Sequence[str], quantizations: Sequence[str]) -> list[tuple[Format, str]]:
    """Every format with each requested quantization that it has; case doesn't matter. A quantization that no format has
    is an error, and so is a format that has none of the requested ones."""
    names = all_formats() if list(formats) == ["all"] else list(formats)
    made = [format_named(name) for name in names]
    known = {q.lower() for edge_format in made for q in edge_format.quantizations}
    unknown = [q for q in quantizations if q.lower() not in known]
    if unknown or not made:
        offered = "; ".join(f"{f.name}: {', '.join(f.quantizations)}" for f in made)
        raise UserError(f"quantization {unknown[0]!r} isn't known ({offered})" if unknown else "no format is named")
    asked = {q.lower() for q in quantizations}
    found: list[tuple[Format, str]] = []
    for edge_format in made:
        chosen = [q for q in edge_format.quantizations if q.lower() in asked] if asked else _defaults(edge_format)
        if not chosen:
            offered = ", ".join(edge_format.quantizations)
            raise UserError(f"{edge_format.name} has none of {', '.join(quantizations)}; it has {offered}")
        found += [(edge_format, quantization) for quantization in chosen]
    return found


def make_all(
    candidates: Sequence[tuple[Format, str]],
    source: ExportSource,
    config: ExportConfig,
    *,
    prompts: Sequence[Prompt],
    out: Path,
    on_outcome: Callable[[ArtifactOutcome], None],
) -> list[ArtifactOutcome]:
    """Make and gate every candidate, one after the other; `on_outcome` is called with each as soon as it is decided.

    Of `prompts`, `num_problems` of the evaluation split are answered, and training problems are used for calibration.
    Raises UserError where no problem has an answer, and for a full disk.
    """
    with closing(CheckpointRuntime(source.folder)) as runtime:
        reference = ask(runtime, source, prompts, config)
        training = [p for p in prompts if p.split == Split.TRAIN]
        calibration = _calibration(runtime, training[: config.num_calibration], reference)
        checkpoint = runtime.checkpoint
    exporter = Exporter(source, checkpoint, reference, config, calibration, out)
    outcomes: list[ArtifactOutcome] = []
    start = time.perf_counter()
    for position, (edge_format, quantization) in enumerate(candidates):
        outcome = exporter.make(edge_format, quantization)
        outcomes.append(outcome)
        state = f"kept in {outcome.folder}" if outcome.folder else f"refused: {', '.join(outcome.failed)}"
        spent = time.perf_counter() - start
        left = spent / (position + 1) * (len(candidates) - position - 1)
        logger.info(f"{position + 1}/{len(candidates)} {edge_format.name} {quantization} {state}; {left:.0f} s left")
        on_outcome(outcome)
    (out / "size-accuracy.svg").write_text(plot(outcomes), encoding="utf-8")
    return outcomes


def summarize(outcomes: Sequence[ArtifactOutcome]) -> list[dict[str, Any]]:
    """The candidates as rows of plain values: what `table` prints and `summary.json` holds."""
    return [
        {
            "format": o.format,
            "quantization": o.quantization,
            "folder": None if o.folder is None else o.folder.name,
            "failed": o.failed,
            "size_bytes": o.size_bytes,
            "export_s": o.export_s,
            "parity": None if o.parity is None else asdict(o.parity),
            "speed": None if o.speed is None else asdict(o.speed),
        }
        for o in outcomes
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `summarize`, one line each, as a Markdown table."""
    lines = [
        "| format | quantization | MB | KL | top-1 | greedy | accuracy | tokens/s | s to export | gate |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gate = "kept" if row["folder"] is not None else f"refused: {', '.join(row['failed'])}"
        measured = "| | | | | "
        if (parity := row["parity"]) is not None:
            accuracy = parity["accuracy"]
            speed = "" if row["speed"] is None else f"{row['speed']['decode_tokens_per_second']:.0f}"
            measured = (
                f"| {parity['kl']:.1e} | {parity['top_1_agreement']:.3f} | {parity['greedy_agreement']:.2f} "
                f"| {accuracy['mean']:.3f} ± {accuracy['standard_error'] or 0:.3f} | {speed} "
            )
        size = f"{row['size_bytes'] / 1e6:.2f}"
        lines.append(f"| {row['format']} | {row['quantization']} | {size} {measured}| {row['export_s']:.1f} | {gate} |")
    return "\n".join(lines)


def _defaults(edge_format: Format) -> list[str]:
    """The format's usual quantizations that this installation has; all if it has none of them."""
    found = [q for q in edge_format.quantizations if q.startswith(_DEFAULTS.get(edge_format.name, ()))]
    return found or list(edge_format.quantizations)


def ask(runtime: CheckpointRuntime, source: ExportSource, prompts: Sequence[Prompt], config: ExportConfig) -> Reference:
    """A checkpoint's answers to `num_problems` of the evaluation split's problems, spread evenly over them and so over
    every task. Raises UserError where none has an answer."""
    problems = [p for p in prompts if p.split == config.split and p.answer is not None]
    if not problems:
        raise UserError(f"split {config.split} holds no problem with an answer; set export.split or prompts")
    chosen = problems[:: max(1, len(problems) // config.num_problems)][: config.num_problems]
    logger.info(f"asking {source.model}: {len(chosen)} problems")
    added = [token["content"] for token in runtime.checkpoint.tokenizer["added_tokens"]]
    corpus = build_corpus(added)
    runtime.check_tokenizer([text.text for text in corpus])
    return ask_reference(
        runtime,
        chosen,
        corpus,
        end_tokens=runtime.checkpoint.end_tokens,
        decode=runtime.decode,
        max_new_tokens=config.max_new_tokens,
        max_positions=config.max_positions,
        context=config.context,
    )


def _calibration(runtime: CheckpointRuntime, training: Sequence[Prompt], reference: Reference) -> list[str]:
    """Training problems with the checkpoint's own answers: never the problems that the artifact is measured on."""
    rendered = [runtime.render(p.question) for p in training]
    prompts = [runtime.tokenize(text) for text in rendered]
    answers = answer_all(runtime, prompts, max_new_tokens=reference.max_new_tokens)
    return [text + runtime.decode(answer) for text, answer in zip(rendered, answers, strict=True)]
