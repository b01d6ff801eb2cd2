"""Curation by rejection sampling: which generations become training data.

In: prompts, generations, verdicts and, where a rule needs them, molecules. Out: samples-*.parquet, as
`datasets.load_dataset` and TRL take them, a dataset card, and choices/: for every generation why it is kept or not.

Work goes a file of generations at a time, on whatever cores the cluster has: a file holds all samples of its prompts.
The driver holds the problems, and of the samples only counts.
"""

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillery.config import Config, CurateConfig, settings_of
from stillery.curation.choosing import Row, choose, load_filters
from stillery.curation.datasheet import write_card
from stillery.curation.masks import corrected_spans
from stillery.curation.mixture import keep_rates, stays
from stillery.curation.rules import NEED_BONDS
from stillery.curation.samples import to_sample
from stillery.curation.screening import Screened, screen_prompts
from stillery.errors import UserError
from stillery.io.readers.files import fingerprints
from stillery.io.storage import Folder
from stillery.records import (
    Choice,
    Generation,
    Molecule,
    Prompt,
    Sample,
    Split,
    Verdict,
    VerdictKind,
    from_table,
)
from stillery.stages.stage import TRAINED, Stage, StageContext
from stillery.telemetry.logs import logger

# Within the output: a table of Choice for each file of generations.
CHOICES = "choices"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The tables that curation reads. Verdicts and molecules lie in the order of the generations."""

    generations: Folder
    verdicts: Folder
    molecules: Folder | None = None


def curate(
    config: CurateConfig,
    *,
    accepted_per_prompt: int | None,
    prompts: Folder,
    generations: Folder,
    verdicts: Folder,
    out: Folder,
    molecules: Folder | None = None,
    seed: int = 0,
    name: str = "run",
    on_ray: bool = False,
) -> dict[str, Any]:
    """Write samples-*.parquet, their card and the choices, and return the funnel.

    `accepted_per_prompt` is the stopping rule under which the generations were made. With `on_ray` files are worked on
    by Ray tasks, else one after the other. Raises UserError if nothing at all was accepted for training: there is
    nothing to train on.
    """
    by_id = {p.prompt_id: p for p in from_table(prompts.read_all(Prompt), Prompt)}
    screened = screen_prompts(config, list(by_id.values()))
    inputs = Inputs(generations, verdicts, molecules)
    starts = _starts(generations)
    each = _on_ray if on_ray else _here
    work = functools.partial(
        curate_file, config=config, accepted_per_prompt=accepted_per_prompt, inputs=inputs, out=out, seed=seed
    )
    counts = _add_up(each(work, list(starts.items()), {"by_id": by_id, "screened": screened}))
    if config.mixture:
        measured = counts["by_part" if config.mixture_by == "samples" else "tokens_by_part"]
        rates = keep_rates(measured, config.mixture)
        logger.info(f"curate: of each part stay {', '.join(f'{p} {rate:.0%}' for p, rate in rates.items())}")
        thin = functools.partial(thin_file, rates=rates, generations=generations, out=out, seed=seed)
        thinned = _add_up(each(thin, list(starts.items()), {}))
        funnel = counts["funnel"] | {k: thinned["funnel"][k] for k in ("kept", "train", "prompts_kept")}
        counts |= {**thinned, "funnel": funnel, "dropped": counts["dropped"] + thinned["dropped"]}
    funnel = counts["funnel"]
    if funnel["train"] == 0:
        raise UserError(_nothing_accepted(counts["dropped"]))
    names = ("generated", "correct", "kept", "train", "prompts", "prompts_kept")
    tokens = counts["tokens"]
    summary = {
        **{key: funnel[key] for key in names},
        "validation": funnel["kept"] - funnel["train"],
        "dropped": dict(counts["dropped"]),
        "by_part": dict(counts["by_part"]),
        "by_task": dict(counts["by_task"]),
        "by_teacher": dict(counts["by_teacher"]),
        "tokens": {
            "total": tokens["total"],
            "mean": round(tokens["total"] / funnel["kept"], 1),
            "min": min(counts["shortest"]),
            "max": max(counts["longest"]),
        },
    }
    out.write_bytes("README.md", write_card(summary, settings=settings_of(config), name=name).encode())
    return summary


Counts = dict[str, Any]
Work = Callable[..., dict[str, Any]]


def curate_file(
    place: tuple[str, int],
    *,
    by_id: Mapping[str, Prompt],
    screened: Screened,
    config: CurateConfig,
    accepted_per_prompt: int | None,
    inputs: Inputs,
    out: Folder,
    seed: int,
) -> dict[str, Any]:
    """Choose among the samples of one file of generations, and count. `place` is its name and how many generations lie
    in the files before it."""
    file, start = place
    rows = inputs.generations.read_rows(file, Generation)
    verdicts = _slice(inputs.verdicts, Verdict, start, len(rows))
    found = _slice(inputs.molecules, Molecule, start, len(rows)) if inputs.molecules is not None else []
    _check_order(rows, verdicts)
    molecules = {molecule.sample_id: molecule for molecule in found}
    filters = load_filters(config.filters)
    counts, samples, choices = _counts(), list[Sample](), list[Choice]()
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
                accepted_per_prompt=accepted_per_prompt,
                molecules=molecules,
                seed=seed,
                filters=filters,
            )
        choices += chosen
        counts["funnel"]["generated"] += len(of_prompt)
        counts["funnel"]["correct"] += sum(verdict.verdict == VerdictKind.CORRECT for _, verdict in of_prompt)
        counts["funnel"]["prompts"] += 1
        counts["dropped"].update(choice.reason for choice in chosen if choice.reason is not None)
        _count_kept(counts, prompt, kept)
        for generation in kept:
            molecule = molecules.get(generation.sample_id) if config.mask_corrected else None
            masked = corrected_spans(molecule) if molecule is not None else []
            samples.append(to_sample(generation, prompt, masked=masked))
    _write(out, file, samples, choices)
    return counts


def thin_file(
    place: tuple[str, int], *, rates: Mapping[str, float], generations: Folder, out: Folder, seed: int
) -> dict[str, Any]:
    """Leave out what the mixture has no place for, of the samples that one file of generations gave."""
    file, _ = place
    counts, samples, gone = _counts(), list[Sample](), set[str]()
    tokens = dict(zip(*_columns(generations, file, ["sample_id", "num_tokens"]), strict=True))
    for sample in out.read_rows(_samples_of(file), Sample) if out.exists(_samples_of(file)) else []:
        if stays(sample.sample_id, rate=rates.get(sample.part, 0.0), seed=seed):
            samples.append(sample)
            _count_sample(counts, sample, tokens[sample.sample_id])
        else:
            gone.add(sample.sample_id)
    counts["funnel"]["prompts_kept"] = len({sample.prompt_id for sample in samples})
    counts["dropped"]["mixture"] = len(gone)
    choices = [
        Choice(c.sample_id, c.prompt_id, "mixture", None) if c.sample_id in gone else c
        for c in (out / CHOICES).read_rows(_choices_of(file), Choice)
    ]
    _write(out, file, samples, choices)
    return counts


def _counts() -> dict[str, Any]:
    names = ("funnel", "dropped", "by_part", "tokens_by_part", "by_task", "by_teacher", "tokens")
    return {**{name: Counter[str]() for name in names}, "shortest": list[int](), "longest": list[int]()}


def _count_kept(counts: Counts, prompt: Prompt, kept: Sequence[Generation]) -> None:
    counts["funnel"]["prompts_kept"] += bool(kept)
    for generation in kept:
        _count_sample(counts, to_sample(generation, prompt), generation.num_tokens)


def _count_sample(counts: Counts, sample: Sample, num_tokens: int) -> None:
    counts["funnel"]["kept"] += 1
    counts["funnel"]["train"] += sample.split == Split.TRAIN
    counts["by_part"][sample.part] += 1
    counts["tokens_by_part"][sample.part] += num_tokens
    counts["by_task"][sample.task] += 1
    counts["by_teacher"][sample.teacher] += 1
    counts["tokens"]["total"] += num_tokens
    counts["shortest"] = [min([*counts["shortest"], num_tokens])]
    counts["longest"] = [max([*counts["longest"], num_tokens])]


def _add_up(parts: Iterator[Counts]) -> Counts:
    total = _counts()
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if isinstance(value, list) else total[name] + Counter(value)
        total["shortest"], total["longest"] = [min(total["shortest"], default=0)], [max(total["longest"], default=0)]
    return total


def _here(work: Work, places: Sequence[tuple[str, int]], shared: Mapping[str, Any]) -> Iterator[Counts]:
    for place in places:
        yield work(place, **shared)


def _on_ray(work: Work, places: Sequence[tuple[str, int]], shared: Mapping[str, Any]) -> Iterator[Counts]:
    import ray

    if not places:
        return
    files = ray.data.from_items(
        [{"file": file, "start": start} for file, start in places], override_num_blocks=len(places)
    )
    files.context.enable_progress_bars = False
    task = functools.partial(_work_on, work=work, shared=ray.put(dict(shared)))
    for number, row in enumerate(files.map(task, num_cpus=1).iter_rows(), 1):
        if row["fault"] is not None:
            raise UserError(row["fault"])
        if len(places) > 1:
            logger.info(f"curate: {number} of {len(places)} files")
        yield json.loads(row["counts"])


def _work_on(row: Mapping[str, Any], *, work: Work, shared: Any) -> dict[str, str | None]:
    """The Ray task. What a user can mend comes back as a value: an exception would come with Ray's traceback."""
    import ray

    try:
        known: dict[str, Any] = ray.get(shared)
        return {"counts": json.dumps(work((row["file"], row["start"]), **known)), "fault": None}
    except UserError as error:
        return {"counts": None, "fault": str(error)}


def _starts(folder: Folder) -> dict[str, int]:
    """How many rows lie in the files before each of a folder's Parquet files."""
    starts, total = dict[str, int](), 0
    for name in folder.names(".parquet"):
        starts[name] = total
        with folder.open_file(name) as file:
            total += pq.read_metadata(file).num_rows
    return starts


def _slice(folder: Folder, record: type[Any], start: int, count: int) -> list[Any]:
    """Rows of a folder's tables, taken as one table, which may be divided otherwise than the generations are."""
    parts: list[pa.Table] = []
    for name, first in _starts(folder).items():
        if first < start + count:
            with folder.open_file(name) as file:
                num_rows = pq.read_metadata(file).num_rows
            if first + num_rows > start:
                table = folder.read_table(name, record)
                parts.append(
                    table.slice(max(0, start - first), min(num_rows, start + count - first) - max(0, start - first))
                )
    return from_table(pa.concat_tables(parts), record) if parts else []


def _check_order(rows: Sequence[Generation], verdicts: Sequence[Verdict]) -> None:
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


def _nothing_accepted(dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common(4)) or "no generations"
    return (
        f"no sample was accepted for training ({reasons}); raise teacher.samples_per_prompt, use a stronger teacher, "
        "or set curate.require_template=false if the template is what fails"
    )


def needs_bonds(config: Config) -> bool:
    """Whether what the config asks of curation rests on molecules."""
    return config.curate.mask_corrected or any(rule.partition(":")[0] in NEED_BONDS for rule in config.curate.rules)


def _settings(config: Config) -> dict[str, Any]:
    against = fingerprints(config.curate.decontaminate.files, key="curate.decontaminate.files")
    settings = {**settings_of(config.curate), "accepted_per_prompt": config.teacher.accepted_per_prompt}
    draws = config.curate.mixture or any(rule == "random" for rule in config.curate.rules)
    return settings | {"evaluation_sets": against, "seed": config.run.seed if draws else None}


def _run(context: StageContext) -> dict[str, Any]:
    return curate(
        context.config.curate,
        accepted_per_prompt=context.config.teacher.accepted_per_prompt,
        prompts=context.folder("prompts"),
        generations=context.folder("generate"),
        verdicts=context.folder("verify"),
        molecules=context.folder("bonds") if needs_bonds(context.config) else None,
        out=context.out,
        seed=context.config.run.seed,
        name=context.config.run.name,
        on_ray=True,
    )


STAGE = Stage(
    "curate",
    version=5,
    needs=(TRAINED, "generate", "verify"),
    also_needs=lambda config: ("bonds",) if needs_bonds(config) else (),
    settings=_settings,
    run=_run,
)
