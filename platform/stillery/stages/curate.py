"""Curation by rejection sampling: which generations become training data.

In: prompts, generations, verdicts. Out: samples, and a funnel that accounts for every generation.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from stillery.config import Config, CurateConfig, settings_of
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.metrics import pass_rate
from stillery.records import FAILURES, Generation, Message, Prompt, Sample, Split, Verdict, VerdictKind, from_table
from stillery.stages.stage import TRAINED, Stage, StageContext
from stillery.thinking import CLOSE_THINK, OPEN_THINK, opens_thinking, split_thinking
from stillery.verify.acceptance import Acceptance

ROWS_PER_FILE = 20_000

Row = tuple[Generation, Verdict]


def curate(
    config: CurateConfig,
    *,
    accepted_per_prompt: int | None,
    prompts: Folder,
    generations: Folder,
    verdicts: Folder,
    out: Folder,
) -> dict[str, Any]:
    """Write samples-*.parquet and return the funnel. Holds one prompt's samples and one file's rows at a time.

    `accepted_per_prompt` is the stopping rule under which the generations were made. Raises UserError if nothing at
    all was accepted for training: there is nothing to train on.
    """
    by_id = {p.prompt_id: p for p in from_table(prompts.read_all(Prompt), Prompt)}
    funnel, dropped = Counter[str](), Counter[str]()
    samples: list[Sample] = []
    num_files = 0
    for prompt_id, group in groupby(_rows(generations, verdicts), key=lambda row: row[0].prompt_id):
        rows = list(group)
        kept, reasons = choose(config, rows, accepted_per_prompt=accepted_per_prompt)
        dropped += reasons
        funnel["generated"] += len(rows)
        funnel["correct"] += sum(verdict.verdict == VerdictKind.CORRECT for _, verdict in rows)
        funnel["prompts"] += 1
        funnel["prompts_kept"] += bool(kept)
        funnel["kept"] += len(kept)
        funnel["train"] += len(kept) if by_id[prompt_id].split == Split.TRAIN else 0
        samples += [to_sample(generation, by_id[prompt_id]) for generation in kept]
        if len(samples) >= ROWS_PER_FILE:
            out.write_rows(f"samples-{num_files:05d}.parquet", samples, Sample)
            samples, num_files = [], num_files + 1
    if funnel["train"] == 0:
        raise UserError(_nothing_accepted(dropped))
    if samples:
        out.write_rows(f"samples-{num_files:05d}.parquet", samples, Sample)
    names = ("generated", "correct", "kept", "train", "prompts", "prompts_kept")
    counts = {name: funnel[name] for name in names}
    return {**counts, "validation": funnel["kept"] - funnel["train"], "dropped": dict(dropped)}


def _rows(generations: Folder, verdicts: Folder) -> Iterator[Row]:
    """Generations with their verdicts: both lie in the same order, a prompt's together."""
    checked = (row for name in verdicts.names(".parquet") for row in verdicts.read_rows(name, Verdict))
    for name in generations.names(".parquet"):
        for generation in generations.read_rows(name, Generation):
            verdict = next(checked)
            assert verdict.sample_id == generation.sample_id, f"verdicts out of order at {generation.sample_id}"
            yield generation, verdict


def choose(
    config: CurateConfig, rows: Iterable[Row], *, accepted_per_prompt: int | None = None
) -> tuple[list[Generation], Counter[str]]:
    """Of one prompt's samples the kept ones, in order, and how many were dropped for each reason.

    They are taken in order of sample index: in order of completion, short ones would be favoured.
    """
    accepted: list[Generation] = []
    rule = Acceptance.of(config)
    keys: set[str] = set()
    num_counted = num_successes = 0
    last, dropped = last_tries(rows)
    for generation, verdict in last:
        key = rule.key(sample_id=generation.sample_id, completion=generation.completion)
        reason = rule.why_dropped(verdict) or ("duplicate" if key in keys else None)
        if reason is None:
            keys.add(key)
            accepted.append(generation)
        else:
            dropped[reason] += 1
        if not generation.surplus:
            # What failed for a reason of ours says nothing of how difficult the problem is.
            num_counted += verdict.verdict not in FAILURES
            num_successes += reason is None
    rate = pass_rate(max(1, num_counted), num_successes, wanted=accepted_per_prompt)
    if accepted and not config.min_pass_rate <= rate <= config.max_pass_rate:
        dropped["pass rate too low" if rate < config.min_pass_rate else "pass rate too high"] += len(accepted)
        return [], dropped
    if len(accepted) > config.max_per_prompt:
        dropped["beyond max_per_prompt"] += len(accepted) - config.max_per_prompt
    return accepted[: config.max_per_prompt], dropped


def last_tries(rows: Iterable[Row]) -> tuple[list[Row], Counter[str]]:
    """One prompt's samples in order of index, each by its last try, and how many tries were replaced by a later one.

    A second try is made where the first was cut off for length; the first may be right all the same, and is one sample
    with the second.
    """
    ordered = sorted(rows, key=lambda row: (row[0].sample_index, row[0].attempt))
    last_attempt = {generation.sample_index: generation.attempt for generation, _ in ordered}
    last = [row for row in ordered if row[0].attempt == last_attempt[row[0].sample_index]]
    num_replaced = len(ordered) - len(last)
    return last, Counter({"tried again": num_replaced} if num_replaced else {})


def to_sample(generation: Generation, prompt: Prompt) -> Sample:
    """The training row: the student sees the bare question, whatever instruction the teacher was given."""
    return Sample(
        sample_id=generation.sample_id,
        prompt_id=generation.prompt_id,
        task=prompt.task,
        split=prompt.split,
        prompt=[Message("user", prompt.question)],
        completion=[Message("assistant", whole_completion(generation))],
        weights=[],
        part="reasoning" if prompt.answer is not None else "general",
        teacher=generation.model,
    )


def whole_completion(generation: Generation) -> str:
    """The completion as the template has it: its thinking first, between <think> and </think>.

    The opening tag may have been written by the teacher's chat template, or by a server that keeps its prompt to
    itself; the student's template need not, and a trace without its beginning must not be learnt. Other models' markers
    stand for the same. What is not one block of thinking with a text behind it stays as it is.
    """
    completion = generation.completion
    split = split_thinking(completion, prefilled=opens_thinking(generation.rendered))
    if not (split.hidden and split.is_paired and split.is_first):
        return completion
    if not split.is_own:
        thinking = split.hidden[0].strip("\n")
        return f"{OPEN_THINK}\n{thinking}\n{CLOSE_THINK}\n{split.visible.lstrip()}"
    if completion.lstrip().startswith(OPEN_THINK):
        return completion
    opening = generation.rendered.rfind(OPEN_THINK)
    if opening >= 0 and not generation.rendered[opening + len(OPEN_THINK) :].strip():
        return generation.rendered[opening:] + completion
    return f"{OPEN_THINK}\n{completion.lstrip(chr(10))}"


def _nothing_accepted(dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common(4)) or "no generations"
    return (
        f"no sample was accepted for training ({reasons}); raise teacher.samples_per_prompt, use a stronger teacher, "
        "or set curate.require_template=false if the template is what fails"
    )


def _settings(config: Config) -> dict[str, Any]:
    return {**settings_of(config.curate), "accepted_per_prompt": config.teacher.accepted_per_prompt}


def _run(context: StageContext) -> dict[str, Any]:
    return curate(
        context.config.curate,
        accepted_per_prompt=context.config.teacher.accepted_per_prompt,
        prompts=context.folder("prompts"),
        generations=context.folder("generate"),
        verdicts=context.folder("verify"),
        out=context.out,
    )


STAGE = Stage("curate", version=4, needs=(TRAINED, "generate", "verify"), settings=_settings, run=_run)
