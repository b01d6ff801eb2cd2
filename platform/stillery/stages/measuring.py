"""Evaluation of a model: it answers the evaluation problems several times and is graded.

In: prompts and a model. Out: scores, one row per sample, and the metrics computed from them. The teacher, the untouched
student, the distilled one, a champion and the models of `stillery benchmark` are all evaluated in the same way, by the
same verifier.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillery.cluster import connect as cluster
from stillery.config import EngineConfig, EvaluateConfig, VerifyConfig
from stillery.errors import UserError
from stillery.io.hashing import SUMS
from stillery.io.run_folder import Run
from stillery.io.storage import Folder
from stillery.io.transfer import publish_model
from stillery.metrics import check_failures, summarize
from stillery.model_judge.judging import judge_open
from stillery.records import FAILURES, Generation, Prompt, Score, Split, Verdict, digest, from_table
from stillery.sampling.backend import Backend, vllm_backend
from stillery.sampling.chat.checkpoint import missing_stops
from stillery.sampling.chat.conversation import ChatFormat, student_format
from stillery.sampling.neutral import engine_output_settings
from stillery.sampling.prompting import messages_of
from stillery.sampling.sampler import sample
from stillery.stages.fingerprints import verifier_settings
from stillery.stages.stage import StageContext, retry_failed
from stillery.verify.judge import NOT_JUDGED
from stillery.verify.rows import VERSION as POLICY_VERSION
from stillery.verify.rows import grade_rows, why_failed

VERSION = 3
ROWS_AT_ONCE = 20_000


def evaluate(
    config: EvaluateConfig,
    *,
    role: str,
    source: Backend,
    engine: EngineConfig,
    prompting: Mapping[str, Any],
    verify: VerifyConfig,
    seed: int,
    max_failure_share: float,
    prompts: Folder,
    run: Run,
    out: Folder,
) -> dict[str, Any]:
    """Write scores.parquet and return the metrics, the share that `failed`, and the `protocol`: what two models must
    have in common for their scores to be comparable.

    `role` names the model in tables (teacher, student_before, student_after), `source` is the model, `engine` holds the
    engine's settings; `prompting` holds the `system_prompt` and `instruction` of its prompt, and any other field that
    shapes it. Raises UserError if the prompts hold no problem of `config.splits`, and if a larger share of the samples
    than `max_failure_share` failed for a reason other than the model.
    """
    chosen = [p for p in from_table(prompts.read_all(Prompt), Prompt) if p.split in config.splits]
    if not chosen:
        raise UserError(f"evaluate: no problem in the splits {', '.join(config.splits)}; set evaluate.splits")
    conversations = [
        messages_of(p, system_prompt=prompting["system_prompt"], instruction=prompting["instruction"]) for p in chosen
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
    verdicts = judge_open(verify, generations, verdicts, by_id, run=run, seed=seed, label=f"evaluate {role}")
    scores = [score(role, by_id[g.prompt_id], g, v) for g, v in zip(generations, verdicts, strict=True)]
    failures = Counter(why_failed(v.detail, v.verdict) for v in verdicts if v.verdict in FAILURES)
    failed = check_failures(f"evaluate {role}", failures, num_samples=len(scores), most=max_failure_share)
    out.write_rows("scores.parquet", scores, Score)
    protocol = _protocol(config, engine=engine, prompting=prompting, verify=verify, prompts=chosen)
    return {**summarize(scores, ks=config.ks), "failed": failed, "protocol": protocol}


def _grade(verify: VerifyConfig, generations: Sequence[Generation], by_id: Mapping[str, Prompt]) -> list[Verdict]:
    """The verdicts; samples that could not be graded are graded once more."""
    verdicts = grade_rows(verify, generations, by_id)
    failed = [
        n
        for n, row in enumerate(generations)
        if row.error is None and verdicts[n].verdict in FAILURES and verdicts[n].detail != NOT_JUDGED
    ]
    if failed:
        for number, again in zip(failed, grade_rows(verify, [generations[n] for n in failed], by_id), strict=True):
            verdicts[number] = again
    return verdicts


def _protocol(
    config: EvaluateConfig,
    *,
    engine: EngineConfig,
    prompting: Mapping[str, Any],
    verify: VerifyConfig,
    prompts: Sequence[Prompt],
) -> dict[str, Any]:
    """The evaluation protocol, as plain data. The seed is not part of it: it only draws other samples."""
    dtype = {"dtype": "auto" if engine.num_gpus else "float32"}
    problems = sorted(
        [p.prompt_id, p.question, p.answer, p.answer_kind, p.choices] for p in prompts if p.split == Split.TEST
    )
    return {
        "sampling": dict(config.sampling),
        "samples_per_prompt": config.samples_per_prompt,
        "asking": dict(prompting),
        "engine": {**dtype, **engine_output_settings(engine)},
        "verifier": {"version": POLICY_VERSION, **verifier_settings(verify)},
        "evaluation_version": VERSION,
        "test_problems": digest("problems", problems),
    }


def score(role: str, prompt: Prompt, generation: Generation, verdict: Verdict) -> Score:
    """One evaluated sample with all the data that tables and plots of it need."""
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


def measure_model(context: StageContext, checkpoint: Path) -> tuple[Folder, Mapping[str, Any]]:
    """Evaluate another student on the test problems exactly as the run's own were, into the context's folder. Its
    prompt format comes from its own files, as in serving."""
    cluster.connect(context.config.cluster)
    # Every machine can reach the run's folder.
    shared = context.out / "checkpoint"
    names = sorted(path.name for path in checkpoint.iterdir() if path.is_file() and path.name != SUMS)
    publish_model(shared, [(Folder(str(checkpoint)), names)])
    config = dataclasses.replace(context.config.evaluate, splits=[Split.TEST.value])
    measured = dataclasses.replace(context, config=dataclasses.replace(context.config, evaluate=config))
    chat = ChatFormat(shared.uri, now=context.run.started)
    summary = measure_student(measured, role="champion", model=shared.uri, chat=chat)
    fs, path = shared.open_fs()
    fs.rm(path, recursive=True)
    return context.out, summary


def measure_student(context: StageContext, *, role: str, model: str, chat: ChatFormat | None = None) -> dict[str, Any]:
    """Evaluate a student of the context's run, into the context's folder."""
    # Curation trains the student on the bare question, so evaluation uses the bare question too, before and after
    # alike.
    prompting = {"system_prompt": None, "instruction": None}
    engine = context.config.evaluate
    chat = chat or student_format(context.config.sft, now=context.run.started)
    source = vllm_backend(model, engine, chat=chat, stop_token_ids=missing_stops(model, chat))
    return measure(context, role=role, source=source, engine=engine, prompting=prompting)


def measure(
    context: StageContext, *, role: str, source: Backend, engine: EngineConfig, prompting: Mapping[str, Any]
) -> dict[str, Any]:
    """Evaluate a model on the context's problems, into its folder; samples that failed on our side are retried once."""
    work = functools.partial(
        evaluate,
        context.config.evaluate,
        role=role,
        source=source,
        engine=engine,
        prompting=prompting,
        verify=context.config.verify,
        seed=context.config.run.seed,
        max_failure_share=context.config.run.max_failure_share,
        prompts=context.folder("prompts"),
        run=context.run,
        out=context.out,
    )
    return retry_failed(f"evaluate {role}", work)
