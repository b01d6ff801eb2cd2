"""From a file of generations to its training samples, and a choice for each generation. Pure except for reading and
writing tables; a stage calls it for every file, on any machine.

Verdicts and molecules are in the order of the generations, and may be split into different files.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq

from stillery.config import CurateConfig
from stillery.curation.bond_tags import TAGGED, is_tagged, tagged
from stillery.curation.choosing import Row, choose, load_filters
from stillery.curation.mixture import Cell, cell_of, difficulty_of, stays
from stillery.curation.samples import to_sample
from stillery.curation.screening import Screened
from stillery.curation.teacher_patterns import count_pattern
from stillery.curation.weights import BY_BONDS, MASKED, weights_of
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.io.tables import TableRows
from stillery.metrics import StoppingRule
from stillery.records import FAILURES, Choice, Generation, Molecule, Prompt, Sample, Split, Verdict, VerdictKind

# Within the output: a table of Choice for each file of generations.
CHOICES = "choices"
NEAR_DUPLICATE = "near-duplicate trace"

_SEPARATOR = "\x1f"
_UNDECIDED = (*FAILURES, VerdictKind.UNCHECKED)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of curation. Verdicts and molecules are in the order of the generations."""

    generations: Folder
    verdicts: TableRows
    molecules: TableRows | None = None


# The totals of a file of generations: counters by name, its prompts, and the shortest and longest completion.
Counts = dict[str, Any]


def curate_file(
    place: tuple[str, int],
    *,
    by_id: Mapping[str, Prompt],
    screened: Screened,
    config: CurateConfig,
    stopping: StoppingRule | None,
    inputs: Inputs,
    out: Folder,
    seed: int,
) -> dict[str, Any]:
    """Choose among the samples of one file of generations, and count. `place` is its name and the number of generations
    in the files before it."""
    file, start = place
    rows = inputs.generations.read_rows(file, Generation)
    verdicts = inputs.verdicts.read(Verdict, start, len(rows))
    found = [] if inputs.molecules is None else inputs.molecules.read(Molecule, start, len(rows))
    _check_rows(rows, verdicts, by_id, where=f"{inputs.generations.uri}/{file}")
    molecules = {molecule.sample_id: molecule for molecule in found}
    filters = load_filters(config.filters)
    counts, samples, choices = new_counts(), list[Sample](), list[Choice]()
    pairs: Iterator[Row] = zip(rows, verdicts, strict=True)
    for prompt_id, group in groupby(pairs, key=lambda row: row[0].prompt_id):
        of_prompt, prompt = list(group), by_id[prompt_id]
        if prompt_id in screened:
            kept, chosen = (
                list[Generation](),
                [Choice(g.sample_id, prompt_id, *screened[prompt_id]) for g, _ in of_prompt],
            )
        else:
            kept, chosen = choose(
                config,
                of_prompt,
                stopping=stopping,
                molecules=molecules,
                seed=seed,
                filters=filters,
            )
        choices += chosen
        counts["funnel"]["generated"] += len(of_prompt)
        counts["funnel"]["correct"] += sum(verdict.verdict == VerdictKind.CORRECT for _, verdict in of_prompt)
        counts["funnel"]["prompts"] += 1
        counts["prompt_ids"].append(prompt_id)
        counts["funnel"]["prompts_kept"] += bool(kept)
        counts["dropped"].update(choice.reason for choice in chosen if choice.reason is not None)
        difficulty = _difficulty(verdict for _, verdict in of_prompt)
        for generation in kept:
            molecule = molecules.get(generation.sample_id)
            sample = to_sample(generation, prompt, weights=weights_of(config, molecule))
            if config.bond_tags and sample.split == Split.TRAIN:
                sample = tagged(sample, molecule, share=config.bond_tags, seed=seed)
            samples.append(sample)
            _count_sample(counts, samples[-1], generation.num_tokens, difficulty)
            if molecule is not None:
                count_pattern(counts["patterns"], generation.model, molecule)
    _write(out, file, samples, choices)
    return counts


def thin_file(
    place: tuple[str, int],
    *,
    inputs: Inputs,
    out: Folder,
    seed: int,
    rates: Mapping[Cell, float] | None = None,
    repeated: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Leave out the samples of one file of generations that nearly repeat another problem's trace (`repeated`, by
    sample_id, with the evidence), or that exceed their share of the mixture (`rates`). Counts the remaining ones."""
    file, start = place
    counts, samples, gone = new_counts(), list[Sample](), dict[str, tuple[str, str | None]]()
    ids, tokens = _columns(inputs.generations, file, ["sample_id", "num_tokens"])
    num_tokens = dict(zip(ids, tokens, strict=True))
    of_prompt: dict[str, list[Verdict]] = {}
    for verdict in inputs.verdicts.read(Verdict, start, len(ids)):
        of_prompt.setdefault(verdict.prompt_id, []).append(verdict)
    for sample in out.read_rows(_samples_of(file), Sample) if out.exists(_samples_of(file)) else []:
        difficulty = _difficulty(of_prompt[sample.prompt_id])
        cell = cell_of(sample, num_tokens=num_tokens[sample.sample_id], difficulty=difficulty)
        if repeated is not None and sample.sample_id in repeated:
            gone[sample.sample_id] = NEAR_DUPLICATE, repeated[sample.sample_id]
        elif rates is not None and not stays(sample.sample_id, rate=rates.get(cell, 0.0), seed=seed):
            gone[sample.sample_id] = "mixture", None
        else:
            samples.append(sample)
            _count_sample(counts, sample, num_tokens[sample.sample_id], difficulty)
    counts["funnel"]["prompts_kept"] = len({sample.prompt_id for sample in samples})
    counts["dropped"].update(reason for reason, _ in gone.values())
    choices = [
        Choice(c.sample_id, c.prompt_id, *gone[c.sample_id]) if c.sample_id in gone else c
        for c in (out / CHOICES).read_rows(_choices_of(file), Choice)
    ]
    _write(out, file, samples, choices)
    return counts


def new_counts() -> dict[str, Any]:
    names = (
        "funnel",
        "dropped",
        "by_part",
        "by_task",
        "by_teacher",
        "tokens",
        "cells",
        "tokens_by_cell",
        "patterns",
        "weighted",
        "tagged",
    )
    lists = ("shortest", "longest", "prompt_ids")
    return {**{name: Counter[str]() for name in names}, **{name: list[Any]() for name in lists}}


def _difficulty(verdicts: Iterable[Verdict]) -> str:
    decided = [verdict.verdict for verdict in verdicts if verdict.verdict not in _UNDECIDED]
    return difficulty_of(decided.count(VerdictKind.CORRECT), len(decided))


def read_cells(counts: Mapping[str, float]) -> dict[Cell, float]:
    """The counts by cell, parsed from JSON."""
    return {tuple(key.split(_SEPARATOR)): count for key, count in counts.items()}


def _count_sample(counts: Counts, sample: Sample, num_tokens: int, difficulty: str) -> None:
    cell = _SEPARATOR.join(cell_of(sample, num_tokens=num_tokens, difficulty=difficulty))
    counts["cells"][cell] += 1
    counts["tokens_by_cell"][cell] += num_tokens
    counts["funnel"]["kept"] += 1
    counts["funnel"]["train"] += sample.split == Split.TRAIN
    counts["by_part"][sample.part] += 1
    counts["by_task"][sample.task] += 1
    counts["by_teacher"][sample.teacher] += 1
    counts["weighted"][BY_BONDS] += any(weight > 0 for _, _, weight in sample.weights)
    counts["weighted"][MASKED] += any(weight == 0 for _, _, weight in sample.weights)
    counts["tagged"][TAGGED] += is_tagged(sample)
    counts["tokens"]["total"] += num_tokens
    counts["shortest"] = [min([*counts["shortest"], num_tokens])]
    counts["longest"] = [max([*counts["longest"], num_tokens])]


def _check_rows(
    rows: Sequence[Generation], verdicts: Sequence[Verdict], by_id: Mapping[str, Prompt], *, where: str
) -> None:
    """Raise UserError for a duplicate sample, one of an unknown problem, or one without a verdict."""
    if len(verdicts) < len(rows):
        raise UserError(f"{where}: {len(rows):,} generations and {len(verdicts):,} verdicts of them; verify them again")
    times = Counter(row.sample_id for row in rows)
    twice = [sample for sample, count in times.items() if count > 1]
    if twice:
        raise UserError(f"{where}: sample {twice[0]} is there {times[twice[0]]} times; leave the copies out")
    lost = next((row for row in rows if row.prompt_id not in by_id), None)
    if lost is not None:
        raise UserError(
            f"{where}: sample {lost.sample_id} is of prompt {lost.prompt_id}, which is not among the prompts: curate "
            "it with the prompts that it was made from"
        )
    for generation, verdict in zip(rows, verdicts, strict=True):
        assert verdict.sample_id == generation.sample_id, f"verdicts out of order at {generation.sample_id}"


def _columns(folder: Folder, name: str, columns: Sequence[str]) -> list[list[Any]]:
    with folder.open_file(name) as file:
        table = pq.read_table(file, columns=list(columns))
    return [table[column].to_pylist() for column in columns]


def _samples_of(file: str) -> str:
    return file.replace("generations-", "samples-")


def _choices_of(file: str) -> str:
    return file.replace("generations-", "choices-")


def _write(out: Folder, file: str, samples: list[Sample], choices: list[Choice]) -> None:
    if samples:
        out.write_rows(_samples_of(file), samples, Sample)
    else:
        out.remove(_samples_of(file))
    (out / CHOICES).write_rows(_choices_of(file), choices, Choice)
