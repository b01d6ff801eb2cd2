"""Curation by rejection sampling: which generations become training data.

In: prompts, generations, verdicts and, where a rule needs them, molecules. Out: samples-*.parquet, in the format of
`datasets.load_dataset` and TRL, a dataset card, and choices/: for every generation, why it is kept or not.

The work is split by file of generations and runs on any cores of the cluster: a file holds all samples of its prompts.
The driver holds the problems but only counts of the samples.
"""

import dataclasses
import functools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stillery.config import Config, CurateConfig, TeacherConfig, settings_of
from stillery.curation.bond_tags import TAGGED, WITHOUT_TAG
from stillery.curation.datasheet import write_card
from stillery.curation.files import Counts, Inputs, curate_file, new_counts, read_cells, thin_file
from stillery.curation.licenses import Source, find_sources
from stillery.curation.mixture import fit_rates, kept_shares, shares_of
from stillery.curation.rules import NEED_BONDS
from stillery.curation.screening import SCREENED, evaluation_fingerprints, screen_prompts, screens
from stillery.curation.similar_traces import SIGNATURES, find_repeated, sign_file
from stillery.curation.teacher_patterns import absent_kinds, differing
from stillery.curation.weights import BY_BONDS, MASKED, UNWEIGHTED
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.io.tables import TableRows
from stillery.metrics import StoppingRule
from stillery.records import Prompt, Split, from_table
from stillery.stages.stage import TRAINED, Stage, StageContext
from stillery.telemetry import logs
from stillery.telemetry.bars import ProgressBar
from stillery.telemetry.logs import logger
from stillery.verify.functions import function_identity


def curate(
    config: CurateConfig,
    *,
    stopping: StoppingRule | None,
    prompts: Folder,
    generations: Folder,
    verdicts: Folder,
    out: Folder,
    molecules: Folder | None = None,
    seed: int = 0,
    name: str = "run",
    sources: Callable[[Mapping[str, int]], Sequence[Source]] = lambda _: [],
    on_ray: bool = False,
) -> dict[str, Any]:
    """Write samples-*.parquet, their card and the choices, and return the funnel.

    `stopping` is the stopping rule under which the generations were made, if any; `sources`, for the card, gives the
    origin of the problems and of each teacher, from the number of kept samples of each teacher. With `on_ray` files are
    processed by Ray tasks, else one after the other. Raises UserError if nothing at all was accepted for training.
    """
    by_id = {p.prompt_id: p for p in from_table(prompts.read_all(Prompt), Prompt)}
    screened = screen_prompts(config, list(by_id.values()))
    if screens(config):
        # Refinement leaves these problems out too.
        reasons = {prompt_id: reason for prompt_id, (reason, _) in screened.items()}
        out.write_bytes(SCREENED, json.dumps(reasons).encode())
    inputs = Inputs(generations, TableRows.of(verdicts), None if molecules is None else TableRows.of(molecules))
    places = list(TableRows.of(generations).starts.items())
    each = _on_ray if on_ray else _here
    work = functools.partial(curate_file, config=config, stopping=stopping, inputs=inputs, out=out, seed=seed)
    counts = _add_up(each(work, places, {"by_id": by_id, "screened": screened}))
    thin = functools.partial(thin_file, inputs=inputs, out=out, seed=seed)
    if config.near_duplicate_traces is not None:
        for _ in each(functools.partial(sign_file, out=out), places, {}):
            pass
        files = [name for name in out.names(".parquet") if name.startswith("samples-")]
        repeated = find_repeated(out, files, threshold=config.near_duplicate_traces)
        logger.info(f"curate: {len(repeated):,} traces nearly repeat one of another problem")
        counts = _thinned(counts, each(thin, places, {"repeated": repeated}))
        for file in (out / SIGNATURES).names():
            (out / SIGNATURES).remove(file)
    cells = read_cells(counts["cells" if config.mixture_by == "samples" else "tokens_by_cell"])
    shares = shares_of(config, cells)
    stay: dict[str, dict[str, float]] = {}
    if shares:
        rates = fit_rates(cells, shares)
        stay = {axis: kept_shares(cells, rates, axis) for axis in shares}
        for axis, of_groups in stay.items():
            told = ", ".join(f"{group} {rate:.0%}" for group, rate in of_groups.items())
            logger.info(f"curate: of each {axis} stay {told}; nothing is repeated")
        counts = _thinned(counts, each(thin, places, {"rates": rates}))
    warnings = list(differing(counts["patterns"])) if config.sources else []
    warnings += absent_kinds(counts["patterns"], config.target_pattern)
    for warning in warnings:
        logger.warning(f"curate: {warning}")
    funnel = counts["funnel"]
    asked = sum(prompt.split in (Split.TRAIN, Split.VALIDATION) for prompt in by_id.values())
    without = max(0, asked - funnel["prompts"])
    if without:
        logger.info(f"curate: {without:,} of {asked:,} problems to train or validate on have no sample at all")
    if funnel["train"] == 0:
        raise UserError(_nothing_accepted(counts["dropped"]))
    summary = _summary(config, counts) | {"prompts_without_samples": without}
    summary["sources"] = [dataclasses.asdict(source) for source in sources(dict(counts["by_teacher"]))]
    summary |= {"stay": stay} if stay else {}
    summary |= {"warnings": warnings} if warnings else {}
    out.write_bytes("README.md", write_card(summary, settings=settings_of(config), name=name).encode())
    return summary


def _summary(config: CurateConfig, counts: Counts) -> dict[str, Any]:
    """The summary of the counts, for the manifest and the card."""
    funnel = counts["funnel"]
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
    if config.bond_weight or config.mask_corrected:
        weighted = counts["weighted"]
        summary["weighted"] = {key: weighted[key] for key in (BY_BONDS, MASKED)}
        if config.bond_weight:
            summary["weighted"][UNWEIGHTED] = funnel["kept"] - weighted[BY_BONDS]
            logger.info(
                f"curate: {weighted[BY_BONDS]:,} of {funnel['kept']:,} samples are weighted by their bonds; in the "
                "others no bond leads to the answer, and every step weighs 1"
            )
    if config.bond_tags:
        summary["tagged"] = {TAGGED: counts["tagged"][TAGGED], WITHOUT_TAG: funnel["train"] - counts["tagged"][TAGGED]}
    return summary


Work = Callable[..., Counts]


def _thinned(counts: Counts, parts: Iterator[Counts]) -> Counts:
    """The counts after some of the kept samples are left out."""
    left = _add_up(parts)
    funnel = counts["funnel"] | {k: left["funnel"][k] for k in ("kept", "train", "prompts_kept")}
    return {**left, "funnel": funnel, "dropped": counts["dropped"] + left["dropped"], "patterns": counts["patterns"]}


def _add_up(parts: Iterator[Counts]) -> Counts:
    total, seen = new_counts(), set[str]()
    for part in parts:
        of_part = part.pop("prompt_ids", [])
        if (again := next((prompt for prompt in of_part if prompt in seen), None)) is not None:
            raise UserError(
                f"prompt {again} has samples in two files; write all samples of a prompt into one, together"
            )
        seen.update(of_part)
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
    started = time.monotonic()
    for number, row in enumerate(files.map(task, num_cpus=1).iter_rows(), 1):
        if row["fault"] is not None:
            raise UserError(row["fault"])
        if len(places) > 1:
            logs.report(ProgressBar("curate", number, len(places), time.monotonic() - started, unit="files"))
        yield json.loads(row["counts"])


def _work_on(row: Mapping[str, Any], *, work: Work, shared: Any) -> dict[str, str | None]:
    """The Ray task. A UserError is returned as a value: raised, it would carry Ray's traceback."""
    import ray

    try:
        known: dict[str, Any] = ray.get(shared)
        return {"counts": json.dumps(work((row["file"], row["start"]), **known)), "fault": None}
    except UserError as error:
        return {"counts": None, "fault": str(error)}


def _nothing_accepted(dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common(4)) or "no generations"
    return (
        f"no sample was accepted for training ({reasons}); raise teacher.samples_per_prompt, use a stronger teacher, "
        "or set curate.require_template=false if the template is what fails"
    )


def needs_bonds(config: Config) -> bool:
    """Whether the curation settings need molecules."""
    curate, rules = config.curate, [rule.partition(":")[0] for rule in config.curate.rules]
    compares_teachers = bool(curate.sources) and config.bonds.enabled
    weighted = curate.mask_corrected or curate.bond_weight > 0 or curate.bond_tags > 0
    return compares_teachers or weighted or any(rule in NEED_BONDS for rule in rules)


def _stopping(teacher: TeacherConfig) -> StoppingRule | None:
    """The teacher's stopping rule; None where it made every sample."""
    if teacher.accepted_per_prompt is None:
        return None
    return StoppingRule(teacher.samples_per_prompt, teacher.accepted_per_prompt, teacher.futility)


def _settings(config: Config) -> dict[str, Any]:
    against = evaluation_fingerprints(config.curate.decontaminate)
    stopping, curate = _stopping(config.teacher), config.curate
    settings: dict[str, Any] = {
        **settings_of(curate),
        "stopping": None if stopping is None else dataclasses.asdict(stopping),
    }
    if not curate.bond_weight:
        # Defaults are left out, so that older fingerprints stay valid.
        del settings["bond_weight"]
    if not curate.bond_tags:
        del settings["bond_tags"]
    if not curate.licenses:
        del settings["licenses"]
    if screens(curate):
        # Outputs from before the list of screened problems was kept do not count.
        settings["keeps_screened"] = True
    # The contents of the sets are in `evaluation_sets`, whatever their paths and spelling.
    del settings["decontaminate"]["data"], settings["decontaminate"]["sets"]
    draws = curate.mixture or curate.sources or curate.balance or "random" in curate.rules or curate.bond_tags
    if config.curate.filters:
        named = [function_identity(name, key="curate.filters", arguments=2) for name in config.curate.filters]
        settings["filters"] = named
    return settings | {"evaluation_sets": against, "seed": config.run.seed if draws else None}


def _run(context: StageContext) -> dict[str, Any]:
    return curate(
        context.config.curate,
        stopping=_stopping(context.config.teacher),
        prompts=context.folder("prompts"),
        generations=context.folder("generate"),
        verdicts=context.folder("verify"),
        molecules=context.folder("bonds") if needs_bonds(context.config) else None,
        out=context.out,
        seed=context.config.run.seed,
        name=context.config.run.name,
        sources=functools.partial(find_sources, context.config),
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
