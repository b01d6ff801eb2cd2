"""The bonds stage: generations -> molecules. The one file of this package that touches Ray.

In: prompts, generations and their verdicts. Out: one Molecule a generation, in their order. Analysis is pure and takes
milliseconds a trace, so it runs as plain Ray Data tasks on whatever cores there are.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from stillery import records
from stillery.bonds.analysis import analyze
from stillery.bonds.measure.stability import is_unstable
from stillery.config import BondsConfig
from stillery.records import Molecule, Prompt, Verdict
from stillery.storage import Folder

VERSION = 3
ROWS_PER_FILE = 5_000
ROWS_PER_BATCH = 256

_COLUMNS = ["sample_id", "prompt_id", "completion"]


def find_molecules(
    config: BondsConfig, *, generations: Folder, verdicts: Folder, prompts: Folder, out: Folder
) -> dict[str, Any]:
    """Write molecules-*.parquet and return what they hold: bonds by kind, and for each verdict how many traces there
    are, their mean stability and how many are unstable. Needs a running Ray."""
    tally = Tally(config.unstable_below)
    kinds = (kind for name in verdicts.names(".parquet") for kind in _kinds_of(verdicts, name))
    for number, table in enumerate(_analyzed(generations, prompts)):
        out.write_table(f"molecules-{number:05d}.parquet", table)
        tally.add(records.from_table(table, Molecule), kinds)
    assert next(kinds, None) is None, "there are verdicts on samples that no generation is of"
    return tally.summary()


@dataclass(slots=True)
class Tally:
    """What the molecules of a run hold, by verdict."""

    unstable_below: float
    bonds: Counter[str] = field(default_factory=Counter[str])
    counts: Counter[str] = field(default_factory=Counter[str])
    unstable: Counter[str] = field(default_factory=Counter[str])
    stability: dict[str, float] = field(default_factory=lambda: defaultdict[str, float](float))

    def add(self, molecules: Sequence[Molecule], verdicts: Iterator[tuple[str, str]]) -> None:
        """Count molecules, taking the verdict (sample_id, kind) on each from `verdicts`, which are in their order."""
        for molecule in molecules:
            sample, kind = next(verdicts, ("", ""))
            assert sample == molecule.sample_id, f"molecules out of order: {molecule.sample_id} beside verdict {sample}"
            self.bonds.update(bond.kind for bond in molecule.bonds)
            self.counts[kind] += 1
            self.stability[kind] += molecule.stability
            self.unstable[kind] += is_unstable(molecule, threshold=self.unstable_below)

    def summary(self) -> dict[str, Any]:
        return {
            "molecules": self.counts.total(),
            "bonds": dict(self.bonds),
            "by_verdict": {
                kind: {
                    "traces": n,
                    "mean_stability": round(self.stability[kind] / n, 4),
                    "unstable": self.unstable[kind],
                }
                for kind, n in self.counts.items()
            },
        }


def _kinds_of(verdicts: Folder, name: str) -> list[tuple[str, str]]:
    table = verdicts.read_table(name, Verdict)
    return list(zip(table["sample_id"].to_pylist(), table["verdict"].to_pylist(), strict=True))


def _analyzed(generations: Folder, prompts: Folder) -> Any:
    """Tables of molecules, in the order of the generations, as Ray Data makes them."""
    import ray

    names = generations.names(".parquet")
    if not names:
        return
    asked = {p.prompt_id: p.question for p in records.from_table(prompts.read_all(Prompt), Prompt)}
    fs, path = generations.open_fs()
    rows = ray.data.read_parquet(
        [f"{path}/{name}" for name in names],
        filesystem=None if generations.is_local else fs,
        num_cpus=0.25,
    ).select_columns(_COLUMNS)
    rows.context.execution_options.preserve_order = True
    rows.context.enable_progress_bars = False
    molecules = rows.map_batches(
        partial(_analyze_batch, asked=ray.put(asked)),
        batch_format="pyarrow",
        batch_size=ROWS_PER_BATCH,
    )
    for table in molecules.iter_batches(batch_size=ROWS_PER_FILE, batch_format="pyarrow"):
        yield records.conform(table, Molecule)


def _analyze_batch(batch: pa.Table, *, asked: Any) -> pa.Table:
    import ray

    return analyze_batch(batch, questions=ray.get(asked))


def analyze_batch(batch: pa.Table, *, questions: Mapping[str, str]) -> pa.Table:
    """The molecules of generations, row by row. `questions` maps prompt_id to the question.

    The gold answer is not looked at: the verdict says whether the answer is right, a molecule how the trace holds
    together.
    """
    molecules = [
        analyze(row["completion"], question=questions[row["prompt_id"]], markers=False, sample_id=row["sample_id"])
        for row in batch.to_pylist()
    ]
    return records.to_table(molecules, Molecule)
