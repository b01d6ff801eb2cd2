"""Runs the pipeline: finds the missing stages and runs them in order.

A stage runs if no finished output carries its fingerprint, which covers its settings, the contents of its inputs, the
models and files that it reads, and its version. So a second run of the same command does only the missing work, and a
changed setting re-runs only the stages that it affects: not those whose inputs turn out the same.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stillery.cluster import connect as cluster
from stillery.cluster import placement
from stillery.config import Config
from stillery.errors import UserError
from stillery.io.run_folder import Output, Run, fingerprint_of, open_run, run_uri
from stillery.io.storage import Folder
from stillery.pipeline.order import STAGES
from stillery.pipeline.preflight import check
from stillery.sampling.chat.lengths import Lengths, read_lengths
from stillery.stages.stage import Stage, StageContext
from stillery.telemetry import logs, tracing
from stillery.telemetry import metrics as observe
from stillery.telemetry.logs import logger, with_fields


def run_pipeline(config: Config, *, until: str | None = None) -> dict[str, Output]:
    """Run every stage that has no finished output yet, up to and including `until`. Returns all outputs; with
    `rounds.count` above 1 and no `until`, those of the last round.

    Raises UserError for an error that a user can fix; a stage's own failure passes through. Either way finished outputs
    stay, and the same command resumes from there.
    """
    if config.rounds.count > 1 and until is None:
        from stillery.pipeline.rounds import run_rounds

        return run_rounds(config)
    check(config, lengths=written_lengths(config))
    wanted = stages_of(config, until)
    with open_run(config) as run, tracing.traced(config.run.name, git_revision=run.git_revision):
        logger.info(f"run: {run.folder.uri} (code {run.git_revision[:12]})", extra=with_fields(run=config.run.name))
        outputs: dict[str, Output] = {}
        num_run, is_connected = 0, False
        for number, stage in enumerate(wanted):
            settings, inputs, fingerprint = _key(stage, config, outputs)
            finished = run.output(stage.name, fingerprint)
            if finished is None:
                if stage.uses_ray and not is_connected:
                    cluster.connect(config.cluster)
                    placement.check(config, {later.name for later in wanted[number:]})
                    is_connected = True
                finished = _run_stage(stage, config, run, outputs, fingerprint, settings=settings, inputs=inputs)
                num_run += 1
            else:
                with logs.within(_place(config, stage, fingerprint)):
                    logger.info(f"{stage.name}: done before ({fingerprint})")
            outputs[stage.name] = finished
        if num_run == 0:
            logger.info("nothing to do: every stage of this run is finished", extra=with_fields(run=config.run.name))
        return outputs


def report_finished(config: Config) -> Output:
    """Write the report of a run's finished stages; no other stage runs. Raises UserError where none is finished."""
    with open_run(config) as run:
        outputs: dict[str, Output] = {}
        *stages, report = stages_of(config)
        for stage in stages:
            if all(need.partition(".")[0] in outputs for need in stage.needs):
                finished = run.output(stage.name, _key(stage, config, outputs)[-1])
                outputs |= {} if finished is None else {stage.name: finished}
        if not outputs:
            raise UserError(f"no stage of {run.folder.uri} is finished with this config; `stillery run` makes them")
        report = replace(report, needs=tuple(need for need in report.needs if need in outputs))
        settings, inputs, fingerprint = _key(report, config, outputs)
        finished = run.output(report.name, fingerprint)
        return finished or _run_stage(report, config, run, outputs, fingerprint, settings=settings, inputs=inputs)


def written_lengths(config: Config) -> list[Lengths]:
    """The lengths of the teacher's samples for this config that ended by themselves; none where its stage has not
    finished."""
    run, outputs = Run(Folder(run_uri(config)), git_revision=""), dict[str, Output]()
    for stage in stages_of(config, "generate"):
        finished = run.output(stage.name, _key(stage, config, outputs)[-1])
        if finished is None:
            return []
        outputs[stage.name] = finished
    return read_lengths(outputs["generate"].folder)


def _key(stage: Stage, config: Config, outputs: Mapping[str, Output]) -> tuple[dict[str, Any], dict[str, str], str]:
    """The key of a stage's output: its settings, the keys of its inputs, and the fingerprint of both."""
    settings = stage.settings(config)
    inputs = {need: input_key(need, outputs, told=stage.reads_summaries) for need in stage.needs}
    return settings, inputs, fingerprint_of(stage.name, version=stage.version, settings=settings, inputs=inputs)


def stages_of(config: Config, last: str | None = None) -> tuple[Stage, ...]:
    """The enabled stages, or only `last` and those that it depends on. None of them needs a disabled stage."""
    enabled = [stage for stage in STAGES if stage.enabled(config)]
    names = {stage.name for stage in enabled}
    stages = [
        replace(s, needs=tuple(n for n in (*s.needs, *s.also_needs(config)) if n.partition(".")[0] in names))
        for s in enabled
    ]
    needed = names if last is None else {last}
    for stage in reversed(stages):
        if stage.name in needed:
            needed.update(need.partition(".")[0] for need in stage.needs)
    return tuple(stage for stage in stages if stage.name in needed)


def input_key(need: str, outputs: Mapping[str, Output], *, told: bool) -> str:
    """An input's part of a stage's fingerprint: the contents of its tables or of one part (`prompts.trained`), with
    `told` also its summary."""
    name, _, part = need.partition(".")
    if part:
        return str(outputs[name].summary["parts"][part])
    return outputs[name].told if told else outputs[name].content


def _run_stage(
    stage: Stage,
    config: Config,
    run: Run,
    outputs: Mapping[str, Output],
    fingerprint: str,
    *,
    settings: dict[str, Any],
    inputs: dict[str, str],
) -> Output:
    place = _place(config, stage, fingerprint)
    attributes = {f"stillery.{name}": value for name, value in place.items()}
    with logs.within(place), tracing.span(stage.name, attributes) as span:
        logger.info(f"{stage.name}: started ({fingerprint})")
        started = time.monotonic()
        with observe.running(stage.name, run=config.run.name):
            try:
                summary = stage.run(StageContext(config, run, outputs, run.stage_folder(stage.name, fingerprint)))
            except KeyboardInterrupt:
                logger.info("\n" + describe_kept(stage.name, list(outputs)))
                raise
            observe.decided(summary)
        seconds = round(time.monotonic() - started, 1)
        output = run.complete(
            stage.name,
            fingerprint,
            version=stage.version,
            settings=settings,
            inputs={need: {"fingerprint": _made(need, outputs), "content": key} for need, key in inputs.items()},
            summary={**summary, "seconds": seconds},
        )
        logger.info(f"{stage.name}: finished in {seconds:.0f} s", extra=with_fields(seconds=seconds))
        if span is not None:
            needed = {need.partition(".")[0] for need in stage.needs}
            rows_in = sum(outputs[name].folder.num_rows() for name in needed)
            span.set_attributes({"stillery.rows_in": rows_in, "stillery.rows_out": output.folder.num_rows()})
            span.set_attributes(tracing.counts_of(summary))
    return output


def describe_kept(stage: str, finished: Sequence[str]) -> str:
    """What is kept of a run that was stopped in a stage, in words."""
    kept = "what it has done is made again"
    if stage == "generate" or stage.startswith("evaluate"):
        kept = "the samples that it has finished are in the run's log and are not made again"
    elif stage in ("sft", "refine"):
        kept = "training goes on from its last checkpoint"
    before = f"finished and kept: {', '.join(finished)}" if finished else "no stage was finished"
    return f"{stage} was stopped: {kept}; {before}"


def _made(need: str, outputs: Mapping[str, Output]) -> str:
    return outputs[need.partition(".")[0]].fingerprint


def _place(config: Config, stage: Stage, fingerprint: str) -> dict[str, str]:
    return {"run": config.run.name, "stage": stage.name, "fingerprint": fingerprint}
