"""The export stage: the trained checkpoint in, edge artifacts with the same answers out.

It exports the formats in `export.formats`; with none, it does not run. An artifact that the gate refuses leaves its
report and does not end the run.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stillery.config import Config, ExportConfig, RegisterConfig, settings_of
from stillery.export.budget import choose
from stillery.export.candidates import check_split, find_candidates, make_all, summarize
from stillery.export.manifest import write_json
from stillery.export.registration import log_outcome
from stillery.export.sources import ExportSource
from stillery.io.copies import cache_home
from stillery.io.storage import Folder
from stillery.io.transfer import copy_tree
from stillery.records import Prompt, from_table
from stillery.sampling.models import resolve_model
from stillery.stages.stage import REFINED, TUNED, Stage, StageContext
from stillery.telemetry.logs import logger


def check(config: ExportConfig) -> None:
    """Raise UserError for an unknown format, quantization or split, or missing packages."""
    check_split(config)
    if config.formats:
        find_candidates(config.formats, config.quantizations)


def export_student(
    config: ExportConfig,
    *,
    register: RegisterConfig,
    registration: dict[str, Any],
    checkpoint: Path,
    prompts: Folder,
    out: Folder,
) -> dict[str, Any]:
    """Export a registered checkpoint into `out`, and log the kept artifacts beside its model version.

    `registration` is the summary of the register stage. The returned summary holds the candidates as `summarize` gives
    them and the folder of the best.
    """
    if not config.formats:
        logger.info("export: export.formats names none")
        return {"candidates": [], "best": None}
    name, version = registration["name"], str(registration["version"])
    source = ExportSource(
        f"{name}-v{version}", f"models:/{name}/{version}", checkpoint, name, version, registration["run_id"]
    )
    with _written_to(out) as folder:
        outcomes = make_all(
            find_candidates(config.formats, config.quantizations),
            source,
            config,
            prompts=from_table(prompts.read_all(Prompt), Prompt),
            out=folder,
            on_outcome=lambda outcome: log_outcome(source, outcome, register),
        )
        best = choose(outcomes)
        kept = None if best is None or best.folder is None else best.folder.name
        summary = {"candidates": summarize(outcomes), "best": kept}
        write_json(folder / "summary.json", summary)
    return summary


@contextmanager
def _written_to(out: Folder) -> Generator[Path]:
    """A local folder whose files are in `out` at the end, since runtimes read artifacts from files; `out` itself where
    that is local."""
    if out.is_local:
        yield out.local
        return
    scratch = cache_home() / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="export-", dir=scratch) as made:
        yield Path(made)
        copy_tree(Path(made), out)


def _settings(config: Config) -> dict[str, Any]:
    return settings_of(config.export) if config.export.formats else {}


def _run(context: StageContext) -> dict[str, Any]:
    return export_student(
        context.config.export,
        register=context.config.register,
        registration=context.outputs["register"].summary,
        checkpoint=Path(resolve_model(context.student)),
        prompts=context.folder("prompts"),
        out=context.out,
    )


STAGE = Stage(
    "export", version=1, needs=("prompts", TUNED, REFINED, "register"), settings=_settings, run=_run, uses_ray=False
)
