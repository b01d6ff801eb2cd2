"""Asks a model for the verdicts that the rules leave open, with the same engines, log and costs as a teacher."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from stillery.config import JudgeConfig, TeacherConfig, VerifyConfig
from stillery.io.run_folder import Run
from stillery.model_judge.wording import JUDGED, MAX_ANSWER_CHARS, apply_reply, ask
from stillery.records import FAILURES, Generation, Prompt, Verdict, VerdictKind, digest, from_table
from stillery.sampling.backend import teacher_backend
from stillery.sampling.sampler import sample
from stillery.thinking import opens_thinking
from stillery.verify.judge import NO_SAMPLE
from stillery.verify.template import parse_template

ROWS_AT_ONCE = 20_000


def teacher_of(judge: JudgeConfig) -> TeacherConfig:
    """The judge in the form of a teacher with one sample per prompt, for sampling."""
    shared = {field.name: getattr(judge, field.name) for field in dataclasses.fields(judge)}
    del shared["undecided"]
    return TeacherConfig(**shared, samples_per_prompt=1)


def is_open(verdict: Verdict, *, undecided: bool) -> bool:
    """Whether a judge decides: the problem requires one that has not decided yet or, with `undecided`, the rules came
    to no verdict on an existing answer."""
    if verdict.verdict == VerdictKind.ERROR and (verdict.detail or "").startswith(JUDGED):
        return True
    is_sample = not (verdict.detail or "").startswith(NO_SAMPLE)
    return undecided and is_sample and (verdict.verdict in FAILURES or verdict.verdict == VerdictKind.UNPARSED)


def judge_open(
    config: VerifyConfig,
    generations: Sequence[Generation],
    verdicts: Sequence[Verdict],
    prompts_by_id: Mapping[str, Prompt],
    *,
    run: Run,
    seed: int,
    label: str,
) -> list[Verdict]:
    """The verdicts, with the open ones replaced by a judge's; needs a running Ray if there are any.

    Its replies are kept in the run's log: a second start requests only the failed ones again.
    """
    rows = list(verdicts)
    asked = dict(_open_answers(config.judge, generations, rows))
    if config.judge.kind == "none" or not asked:
        return rows
    for number in [n for n, answer in asked.items() if len(answer) > MAX_ANSWER_CHARS]:
        long = f"an answer of {len(asked.pop(number)):,} characters; a judge is given at most {MAX_ANSWER_CHARS:,}"
        rows[number] = dataclasses.replace(rows[number], verdict=VerdictKind.UNPARSED, detail=long)
    problems = {n: prompts_by_id[generations[n].prompt_id] for n in asked}
    names = {n: digest("judge", generations[n].sample_id) for n in asked}
    teacher = teacher_of(config.judge)
    samples = sample(
        [dataclasses.replace(problems[n], prompt_id=names[n]) for n in asked],
        [
            ask(problems[n], answer=text, sample_id=generations[n].sample_id, system_prompt=config.judge.system_prompt)
            for n, text in asked.items()
        ],
        source=teacher_backend(teacher, logs=run.logs, now=run.started),
        engine=teacher,
        sampling={**teacher.sampling, "seed": seed},
        num_samples=1,
        run=run,
        label=f"{label}: judge",
    )
    replies = {r.prompt_id: r for part in samples.tables(rows=ROWS_AT_ONCE) for r in from_table(part, Generation)}
    for number, name in names.items():
        rows[number] = apply_reply(rows[number], replies[name])
    return rows


def _open_answers(
    config: JudgeConfig, generations: Sequence[Generation], verdicts: Sequence[Verdict]
) -> Iterator[tuple[int, str]]:
    for number, (generation, verdict) in enumerate(zip(generations, verdicts, strict=True)):
        if is_open(verdict, undecided=config.undecided):
            parts = parse_template(generation.completion, prefilled_think=opens_thinking(generation.rendered))
            answer = (parts.visible if parts.answer is None else parts.answer).strip()
            if answer:
                yield number, answer
