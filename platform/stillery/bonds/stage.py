"""The bonds stage: generations -> molecules. The one file of this package that touches Ray.

In: prompts, generations and their verdicts. Out: one Molecule a generation, in their order. Analysis is pure and takes
milliseconds a trace, so it runs as plain Ray Data tasks on whatever cores there are.
"""

from collections import Counter, defaultdict
from functools import partial
from itertools import count
from typing import Any

import pyarrow as pa

from stillery import records
from stillery.bonds.analysis import analyze
from stillery.bonds.stability import is_unstable
from stillery.config import BondsConfig
from stillery.records import Molecule, Prompt, Verdict
from stillery.storage import Folder

VERSION = 1
ROWS_PER_FILE = 5_000
ROWS_PER_BATCH = 256

_COLUMNS = ["sample_id", "prompt_id", "completion"]


def find_molecules(
    config: BondsConfig, *, generations: Folder, verdicts: Folder, prompts: Folder, out: Folder
) -> dict[str, Any]:
    """Write molecules-*.parquet and return what they hold: bonds by kind, and for each verdict how many traces there
    are, their mean stability and how many are unstable. Needs a running Ray."""
    bonds, counts, unstable = Counter[str](), Counter[str](), Counter[str]()
    stability: dict[str, float] = defaultdict(float)
    kinds = (kind for name in verdicts.names(".parquet") for kind in _kinds_of(verdicts, name))
    numbers = count()
    for table in _analyzed(generations, prompts):
        out.write_table(f"molecules-{next(numbers):05d}.parquet", table)
        for molecule in records.from_table(table, Molecule):
            sample, kind = next(kinds)
            assert sample == molecule.sample_id, f"molecules out of order at {molecule.sample_id}"
            bonds.update(bond.kind for bond in molecule.bonds)
            counts[kind] += 1
            stability[kind] += molecule.stability
            unstable[kind] += is_unstable(molecule, threshold=config.unstable_below)
    return {
        "molecules": counts.total(),
        "bonds": dict(bonds),
        "by_verdict": {
            kind: {"traces": n, "mean_stability": round(stability[kind] / n, 4), "unstable": unstable[kind]}
            for kind, n in counts.items()
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

    questions: dict[str, str] = ray.get(asked)
    # Without the gold answer: the verdict says whether the answer is right, a molecule how the trace holds together.
    molecules = [
        analyze(row["completion"], question=questions[row["prompt_id"]], markers=False, sample_id=row["sample_id"])
        for row in batch.to_pylist()
    ]
    return records.to_table(molecules, Molecule)
