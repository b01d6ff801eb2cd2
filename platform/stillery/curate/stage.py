"""Curation by rejection sampling: which generations become training data.

In: prompts, generations, verdicts. Out: samples, and a funnel that accounts for every generation.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from stillery.config import CurateConfig
from stillery.errors import UserError
from stillery.records import Generation, Message, Prompt, Sample, Split, Verdict, VerdictKind, from_table
from stillery.storage import Folder
from stillery.verify.template import OPEN_THINK

VERSION = 1


def curate(
    config: CurateConfig, *, prompts: Folder, generations: Folder, verdicts: Folder, out: Folder
) -> dict[str, Any]:
    """Write samples.parquet and return the funnel.

    Raises UserError if nothing at all was accepted for training: there is nothing to train on.
    """
    by_id = {p.prompt_id: p for p in from_table(prompts.read_all(Prompt), Prompt)}
    verdict_of = {v.sample_id: v for v in from_table(verdicts.read_all(Verdict), Verdict)}
    rows = from_table(generations.read_all(Generation), Generation)
    kept, dropped = choose(config, ((g, verdict_of[g.sample_id]) for g in rows))
    samples = [to_sample(g, by_id[g.prompt_id]) for g in kept]
    num_train = sum(s.split == Split.TRAIN for s in samples)
    if num_train == 0:
        raise UserError(_nothing_accepted(dropped))
    out.write_rows("samples.parquet", samples, Sample)
    return {
        "generated": len(rows),
        "correct": sum(v.verdict == VerdictKind.CORRECT for v in verdict_of.values()),
        "kept": len(samples),
        "train": num_train,
        "validation": len(samples) - num_train,
        "prompts": len({g.prompt_id for g in rows}),
        "prompts_kept": len({s.prompt_id for s in samples}),
        "dropped": dict(dropped),
    }


def choose(config: CurateConfig, rows: Iterable[tuple[Generation, Verdict]]) -> tuple[list[Generation], Counter[str]]:
    """The accepted generations, in order, and how many were dropped for each reason.

    A prompt's samples are taken in order of sample index: in order of completion, short ones would be favoured.
    """
    kept: list[Generation] = []
    dropped: Counter[str] = Counter()
    of_prompt: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for generation, verdict in sorted(rows, key=lambda row: (row[0].prompt_id, row[0].sample_index)):
        content = (generation.prompt_id, generation.completion.strip())
        if verdict.verdict not in (VerdictKind.CORRECT, VerdictKind.UNCHECKED):
            dropped[verdict.verdict] += 1
        elif config.require_template and verdict.template != "ok":
            dropped[f"template: {verdict.template}"] += 1
        elif config.deduplicate and content in seen:
            dropped["duplicate"] += 1
        elif of_prompt[generation.prompt_id] >= config.max_per_prompt:
            dropped["beyond max_per_prompt"] += 1
        else:
            seen.add(content)
            of_prompt[generation.prompt_id] += 1
            kept.append(generation)
    return kept, dropped


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
    """The completion with the opening tag that the teacher's chat template may have written for it: the student's
    template need not, and a trace without its beginning must not be learnt."""
    opening = generation.rendered.rfind(OPEN_THINK)
    if opening < 0 or generation.rendered[opening + len(OPEN_THINK) :].strip():
        return generation.completion
    return generation.rendered[opening:] + generation.completion


def _nothing_accepted(dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common(4)) or "no generations"
    return (
        f"no sample was accepted for training ({reasons}); raise teacher.samples_per_prompt, use a stronger teacher, "
        "or set curate.require_template=false if the template is what fails"
    )
