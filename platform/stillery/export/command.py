"""`stillery export MODEL`: every asked format and quantization, gated, then the table and the one to ship.

In: a model, formats, quantizations, a budget, a config. Out: the kept artifacts, the reports of the refused ones, and
`summary.json` with `size-accuracy.svg` beside them.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stillery.config import Config
from stillery.errors import UserError
from stillery.export.artifact import Exporter, Outcome
from stillery.export.budget import choose, plot, why_none
from stillery.export.corpus import build_corpus
from stillery.export.formats import FORMATS, Format, format_named
from stillery.export.manifest import write_json
from stillery.export.parity import Reference, ask_reference
from stillery.export.reference import CheckpointRuntime
from stillery.export.sources import Source, log_artifact, open_source
from stillery.prompts.files import load_prompts
from stillery.prompts.stage import draw_prompts
from stillery.records import Prompt, Split

# What is tried where no quantization is named: nearly the checkpoint, and the usual choice for a phone.
_DEFAULTS = {
    "gguf": ("Q8_0", "Q4_K_M"),
    "onnx": ("int8", "int4-k-quant-mixed"),
    "executorch": ("8da4w",),
}


def export(
    model: str, config: Config, *, out: Path, max_size_mb: float | None = None, max_accuracy_drop: float | None = None
) -> int:
    """Export, print the table, return the exit code: 1 where nothing was kept or nothing fits the budget.

    Raises UserError for a model, format or quantization that isn't there, and for a full disk.
    """
    candidates = find_candidates(config.export.formats, config.export.quantizations)
    problems = _problems(config)
    source = open_source(model, config.register)
    with closing(CheckpointRuntime(source.folder)) as runtime:
        print(f"asking {source.model}: {len(problems)} problems", flush=True)
        reference = _ask(runtime, problems, config)
        calibration = _calibration(runtime, reference, config)
        checkpoint = runtime.checkpoint
    exporter = Exporter(source, checkpoint, reference, config.export, calibration, out)
    outcomes: list[Outcome] = []
    start = time.perf_counter()
    for position, (edge_format, quantization) in enumerate(candidates):
        outcome = exporter.make(edge_format, quantization)
        outcomes.append(outcome)
        state = f"kept in {outcome.folder}" if outcome.folder else f"refused: {', '.join(outcome.failed)}"
        spent = time.perf_counter() - start
        left = spent / (position + 1) * (len(candidates) - position - 1)
        print(
            f"{position + 1}/{len(candidates)} {edge_format.name} {quantization} {state}; {left:.0f} s left", flush=True
        )
        _log(source, outcome, config)
    print(f"\n{table(outcomes)}")
    (out / "size-accuracy.svg").write_text(plot(outcomes), encoding="utf-8")
    best = choose(outcomes, max_size_mb=max_size_mb, max_accuracy_drop=max_accuracy_drop)
    write_json(out / "summary.json", _summary(outcomes, best))
    if best is None:
        print(f"\n{why_none(outcomes, max_size_mb=max_size_mb, max_accuracy_drop=max_accuracy_drop)}")
        return 1
    print(f"\nship {best.format} {best.quantization}: {best.folder}")
    return 0


def table(outcomes: Sequence[Outcome]) -> str:
    """The candidates, one line each, as a Markdown table."""
    lines = [
        "| format | quantization | MB | KL | top-1 | greedy | accuracy | tokens/s | s to export | gate |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        gate = "kept" if o.folder is not None else f"refused: {', '.join(o.failed)}"
        measured = "| | | | | "
        if o.parity is not None:
            p = o.parity
            speed = f"{o.speed.decode_tokens_per_second:.0f}" if o.speed is not None else ""
            measured = (
                f"| {p.kl:.1e} | {p.top_1_agreement:.3f} | {p.greedy_agreement:.2f} | {p.accuracy.mean:.3f} ± "
                f"{p.accuracy.standard_error or 0:.3f} | {speed} "
            )
        lines.append(
            f"| {o.format} | {o.quantization} | {o.size_bytes / 1e6:.2f} {measured}| {o.export_s:.1f} | {gate} |"
        )
    return "\n".join(lines)


def find_candidates(formats: Sequence[str], quantizations: Sequence[str]) -> list[tuple[Format, str]]:
    """Every format with each quantization that it has; case doesn't matter. A quantization that no format has is an
    error, and so is a format that has none of those asked for."""
    names = list(FORMATS) if list(formats) == ["all"] else list(formats)
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


def _defaults(edge_format: Format) -> list[str]:
    """The format's usual quantizations, as far as this installation has them; else all."""
    found = [q for q in edge_format.quantizations if q.startswith(_DEFAULTS.get(edge_format.name, ()))]
    return found or list(edge_format.quantizations)


def _problems(config: Config) -> list[Prompt]:
    """Checked problems of the evaluation split, spread over its tasks."""
    if config.export.split not in list(Split):
        raise UserError(f"export.split is {config.export.split!r}; it must be one of {', '.join(Split)}")
    from_tasks = config.prompts.source == "tasks"
    drawn = draw_prompts(config.prompts, seed=config.run.seed) if from_tasks else load_prompts(config.prompts)
    answered = [p for p in drawn if p.split == config.export.split and p.answer is not None]
    if not answered:
        raise UserError(f"split {config.export.split} holds no problem with an answer; set export.split or prompts")
    step = max(1, len(answered) // config.export.num_problems)
    return answered[::step][: config.export.num_problems]


def _ask(runtime: CheckpointRuntime, problems: Sequence[Prompt], config: Config) -> Reference:
    added = [token["content"] for token in runtime.checkpoint.tokenizer["added_tokens"]]
    return ask_reference(
        runtime,
        problems,
        build_corpus(added),
        end_tokens=runtime.checkpoint.end_tokens,
        decode=runtime.decode,
        max_new_tokens=config.export.max_new_tokens,
        max_positions=config.export.max_positions,
        context=config.export.context,
    )


def _calibration(runtime: CheckpointRuntime, reference: Reference, config: Config) -> list[str]:
    """Training problems with the checkpoint's own answers: never the problems that the artifact is measured on."""
    wanted = config.export.num_calibration
    if not wanted:
        return []
    from_tasks = config.prompts.source == "tasks"
    drawn = draw_prompts(config.prompts, seed=config.run.seed) if from_tasks else load_prompts(config.prompts)
    rendered = [runtime.render(p.question) for p in drawn if p.split == Split.TRAIN][:wanted]
    prompts = [runtime.tokenize(text) for text in rendered]
    answers = [runtime.generate(p, max_new_tokens=reference.max_new_tokens) for p in prompts]
    return [text + runtime.decode(answer) for text, answer in zip(rendered, answers, strict=True)]


def _log(source: Source, outcome: Outcome, config: Config) -> None:
    if outcome.folder is None or outcome.parity is None:
        return
    key = f"stillery.export.{outcome.format}.{outcome.quantization}"
    value = f"{outcome.size_bytes} bytes, KL {outcome.parity.kl:.2e}, accuracy {outcome.parity.accuracy.mean:.4f}"
    log_artifact(source, outcome.folder, config.register, tags={key: value})


def _summary(outcomes: Sequence[Outcome], best: Outcome | None) -> dict[str, Any]:
    rows = [
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
    return {"candidates": rows, "best": None if best is None or best.folder is None else best.folder.name}
