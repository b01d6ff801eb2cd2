"""Targets of whole files of samples: a calibration on some of them first, then each file on its own.

In: samples-*.parquet and the generations that they were chosen from. Out: targets-*.parquet, one row per sample, in
their order.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from stillery.config import AttentionConfig
from stillery.io.storage import Folder
from stillery.records import AttentionTarget, Generation, Sample, from_table
from stillery.training.attention.distance import fit_decay
from stillery.training.attention.drafts import Draft, Floats, Operand, draft
from stillery.training.attention.heads import Heads, TeacherAttention, choose_heads, pooled
from stillery.training.attention.targets import make_target, no_target

NOT_WRITTEN_SO = "the completion is not what the teacher wrote"
NO_OPERANDS = "no claim rests on what can be found"

Rows = list[tuple[Operand, Floats]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The result of the calibration: the decay of attention with distance and, for the teacher's target, its heads."""

    decay: float
    heads: Heads | None


def targets_name(samples_name: str) -> str:
    """The file of targets that belongs to a file of samples."""
    return samples_name.replace("samples-", "targets-")


def calibrate(config: AttentionConfig, *, teacher: str | None, samples: Folder, generations: Folder) -> Calibration:
    """Calibrate on `config.num_calibration` samples, spread over all files. `teacher` is the folder or Hub name of the
    model to read, None for the bonds' target. Raises UserError where the teacher's heads are not good enough."""
    names = samples.names(".parquet")
    reader = _reader(config, teacher)
    drafts: list[tuple[Draft, Rows]] = []
    for name in names:
        rows = samples.read_rows(name, Sample)
        step = max(1, len(rows) * len(names) // config.num_calibration)
        some = rows[::step]
        written = {} if reader is None else _generations_of(some, name, generations)
        for sample in some:
            found, reading = _read(sample, written.get(sample.sample_id), reader)
            if found is not None and reading:
                drafts.append((found, reading))
    if reader is None:
        return Calibration(fit_decay((d, o, shares) for d, rows in drafts for o, shares in rows), None)
    heads = choose_heads(drafts, num_heads=config.num_heads, min_gain=config.min_gain)
    decay = fit_decay((d, o, pooled(attention, heads.chosen)) for d, rows in drafts for o, attention in rows)
    return Calibration(decay, heads)


def write_targets(
    name: str,
    *,
    config: AttentionConfig,
    calibration: Calibration,
    teacher: str | None,
    samples: Folder,
    generations: Folder,
    out: Folder,
) -> dict[str, Any]:
    """Write the targets of one file of samples; returns counts of samples, rows and reasons for missing targets.

    A sample that cannot be read becomes a target without rows, with the reason.
    """
    reader = _reader(config, teacher)
    rows = samples.read_rows(name, Sample)
    written = {} if reader is None else _generations_of(rows, name, generations)
    targets: list[AttentionTarget] = []
    for sample in rows:
        try:
            found, reading = _read(sample, written.get(sample.sample_id), reader)
        except Exception as error:
            # One malformed trace must not end a run of millions.
            targets.append(no_target(sample, f"{type(error).__name__}: {error}"))
            continue
        if found is None:
            targets.append(no_target(sample, NOT_WRITTEN_SO))
            continue
        shares = (
            reading if calibration.heads is None else [(o, pooled(a, calibration.heads.chosen)) for o, a in reading]
        )
        target = make_target(sample, found, shares, decay=calibration.decay, max_rows=config.max_rows)
        targets.append(target if target.rows else no_target(sample, NO_OPERANDS))
    out.write_rows(targets_name(name), targets, AttentionTarget)
    without = Counter(target.error for target in targets if target.error is not None)
    return {"samples": len(rows), "rows": sum(len(t.rows) for t in targets), "without": dict(without)}


def _reader(config: AttentionConfig, teacher: str | None) -> TeacherAttention | None:
    if teacher is None:
        return None
    return TeacherAttention(teacher, on_gpu=config.num_gpus > 0, as_written=config.model is None)


def _read(sample: Sample, generation: Generation | None, reader: TeacherAttention | None) -> tuple[Draft | None, Rows]:
    """The draft of a sample with the shares of each operand, or the teacher's attention of all heads. No draft where
    the teacher did not write the sample."""
    found = draft(sample)
    if reader is None:
        return found, [(operand, operand.shares) for operand in found.operands]
    reading = None if generation is None else reader.read(sample, generation, found)
    return (None, []) if reading is None else (found, reading)


def _generations_of(samples: Sequence[Sample], name: str, generations: Folder) -> dict[str, Generation]:
    """The generations that samples were made from, by sample_id. Curation keeps a file's name except for its prefix."""
    wanted = {sample.sample_id for sample in samples}
    found: dict[str, Generation] = {}
    with generations.open_file(name.replace("samples-", "generations-")) as source:
        for batch in pq.ParquetFile(source).iter_batches(1024):
            ids: list[str] = batch.column("sample_id").to_pylist()
            rows = [place for place, sample_id in enumerate(ids) if sample_id in wanted]
            if rows:
                found |= {g.sample_id: g for g in from_table(_taken(batch, rows), Generation)}
    return found


def _taken(batch: Any, rows: list[int]) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([batch.take(pa.array(rows))])
