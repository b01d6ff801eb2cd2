"""The stages of the line: what each one needs, what of the config shapes its output, and the call that does it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.cluster import connect as cluster
from stillery.config import Config, EngineConfig, to_yaml
from stillery.io.hashing import SUMS
from stillery.io.run_folder import Output, Run
from stillery.io.storage import Folder
from stillery.io.transfer import publish_model
from stillery.metrics import TooManyFailuresError
from stillery.pipeline import stage_settings
from stillery.records import Split, digest
from stillery.registry.lineage import EVALUATIONS
from stillery.sampling.backend import Source, teacher_source, vllm_source
from stillery.sampling.chat.checkpoint import missing_stops
from stillery.sampling.chat.conversation import ChatFormat, student_format
from stillery.sampling.models import resolve_model
from stillery.stages import bonds as bonds_stage
from stillery.stages import curate as curate_stage
from stillery.stages import evaluate as evaluate_stage
from stillery.stages import export as export_stage
from stillery.stages import prompts as prompts_stage
from stillery.stages import refine as refine_stage
from stillery.stages import register as registry_stage
from stillery.stages import report as report_stage
from stillery.stages import sft as sft_stage
from stillery.stages import verify as verify_stage
from stillery.stages.generate import stage as teacher_stage
from stillery.telemetry import logs


@dataclass(frozen=True, slots=True)
class Job:
    """What a stage's work is given: the config, the run, the outputs before it and its own folder."""

    config: Config
    run: Run
    outputs: Mapping[str, Output]
    out: Folder

    def folder(self, stage: str) -> Folder:
        return self.outputs[stage].folder


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the line. `settings` is what of the config shapes its output, `needs` the stages before it.

    `prompts.trained` and `prompts.measured` need only those problems, `sft.checkpoint` and `refine.checkpoint` only the
    model: the rest may change without a new output. A stage that `reads_summaries` depends on what its inputs
    reported, too. Ray is started, or connected to, when the first stage that `uses_ray` is due. A stage that is not
    `enabled` is left out, and the stages behind it do without it.
    """

    name: str
    version: int
    needs: tuple[str, ...]
    settings: Callable[[Config], dict[str, Any]]
    work: Callable[[Job], dict[str, Any]]
    uses_ray: bool = True
    enabled: Callable[[Config], bool] = lambda _: True
    reads_summaries: bool = False


def _prompts(job: Job) -> dict[str, Any]:
    return prompts_stage.make_prompts(job.config.prompts, seed=job.config.run.seed, out=job.out)


def _generate(job: Job) -> dict[str, Any]:
    work = functools.partial(
        teacher_stage.generate,
        job.config.teacher,
        verify=job.config.verify,
        curate=job.config.curate,
        seed=job.config.run.seed,
        max_failure_share=job.config.run.max_failure_share,
        prompts=job.folder("prompts"),
        run=job.run,
        out=job.out,
    )
    return once_more("generate", work)


def once_more(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do the work, and again if samples failed: the log holds all others, so only those are made."""
    try:
        summary = work()
        if not summary.get("failed"):
            return summary
        logs.say(f"{name}: {summary['failed']:.1%} of the samples failed; they are tried once more")
    except TooManyFailuresError as error:
        logs.say(f"{error}; they are tried once more")
    return work()


def _verify(job: Job) -> dict[str, Any]:
    return verify_stage.verify_generations(
        job.config.verify,
        generations=job.folder("generate"),
        prompts=job.folder("prompts"),
        out=job.out,
        max_failure_share=job.config.run.max_failure_share,
    )


def _bonds(job: Job) -> dict[str, Any]:
    return bonds_stage.find_molecules(
        job.config.bonds,
        generations=job.folder("generate"),
        verdicts=job.folder("verify"),
        prompts=job.folder("prompts"),
        out=job.out,
    )


def _compare_bonds(job: Job) -> dict[str, Any]:
    scores = {role: job.folder(stage) for stage, role in EVALUATIONS.items() if stage in job.outputs}
    return bonds_stage.compare_models(scores=scores, out=job.out)


def _curate(job: Job) -> dict[str, Any]:
    return curate_stage.curate(
        job.config.curate,
        accepted_per_prompt=job.config.teacher.accepted_per_prompt,
        prompts=job.folder("prompts"),
        generations=job.folder("generate"),
        verdicts=job.folder("verify"),
        out=job.out,
    )


def _sft(job: Job) -> dict[str, Any]:
    return sft_stage.fine_tune(
        job.config.sft,
        seed=job.config.run.seed,
        now=job.run.started,
        samples=job.folder("curate"),
        out=job.out,
    )


def _refine(job: Job) -> dict[str, Any]:
    return refine_stage.refine(
        job.config.refine,
        sft=job.config.sft,
        seed=job.config.run.seed,
        now=job.run.started,
        student=_tuned(job),
        teacher=job.config.teacher.model,
        prompts=job.folder("prompts"),
        generations=job.folder("generate"),
        verdicts=job.folder("verify"),
        out=job.out,
    )


def _evaluate_teacher(job: Job) -> dict[str, Any]:
    teacher = job.config.teacher
    if teacher.kind == "recorded":
        logs.say("evaluate_teacher: a recorded teacher cannot be asked, so it is not measured")
        return {"ks": job.config.evaluate.ks, "splits": {}}
    asking = {"system_prompt": teacher.system_prompt, "instruction": teacher.instruction}
    source = teacher_source(teacher, logs=job.run.logs, now=job.run.started)
    return _evaluate(job, role="teacher", source=source, engine=teacher, asking=asking)


def _evaluate_before(job: Job) -> dict[str, Any]:
    return _evaluate_student(job, role="student_before", model=job.config.sft.student)


def _evaluate_sft(job: Job) -> dict[str, Any]:
    return _evaluate_student(job, role="student_sft", model=_tuned(job))


def _evaluate_after(job: Job) -> dict[str, Any]:
    return _evaluate_student(job, role="student_after", model=_checkpoint(job))


def _tuned(job: Job) -> str:
    """The checkpoint that fine-tuning left."""
    return (job.folder("sft") / "checkpoint").uri


def _checkpoint(job: Job) -> str:
    """The run's student: the refined one where there is one."""
    return (job.folder("refine") / "checkpoint").uri if "refine" in job.outputs else _tuned(job)


def _evaluate_student(job: Job, *, role: str, model: str, chat: ChatFormat | None = None) -> dict[str, Any]:
    # Curation gives the student the bare question to train on, so that is how it is asked, before and after alike.
    asking = {"system_prompt": None, "instruction": None}
    engine = job.config.evaluate
    chat = chat or student_format(job.config.sft, now=job.run.started)
    source = vllm_source(model, engine, chat=chat, stop_token_ids=missing_stops(model, chat))
    return _evaluate(job, role=role, source=source, engine=engine, asking=asking)


def _evaluate(
    job: Job, *, role: str, source: Source, engine: EngineConfig, asking: Mapping[str, Any]
) -> dict[str, Any]:
    work = functools.partial(
        evaluate_stage.evaluate,
        job.config.evaluate,
        role=role,
        source=source,
        engine=engine,
        asking=asking,
        verify=job.config.verify,
        seed=job.config.run.seed,
        max_failure_share=job.config.run.max_failure_share,
        prompts=job.folder("prompts"),
        run=job.run,
        out=job.out,
    )
    return once_more(f"evaluate {role}", work)


def _register(job: Job) -> dict[str, Any]:
    parent = _registered_tuned(job) if "refine" in job.outputs else None
    return _register_student(job, fingerprint=job.out.uri.rsplit("/", 1)[1], parent=parent)


def _registered_tuned(job: Job) -> str:
    """The version of the student before its refinement, registered first where no run without it has done so: with the
    evaluation of its own, through the same gate."""
    tuned = job.outputs["sft"].fingerprint
    found = registry_stage.find_tuned(job.config.register, fingerprint=tuned)
    if found is not None:
        return found
    without = ("refine", "compare_bonds", "evaluate_sft")
    outputs = {stage: output for stage, output in job.outputs.items() if stage not in without}
    outputs["evaluate_after"] = job.outputs["evaluate_sft"]
    config = dataclasses.replace(job.config, refine=dataclasses.replace(job.config.refine, enabled=False))
    before = dataclasses.replace(job, config=config, outputs=outputs, out=job.out / "tuned")
    fingerprint = digest("tuned", tuned, outputs["evaluate_after"].fingerprint)[:16]
    return str(_register_student(before, fingerprint=fingerprint)["version"])


def _register_student(job: Job, *, fingerprint: str, parent: str | None = None) -> dict[str, Any]:
    return registry_stage.register(
        job.config.register,
        run_uri=job.run.folder.uri,
        git_revision=job.run.git_revision,
        fingerprint=fingerprint,
        resolved_config=to_yaml(job.config),
        outputs=job.outputs,
        checkpoint=Path(resolve_model(_checkpoint(job))),
        out=job.out,
        measure=functools.partial(measure_model, dataclasses.replace(job, out=job.out / "champion")),
        parent=parent,
    )


def measure_model(job: Job, checkpoint: Path) -> tuple[Folder, Mapping[str, Any]]:
    """Measure another student on the test problems just as the run's own were, into the job's folder. It is spoken to
    as its own files say, as it is when it is served."""
    cluster.connect(job.config.cluster)
    # The run's folder is the one that every machine reaches.
    shared = job.out / "checkpoint"
    names = sorted(path.name for path in checkpoint.iterdir() if path.is_file() and path.name != SUMS)
    publish_model(shared, [(Folder(str(checkpoint)), names)])
    evaluate = dataclasses.replace(job.config.evaluate, splits=[Split.TEST.value])
    measured = dataclasses.replace(job, config=dataclasses.replace(job.config, evaluate=evaluate))
    chat = ChatFormat(shared.uri, now=job.run.started)
    summary = _evaluate_student(measured, role="champion", model=shared.uri, chat=chat)
    fs, path = shared.open_fs()
    fs.rm(path, recursive=True)
    return job.out, summary


def _export(job: Job) -> dict[str, Any]:
    return export_stage.export_student(
        job.config.export,
        register=job.config.register,
        registration=job.outputs["register"].summary,
        checkpoint=Path(resolve_model(_checkpoint(job))),
        prompts=job.folder("prompts"),
        out=job.out,
    )


def _report(job: Job) -> dict[str, Any]:
    return report_stage.write_report(
        job.config.report,
        run_name=job.config.run.name,
        git_revision=job.run.git_revision,
        config_yaml=to_yaml(job.config),
        outputs=job.outputs,
        out=job.out,
    )


def _with_bonds(config: Config) -> bool:
    return config.bonds.enabled


def _is_refined(config: Config) -> bool:
    return config.refine.enabled


TRAINED, MEASURED = "prompts.trained", "prompts.measured"
TUNED, REFINED = "sft.checkpoint", "refine.checkpoint"
BEFORE_REGISTRATION = (
    "prompts", "generate", "verify", "bonds", "curate", "sft", "refine", *EVALUATIONS, "compare_bonds"
)  # fmt: skip

STAGES = (
    Stage("prompts", prompts_stage.VERSION, (), stage_settings.of_prompts, _prompts, uses_ray=False),
    Stage("generate", teacher_stage.VERSION, (TRAINED,), stage_settings.of_generate, _generate),
    Stage("verify", verify_stage.VERSION, (TRAINED, "generate"), stage_settings.of_verify, _verify),
    Stage(
        "bonds",
        bonds_stage.VERSION,
        (TRAINED, "generate", "verify"),
        stage_settings.of_bonds,
        _bonds,
        enabled=_with_bonds,
    ),
    Stage("curate", curate_stage.VERSION, (TRAINED, "generate", "verify"), stage_settings.of_curate, _curate),
    Stage("sft", sft_stage.VERSION, ("curate",), stage_settings.of_sft, _sft),
    Stage(
        "refine",
        refine_stage.VERSION,
        (TRAINED, "generate", "verify", TUNED),
        stage_settings.of_refine,
        _refine,
        enabled=_is_refined,
    ),
    Stage(
        "evaluate_teacher", evaluate_stage.VERSION, (MEASURED,), stage_settings.of_evaluate_teacher, _evaluate_teacher
    ),
    Stage("evaluate_before", evaluate_stage.VERSION, (MEASURED,), stage_settings.of_evaluate_before, _evaluate_before),
    Stage(
        "evaluate_sft",
        evaluate_stage.VERSION,
        (MEASURED, TUNED),
        stage_settings.of_evaluate,
        _evaluate_sft,
        enabled=_is_refined,
    ),
    Stage(
        "evaluate_after",
        evaluate_stage.VERSION,
        (MEASURED, TUNED, REFINED),
        stage_settings.of_evaluate,
        _evaluate_after,
    ),
    Stage(
        "compare_bonds",
        bonds_stage.VERSION,
        tuple(EVALUATIONS),
        lambda _: {},
        _compare_bonds,
        enabled=_with_bonds,
    ),
    Stage(
        "register",
        registry_stage.VERSION,
        BEFORE_REGISTRATION,
        stage_settings.of_register,
        _register,
        uses_ray=False,
        reads_summaries=True,
    ),
    Stage(
        "export",
        export_stage.VERSION,
        ("prompts", TUNED, REFINED, "register"),
        stage_settings.of_export,
        _export,
        uses_ray=False,
    ),
    Stage(
        "report",
        report_stage.VERSION,
        (*BEFORE_REGISTRATION, "register", "export"),
        stage_settings.of_report,
        _report,
        uses_ray=False,
        reads_summaries=True,
    ),
)
