"""Evaluation: a model answers the evaluation problems several times and is graded.

In: prompts and a model. Out: scores, one row a sample, and the metrics made of them. The teacher, the untouched
student and the distilled one are measured in the same way, on the same problems, by the same verifier.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.config import EngineConfig, EvaluateConfig, VerifyConfig
from stillery.errors import UserError
from stillery.io.run_folder import Run
from stillery.io.storage import Folder
from stillery.metrics import check_failures, summarize
from stillery.records import FAILURES, Generation, Prompt, Score, Split, Verdict, digest, from_table
from stillery.sampling.backend import Source
from stillery.sampling.prompting import messages_of
from stillery.sampling.sampler import sample
from stillery.stages.neutral import shaping_engine
from stillery.stages.verify import VERSION as VERIFIER_VERSION
from stillery.stages.verify import grade_rows, why_failed

VERSION = 3
ROWS_AT_ONCE = 20_000


def evaluate(
    config: EvaluateConfig,
    *,
    role: str,
    source: Source,
    engine: EngineConfig,
    asking: Mapping[str, Any],
    verify: VerifyConfig,
    seed: int,
    max_failure_share: float,
    prompts: Folder,
    run: Run,
    out: Folder,
) -> dict[str, Any]:
    """Write scores.parquet and return the metrics, the share that `failed`, and the `protocol`: what must agree between
    two models for their scores to be compared.

    `role` names the model in tables (teacher, student_before, student_after), `source` is the model, `engine` says what
    it takes to run it; `asking` holds the `system_prompt` and `instruction` that shape its prompt, and whatever else
    does. Raises UserError if the prompts hold no problem of `config.splits`, and if a larger share of the samples than
    `max_failure_share` failed for a reason that is not the model's.
    """
    chosen = [p for p in from_table(prompts.read_all(Prompt), Prompt) if p.split in config.splits]
    if not chosen:
        raise UserError(f"evaluate: no problem in the splits {', '.join(config.splits)}; set evaluate.splits")
    conversations = [
        messages_of(p, system_prompt=asking["system_prompt"], instruction=asking["instruction"]) for p in chosen
    ]
    samples = sample(
        chosen,
        conversations,
        source=source,
        engine=engine,
        sampling={**config.sampling, "seed": seed},
        num_samples=config.samples_per_prompt,
        run=run,
        label=f"evaluate {role}",
    )
    generations = [row for part in samples.tables(rows=ROWS_AT_ONCE) for row in from_table(part, Generation)]
    by_id = {p.prompt_id: p for p in chosen}
    verdicts = _grade(verify, generations, by_id)
    scores = [score(role, by_id[g.prompt_id], g, v) for g, v in zip(generations, verdicts, strict=True)]
    failures = Counter(why_failed(v.detail, v.verdict) for v in verdicts if v.verdict in FAILURES)
    failed = check_failures(f"evaluate {role}", failures, num_samples=len(scores), most=max_failure_share)
    out.write_rows("scores.parquet", scores, Score)
    protocol = _protocol(config, engine=engine, asking=asking, verify=verify, prompts=chosen)
    return {**summarize(scores, ks=config.ks), "failed": failed, "protocol": protocol}


def _grade(verify: VerifyConfig, generations: Sequence[Generation], by_id: Mapping[str, Prompt]) -> list[Verdict]:
    """The verdicts; samples that could not be graded are graded once more."""
    verdicts = grade_rows(verify, generations, by_id)
    failed = [n for n, row in enumerate(generations) if row.error is None and verdicts[n].verdict in FAILURES]
    if failed:
        for number, again in zip(failed, grade_rows(verify, [generations[n] for n in failed], by_id), strict=True):
            verdicts[number] = again
    return verdicts


def _protocol(
    config: EvaluateConfig,
    *,
    engine: EngineConfig,
    asking: Mapping[str, Any],
    verify: VerifyConfig,
    prompts: Sequence[Prompt],
) -> dict[str, Any]:
    """How a model is measured, as plain data. The seed is no part of it: it only draws other samples."""
    dtype = {"dtype": "auto" if engine.num_gpus else "float32"}
    problems = sorted(
        [p.prompt_id, p.question, p.answer, p.answer_kind, p.choices] for p in prompts if p.split == Split.TEST
    )
    return {
        "sampling": dict(config.sampling),
        "samples_per_prompt": config.samples_per_prompt,
        "asking": dict(asking),
        "engine": {**dtype, **shaping_engine(engine)},
        "verifier": {"version": VERIFIER_VERSION, "deadline_s": verify.deadline_s},
        "evaluation_version": VERSION,
        "test_problems": digest("problems", problems),
    }


def score(role: str, prompt: Prompt, generation: Generation, verdict: Verdict) -> Score:
    """One evaluated sample with everything that tables and drawings of it need."""
    return Score(
        model=role,
        prompt_id=prompt.prompt_id,
        sample_id=generation.sample_id,
        sample_index=generation.sample_index,
        task=prompt.task,
        split=prompt.split,
        num_steps=prompt.num_steps,
        question=prompt.question,
        gold=prompt.answer,
        completion=generation.completion,
        predicted=verdict.predicted,
        verdict=verdict.verdict,
        template=verdict.template,
        num_tokens=generation.num_tokens,
        finish_reason=generation.finish_reason,
    )
