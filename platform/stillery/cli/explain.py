"""`stillery explain SAMPLE_ID`: why a sample was kept or left out, and where it went from there."""

import json
import posixpath
from collections.abc import Iterator
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs as pafs

from stillery.errors import UserError
from stillery.io.run_folder import MANIFEST, find_run, home
from stillery.io.storage import Folder

_SHOWN_CHARACTERS = 300


def explain(sample_id: str, *, run: str | None) -> str:
    """The way of a teacher's sample through a run, or through every run on this machine: sampled, graded, chosen (by
    which rule, with the evidence), trained on, registered. `sample_id` may be the beginning of one.

    Raises UserError where no run holds such a sample.
    """
    runs = [find_run(run)] if run is not None else _all_runs()
    told = [lines for folder in runs if (lines := _in_run(folder, sample_id))]
    if not told:
        where = run if run is not None else str(home() / "runs")
        raise UserError(f"no sample {sample_id} in {where}; sample ids stand in the tables of the stage generate")
    return "\n\n".join("\n".join(lines) for lines in told)


def _all_runs() -> list[Folder]:
    return [Folder(str(path.parent)) for path in sorted((home() / "runs").glob("*/run.yaml"))]


def _in_run(run: Folder, sample_id: str) -> list[str]:
    lines: list[str] = []
    for output, row in _rows(run, "generate", sample_id):
        lines += [f"{row['sample_id']} in {run.uri}", f"sampled    {_sampled(row)} ({output})"]
        sample_id = row["sample_id"]
    if not lines:
        return []
    for output, row in _rows(run, "verify", sample_id):
        detail = f", {row['detail']}" if row["detail"] else ""
        flags = "".join(
            f"\n           flag {flag}: {found}"
            for flag, found in zip(row["flags"], row["flag_evidence"], strict=False)
        )
        lines.append(f"graded     {row['verdict']}: answered {row['predicted']}{detail} ({output}){flags}")
    for output, row in _rows(run, "curate", sample_id, folder="choices"):
        evidence = "" if row["evidence"] is None else f"\n           {_readable(row['evidence'])}"
        lines.append(f"{'kept' if row['reason'] is None else 'left out':<11}{row['reason'] or ''} ({output}){evidence}")
    for output, row in _rows(run, "curate", sample_id):
        spans = f", {len(row['weights'])} spans weighted" if row["weights"] else ""
        lines.append(f"train set  {row['split']}, part {row['part']}{spans} ({output})")
        lines += _models(run, output)
    return lines


def _sampled(row: dict[str, Any]) -> str:
    ending = row["error"] or row["finish_reason"]
    sample = f"sample {row['sample_index']} of prompt {row['prompt_id']}"
    return f"{sample} from {row['model']}, {row['num_tokens']} tokens, {ending}"


def _readable(evidence: str) -> str:
    parts = json.loads(evidence)
    return "\n           ".join(f"{key}: {str(value)[:_SHOWN_CHARACTERS]}" for key, value in parts.items())


def _rows(run: Folder, stage: str, sample_id: str, *, folder: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a sample in every finished output of a stage, with the output's name."""
    for output in (run / "stages" / stage).names():
        tables = run / "stages" / stage / output
        if not tables.exists(MANIFEST):
            continue
        tables = tables / folder if folder else tables
        fs, path = tables.open_fs()
        files = [posixpath.join(path, name) for name in tables.names(".parquet")]
        if not files:
            continue
        handler: Any = pafs.PyFileSystem(pafs.FSSpecHandler(fs))
        found = ds.dataset(files, filesystem=handler).to_table(filter=ds.field("sample_id") >= sample_id, columns=None)
        for row in found.to_pylist():
            if str(row["sample_id"]).startswith(sample_id):
                yield f"{stage}/{output}", row


def _models(run: Folder, curated: str) -> list[str]:
    """The students that an output of curation trained, and the versions that they were registered as."""
    lines: list[str] = []
    fingerprint = curated.rpartition("/")[2]
    trained = [name for name, m in _manifests(run, "sft") if m["inputs"]["curate"]["fingerprint"] == fingerprint]
    for name in trained:
        lines.append(f"trained    sft/{name}")
        for _, manifest in _manifests(run, "register"):
            if manifest["inputs"]["sft"]["fingerprint"] == name:
                summary = manifest["summary"]
                lines.append(
                    f"registered models:/{summary['name']}/{summary['version']} ({', '.join(summary['aliases'])})"
                )
    return lines


def _manifests(run: Folder, stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in (run / "stages" / stage).names():
        folder = run / "stages" / stage / name
        if folder.exists(MANIFEST):
            yield name, json.loads(folder.read_bytes(MANIFEST))
