"""Rounds: distil, find the training problems that the student still fails, sample the teacher more on those, and train
another student on all samples.

In: a config with `rounds.count` above 1. Each round consists of pipeline runs, in folders beside the first run's:

    NAME            round 1, as it would be alone
    NAME-2-tries    up to verify: the student of round 1 answers its training problems
    NAME-2-teacher  up to generate: the teacher on the problems that it failed, with a seed of its own
    NAME-2          a whole run on the recorded samples of all these: the student of round 2

Each run resumes, so rounds do too.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.config import (
    AttentionConfig,
    Config,
    DistillConfig,
    EngineConfig,
    PromptsConfig,
    RecordedConfig,
    RefineConfig,
    RoundsConfig,
    TeacherConfig,
)
from stillery.errors import UserError
from stillery.io.run_folder import Output, run_uri
from stillery.pipeline.preflight import check
from stillery.pipeline.runner import run_pipeline
from stillery.telemetry.logs import logger


def run_rounds(config: Config) -> dict[str, Output]:
    """Run all rounds; returns the outputs of the last. Raises the pipeline's errors, and UserError before the first
    round for settings that a later one does not allow."""
    check_rounds(config)
    outputs = run_pipeline(dataclasses.replace(config, rounds=RoundsConfig()))
    made = [outputs["generate"].folder.uri]
    for number in range(2, config.rounds.count + 1):
        logger.info(f"round {number} of {config.rounds.count}")
        tries = tries_config(config, number, student=_student(outputs))
        tried = run_pipeline(tries, until="verify")
        more = teacher_config(config, number, tries=run_uri(tries), verified=tried["verify"].fingerprint)
        asked = run_pipeline(more, until="generate")
        made.append(asked["generate"].folder.uri)
        # The student's own come last: among a problem's samples the teacher's are taken first.
        own = [tried["generate"].folder.uri] if config.rounds.own_traces else []
        outputs = run_pipeline(round_config(config, number, generations=[*made, *own]))
    return outputs


def check_rounds(config: Config) -> None:
    """Raise UserError for settings that a later round's runs do not allow: they learn from recorded samples."""
    if config.rounds.count < 2:
        return
    later = (
        tries_config(config, 2, student=config.sft.student),
        teacher_config(config, 2, tries=run_uri(config), verified=None),
        round_config(config, 2, generations=["the first round's"]),
    )
    for one in later:
        try:
            check(one)
        except UserError as error:
            raise UserError(
                f"rounds.count={config.rounds.count}: the run {one.run.name} could not work, as a later round learns "
                f"from recorded samples: {error}; change that, or set rounds.count=1"
            ) from None


def tries_config(config: Config, number: int, *, student: str) -> Config:
    """The config in which the previous round's student answers the training problems, prompted as in evaluation."""
    evaluate = config.evaluate
    engine = {field.name: getattr(evaluate, field.name) for field in dataclasses.fields(EngineConfig)}
    asked = TeacherConfig(
        **engine,
        model=student,
        samples_per_prompt=config.rounds.tries,
        sampling=evaluate.sampling,
    )
    # It ends with its verdicts: what it would train on them does not count.
    off = {"attention": AttentionConfig(), "refine": RefineConfig()}
    sft = dataclasses.replace(config.sft, distill=DistillConfig())
    return _named(config, f"{number}-tries", teacher=asked, sft=sft, **off)


def teacher_config(config: Config, number: int, *, tries: str, verified: str | None = None) -> Config:
    """The config for the teacher on the problems that failed in `tries`, by its output `verified` of verify. Another
    seed makes all of its samples new."""
    teacher, more = config.teacher, config.rounds.more
    wanted = teacher.accepted_per_prompt
    asked = dataclasses.replace(
        teacher,
        samples_per_prompt=teacher.samples_per_prompt * more,
        accepted_per_prompt=None if wanted is None else wanted * more,
    )
    prompts = PromptsConfig(source="run", run=tries, failed_below=config.rounds.failed_below, verified=verified)
    settings = dataclasses.replace(config.run, seed=config.run.seed + number - 1)
    return _named(dataclasses.replace(config, run=settings), f"{number}-teacher", teacher=asked, prompts=prompts)


def round_config(config: Config, number: int, *, generations: Sequence[str]) -> Config:
    """The config of a whole run on recorded samples: every one of them may be kept."""
    teacher, rounds = config.teacher, config.rounds
    most = teacher.samples_per_prompt * (1 + rounds.more * (number - 1)) + rounds.tries
    recorded = TeacherConfig(
        kind="recorded",
        model="rounds",
        recorded=RecordedConfig(files=list(generations)),
        samples_per_prompt=most,
    )
    kept = config.curate.max_per_prompt * (1 + rounds.more * (number - 1))
    kept += rounds.tries if rounds.own_traces else 0
    curate = dataclasses.replace(config.curate, max_per_prompt=kept)
    attention = config.attention
    if attention.target == "teacher" and attention.model is None and teacher.kind == "vllm":
        attention = dataclasses.replace(attention, model=teacher.model)
    return _named(config, f"{number}", teacher=recorded, curate=curate, attention=attention)


def _named(config: Config, part: str, **sections: Any) -> Config:
    folder = None if config.run.dir is None else f"{config.run.dir.rstrip('/')}-{part}"
    settings = dataclasses.replace(config.run, name=f"{config.run.name}-{part}", dir=folder)
    return dataclasses.replace(config, run=settings, rounds=RoundsConfig(), **sections)


def _student(outputs: Mapping[str, Output]) -> str:
    made = outputs["refine"] if "refine" in outputs else outputs["sft"]
    return (made.folder / "checkpoint").uri
