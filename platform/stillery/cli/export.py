"""`stillery export MODEL`: every requested format and quantization through the gate, then a table and the best one.

In: a model, formats, quantizations, a budget, a config. Out: the folder's contents from `make_all`, and the best
artifact.
"""

from pathlib import Path

from stillery.config import Config
from stillery.errors import UserError
from stillery.export.budget import choose, why_none
from stillery.export.candidates import check_split, find_candidates, make_all, summarize, table
from stillery.export.manifest import write_json
from stillery.export.registration import log_outcome
from stillery.export.sources import open_source
from stillery.io.run_folder import is_submitted_job
from stillery.problems.files import load_prompts
from stillery.records import Prompt
from stillery.stages.prompts import draw_prompts


def export(
    model: str, config: Config, *, out: Path, max_size_mb: float | None = None, max_accuracy_drop: float | None = None
) -> int:
    """Export, print the table, return the exit code: 1 where nothing was kept or nothing fits the budget.

    The default format is GGUF. Raises UserError for an unknown model, format or quantization, for a relative `out` in a
    submitted job, and for a full disk.
    """
    if is_submitted_job() and not out.is_absolute():
        raise UserError(f"--out {out} is relative, and a submitted job's folder is temporary: give an absolute path")
    candidates = find_candidates(config.export.formats or ["gguf"], config.export.quantizations)
    check_split(config.export)
    source = open_source(model, config.register)
    outcomes = make_all(
        candidates,
        source,
        config.export,
        prompts=problems_of(config),
        out=out,
        on_outcome=lambda outcome: log_outcome(source, outcome, config.register),
    )
    rows = summarize(outcomes)
    print(f"\n{table(rows)}")
    best = choose(outcomes, max_size_mb=max_size_mb, max_accuracy_drop=max_accuracy_drop)
    kept = None if best is None or best.folder is None else best.folder.name
    write_json(out / "summary.json", {"candidates": rows, "best": kept})
    if best is None:
        print(f"\n{why_none(outcomes, max_size_mb=max_size_mb, max_accuracy_drop=max_accuracy_drop)}")
        return 1
    print(f"\nship {best.format} {best.quantization}: {best.folder}")
    return 0


def problems_of(config: Config) -> list[Prompt]:
    """The problems that a config's `prompts` section generates or reads."""
    from_tasks = config.prompts.source == "tasks"
    return draw_prompts(config.prompts, seed=config.run.seed) if from_tasks else load_prompts(config.prompts).prompts
