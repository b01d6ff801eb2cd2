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

from stillery.config import Config, EngineConfig, PromptsConfig, RecordedConfig, RoundsConfig, TeacherConfig
from stillery.io.run_folder import Output, run_uri
from stillery.pipeline.runner import run_pipeline
from stillery.telemetry.logs import logger


def run_rounds(config: Config) -> dict[str, Output]:
    """Run all rounds; returns the outputs of the last. Raises the pipeline's errors."""
    outputs = run_pipeline(dataclasses.replace(config, rounds=RoundsConfig()))
    made = [outputs["generate"].folder.uri]
    for number in range(2, config.rounds.count + 1):
        logger.info(f"round {number} of {config.rounds.count}")
        tries = tries_config(config, number, student=_student(outputs))
        tried = run_pipeline(tries, until="verify")
        asked = run_pipeline(teacher_config(config, number, tries=run_uri(tries)), until="generate")
        made.append(asked["generate"].folder.uri)
        # The student's own come last: among a problem's samples the teacher's are taken first.
        own = [tried["generate"].folder.uri] if config.rounds.own_traces else []
        outputs = run_pipeline(round_config(config, number, generations=[*made, *own]))
    return outputs


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
    return _named(config, f"{number}-tries", teacher=asked)


def teacher_config(config: Config, number: int, *, tries: str) -> Config:
    """The config for the teacher on the problems that failed in `tries`. Another seed makes all of its samples new."""
    teacher, more = config.teacher, config.rounds.more
    wanted = teacher.accepted_per_prompt
    asked = dataclasses.replace(
        teacher,
        samples_per_prompt=teacher.samples_per_prompt * more,
        accepted_per_prompt=None if wanted is None else wanted * more,
    )
    prompts = PromptsConfig(source="run", run=tries, failed_below=config.rounds.failed_below)
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
    return _named(config, f"{number}", teacher=recorded, curate=curate)


def _named(config: Config, part: str, **sections: Any) -> Config:
    folder = None if config.run.dir is None else f"{config.run.dir.rstrip('/')}-{part}"
    settings = dataclasses.replace(config.run, name=f"{config.run.name}-{part}", dir=folder)
    return dataclasses.replace(config, run=settings, rounds=RoundsConfig(), **sections)


def _student(outputs: Mapping[str, Output]) -> str:
    made = outputs["refine"] if "refine" in outputs else outputs["sft"]
    return (made.folder / "checkpoint").uri
