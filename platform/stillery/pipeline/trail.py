"""The path of a teacher's sample through a run: sampled, graded, chosen (by which rule, with the evidence), trained on,
registered. `stillery explain` prints it, and `stillery ui` shows it."""

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs as pafs

from stillery.io.run_folder import MANIFEST, manifests_of
from stillery.io.storage import Folder


@dataclass(frozen=True, slots=True)
class Stop:
    """One event in a sample's path: a description, the output (STAGE/FINGERPRINT) and the evidence."""

    name: str
    text: str
    output: str
    evidence: tuple[str, ...] = ()


def follow(run: Folder, sample_id: str, *, near: int = 0) -> tuple[str, list[Stop]] | None:
    """The full id of the sample whose id has this prefix, and its stops in every finished output of the run; None where
    the run has no such sample.

    `near` is the index of the output file that is searched first.
    """
    stops: list[Stop] = []
    place = near
    for output, place, row in _rows(run, "generate", sample_id, near=near):  # noqa: B007
        sample_id = row["sample_id"]
        stops.append(Stop("sampled", _sampled(row), output))
    if not stops:
        return None
    for output, _, row in _rows(run, "verify", sample_id, near=place):
        detail = f", {row['detail']}" if row["detail"] else ""
        flags = tuple(f"flag {f}: {found}" for f, found in zip(row["flags"], row["flag_evidence"], strict=False))
        stops.append(Stop("graded", f"{row['verdict']}: answered {row['predicted']}{detail}", output, flags))
    for output, _, row in _rows(run, "curate", sample_id, near=place, folder="choices"):
        evidence = {} if row["evidence"] is None else json.loads(row["evidence"])
        told = tuple(f"{key}: {value}" for key, value in evidence.items())
        stops.append(Stop("kept" if row["reason"] is None else "left out", row["reason"] or "", output, told))
    for output, _, row in _rows(run, "curate", sample_id, near=place):
        stops.append(Stop("train set", f"{row['split']}, part {row['part']}{_weighted(row['weights'])}", output))
        stops += _models(run, output)
    return sample_id, stops


def _weighted(spans: list[list[float]]) -> str:
    """The description of the loss weights of a sample's steps."""
    if not spans:
        return ""
    weights = [weight for _, _, weight in spans]
    masked = f", {weights.count(0.0)} of them masked" if 0.0 in weights else ""
    return f", {len(spans)} spans weighted ({min(weights):.2f} to {max(weights):.2f}{masked})"


def _sampled(row: dict[str, Any]) -> str:
    ending = row["error"] or row["finish_reason"]
    sample = f"sample {row['sample_index']} of prompt {row['prompt_id']}"
    return f"{sample} from {row['model']}, {row['num_tokens']} tokens, {ending}"


def _rows(
    run: Folder, stage: str, sample_id: str, *, near: int, folder: str = ""
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The row of a sample in every finished output of a stage, with the output's name and the index of its file.

    An output has a sample once, and the stages keep the order of the generations: so the files around `near` are
    searched first, and the search ends at the first match.
    """
    # Ids are hexadecimal, so every id with this prefix sorts below the prefix followed by this letter.
    begins = (ds.field("sample_id") >= sample_id) & (ds.field("sample_id") < sample_id + "~")
    for output in (run / "stages" / stage).names():
        tables = run / "stages" / stage / output
        if not tables.exists(MANIFEST):
            continue
        tables = tables / folder if folder else tables
        fs, path = tables.open_fs()
        handler: Any = pafs.PyFileSystem(pafs.FSSpecHandler(fs))
        names = sorted(enumerate(tables.names(".parquet")), key=lambda file: abs(file[0] - near))
        for place, name in names:
            table = ds.dataset(posixpath.join(path, name), filesystem=handler)
            # The texts are read only from a file that has the sample.
            if table.count_rows(filter=begins):
                yield f"{stage}/{output}", place, table.to_table(filter=begins).slice(0, 1).to_pylist()[0]
                break


def _models(run: Folder, curated: str) -> Iterator[Stop]:
    """The students trained on an output of curation, and their registered versions."""
    for trained in manifests_of(run, "sft"):
        if f"curate/{trained['inputs']['curate']['fingerprint']}" != curated:
            continue
        yield Stop("trained", "", f"sft/{trained['fingerprint']}")
        for registered in manifests_of(run, "register"):
            if registered["inputs"]["sft"]["fingerprint"] == trained["fingerprint"]:
                summary = registered["summary"]
                version = f"models:/{summary['name']}/{summary['version']} ({', '.join(summary['aliases'])})"
                yield Stop("registered", version, f"register/{registered['fingerprint']}")
