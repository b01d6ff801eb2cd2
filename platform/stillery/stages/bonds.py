"""The stages bonds and compare_bonds: traces to molecules.

In: prompts, generations and their verdicts; or the evaluated samples of several models. Out: one Molecule per trace, in
the same order. Analysis is pure and takes milliseconds a trace, so it runs as plain Ray Data tasks on any free cores. A
trace that cannot be analysed becomes a row with an error, counted and named in the summary.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from stillery import records
from stillery.bonds.analysis import analyze
from stillery.bonds.corpus.comparison import compare
from stillery.bonds.measure.stability import is_unstable
from stillery.config import BondsConfig, Config, settings_of
from stillery.io.storage import Folder
from stillery.records import Molecule, Prompt, Score, Split, Verdict
from stillery.registry.lineage import EVALUATIONS
from stillery.stages.stage import TRAINED, Stage, StageContext
from stillery.telemetry.logs import logger

ROWS_PER_FILE = 5_000
ROWS_PER_BATCH = 256
# At most this many of the traces that could not be analysed are named in the summary; the table has all of them.
NAMED_FAILURES = 20

_COLUMNS = ["sample_id", "prompt_id", "completion"]


def find_molecules(
    config: BondsConfig, *, generations: Folder, verdicts: Folder, prompts: Folder, out: Folder
) -> dict[str, Any]:
    """Write molecules-*.parquet and return a summary: bonds by kind; for each verdict the number of traces, their mean
    stability and how many are unstable; and which could not be analysed. Needs a running Ray."""
    tally = MoleculeCounts(config.unstable_below)
    kinds = (kind for name in verdicts.names(".parquet") for kind in _kinds_of(verdicts, name))
    questions = {p.prompt_id: p.question for p in records.from_table(prompts.read_all(Prompt), Prompt)}
    for number, table in enumerate(_analyzed(generations, questions)):
        out.write_table(f"molecules-{number:05d}.parquet", table)
        tally.add(records.from_table(table, Molecule), kinds)
    assert next(kinds, None) is None, "there are verdicts on samples that no generation is of"
    _say_failures("bonds", tally.failed, tally.failures)
    return tally.summary()


def compare_models(*, scores: Mapping[str, Folder], out: Folder) -> dict[str, Any]:
    """Write ROLE-*.parquet, the molecules of each evaluated model's samples, and return their comparison on the test
    split: see `comparison.compare`. A model that was not evaluated is left out. Needs a running Ray."""
    found: dict[str, list[Molecule]] = {}
    problems: dict[str, str] = {}
    for role, folder in scores.items():
        rows = folder.read_all(Score).select(["sample_id", "prompt_id", "question", "split"]).to_pylist()
        tested = {row["sample_id"]: row["prompt_id"] for row in rows if row["split"] == Split.TEST}
        problems |= tested
        for number, table in enumerate(_analyzed(folder, {row["prompt_id"]: row["question"] for row in rows})):
            out.write_table(f"{role}-{number:05d}.parquet", table)
            molecules = records.from_table(table, Molecule)
            found.setdefault(role, []).extend(m for m in molecules if m.sample_id in tested)
    summary = compare(found, problems=problems)
    failed = [m for molecules in found.values() for m in molecules if m.error is not None]
    failures = [[m.sample_id, m.error or ""] for m in failed[:NAMED_FAILURES]]
    _say_failures("compare_bonds", len(failed), failures)
    return {**summary, "split": Split.TEST.value, "failed": len(failed), "failures": failures}


def _say_failures(stage: str, failed: int, failures: Sequence[Sequence[str]]) -> None:
    if failed:
        sample, reason = failures[0]
        logger.info(f"{stage}: {failed:,} traces could not be analysed, the first being {sample}: {reason}")


@dataclass(slots=True)
class MoleculeCounts:
    """Counts over the molecules of a run, by verdict. Traces without a molecule count as `failed` only."""

    unstable_below: float
    bonds: Counter[str] = field(default_factory=Counter[str])
    counts: Counter[str] = field(default_factory=Counter[str])
    unstable: Counter[str] = field(default_factory=Counter[str])
    stability: dict[str, float] = field(default_factory=lambda: defaultdict[str, float](float))
    failed: int = 0
    failures: list[list[str]] = field(default_factory=list[list[str]])

    def add(self, molecules: Sequence[Molecule], verdicts: Iterator[tuple[str, str]]) -> None:
        """Count molecules, reading the verdict (sample_id, kind) of each from `verdicts`, which are in the same
        order."""
        for molecule in molecules:
            sample, kind = next(verdicts, ("", ""))
            assert sample == molecule.sample_id, f"molecules out of order: {molecule.sample_id} beside verdict {sample}"
            if molecule.error is not None:
                self.failed += 1
                self.failures += [[sample, molecule.error]] if self.failed <= NAMED_FAILURES else []
                continue
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
            "failed": self.failed,
            "failures": self.failures,
        }


def _kinds_of(verdicts: Folder, name: str) -> list[tuple[str, str]]:
    table = verdicts.read_table(name, Verdict)
    return list(zip(table["sample_id"].to_pylist(), table["verdict"].to_pylist(), strict=True))


def _analyzed(traces: Folder, questions: Mapping[str, str]) -> Any:
    """Tables of molecules, in the order of the traces, computed by Ray Data. `questions` are by prompt_id."""
    import ray

    names = traces.names(".parquet")
    if not names:
        return
    fs, path = traces.open_fs()
    rows = ray.data.read_parquet(
        [f"{path}/{name}" for name in names],
        filesystem=None if traces.is_local else fs,
        num_cpus=0.25,
    ).select_columns(_COLUMNS)
    rows.context.execution_options.preserve_order = True
    rows.context.enable_progress_bars = False
    molecules = rows.map_batches(
        partial(_analyze_batch, asked=ray.put(questions)),
        batch_format="pyarrow",
        batch_size=ROWS_PER_BATCH,
    )
    for table in molecules.iter_batches(batch_size=ROWS_PER_FILE, batch_format="pyarrow"):
        yield records.conform(table, Molecule)


def _analyze_batch(batch: pa.Table, *, asked: Any) -> pa.Table:
    import ray

    return analyze_batch(batch, questions=ray.get(asked))


def analyze_batch(
    batch: pa.Table, *, questions: Mapping[str, str], analyze: Callable[..., Molecule] = analyze
) -> pa.Table:
    """The molecules of traces, row by row. `questions` maps prompt_id to the question.

    The gold answer plays no part: the verdict says whether the answer is right, a molecule how the trace holds
    together. A trace on which `analyze` raises becomes a molecule without atoms that carries the error.
    """
    molecules: list[Molecule] = []
    for row in batch.to_pylist():
        sample, question = row["sample_id"], questions[row["prompt_id"]]
        try:
            molecules.append(analyze(row["completion"], question=question, markers=False, sample_id=sample))
        except Exception as error:
            # One malformed trace must not end a run of millions.
            molecules.append(Molecule(sample, [], [], 0.0, 0.0, 0.0, [], f"{type(error).__name__}: {error}"))
    return records.to_table(molecules, Molecule)


def _is_enabled(config: Config) -> bool:
    return config.bonds.enabled


def _run(context: StageContext) -> dict[str, Any]:
    return find_molecules(
        context.config.bonds,
        generations=context.folder("generate"),
        verdicts=context.folder("verify"),
        prompts=context.folder("prompts"),
        out=context.out,
    )


def _run_comparison(context: StageContext) -> dict[str, Any]:
    scores = {role: context.folder(stage) for stage, role in EVALUATIONS.items() if stage in context.outputs}
    return compare_models(scores=scores, out=context.out)


STAGE = Stage(
    "bonds",
    version=9,
    needs=(TRAINED, "generate", "verify"),
    settings=lambda config: settings_of(config.bonds),
    run=_run,
    enabled=_is_enabled,
)
COMPARE_STAGE = Stage(
    "compare_bonds",
    version=STAGE.version,
    needs=tuple(EVALUATIONS),
    settings=lambda _: {},
    run=_run_comparison,
    enabled=_is_enabled,
)
