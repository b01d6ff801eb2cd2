"""The stages of the line: what of the config shapes each one's output, what it needs, and the call that does it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stillery.bonds import stage as bonds_stage
from stillery.config import Config, EngineConfig, settings_of, to_yaml
from stillery.curate import stage as curate_stage
from stillery.engines.models import model_id
from stillery.engines.recorded import fingerprints
from stillery.engines.sources import Source, teacher_source, vllm_source
from stillery.evaluate import stage as evaluate_stage
from stillery.prompts import stage as prompts_stage
from stillery.registry import stage as registry_stage
from stillery.report import stage as report_stage
from stillery.runs import Output, Run
from stillery.storage import Folder
from stillery.teacher import stage as teacher_stage
from stillery.teacher.stage import recorded_of
from stillery.train import sft as sft_stage
from stillery.verify import stage as verify_stage

# How a model is run does not change what it is asked: these keys are left out of fingerprints, so that moving a run
# to more replicas or another machine makes nothing again.
PLACEMENT = (
    "replicas",
    "max_replicas",
    "num_cpus",
    "num_gpus",
    "threads",
    "cpu_kv_cache_gb",
    "requests_per_call",
    "flush_every",
)
# What of the teacher's section says how it samples for training, and not how it is asked.
_TRAINING_ONLY = ("sampling", "samples_per_prompt", "accepted_per_prompt", "ahead", "resample")


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

    `prompts.trained` and `prompts.measured` need only those problems: others may change without a new output.
    """

    name: str
    version: int
    needs: tuple[str, ...]
    settings: Callable[[Config], dict[str, Any]]
    work: Callable[[Job], dict[str, Any]]


def _sampled(section: EngineConfig) -> dict[str, Any]:
    settings = {key: value for key, value in settings_of(section).items() if key not in PLACEMENT}
    if "endpoint" in settings:
        shaping = {key: settings["endpoint"][key] for key in ("api", "tokenizer", "send_seed")}
        settings["endpoint"] = shaping if settings["kind"] == "endpoint" else None
    return settings


def _teacher_identity(config: Config) -> str:
    return model_id(config.teacher.model) if config.teacher.kind == "vllm" else config.teacher.model


def _prompts_settings(config: Config) -> dict[str, Any]:
    settings = {**settings_of(config.prompts), "seed": config.run.seed}
    return settings | {"files": prompts_stage.source_fingerprints(config.prompts)}


def _generate_settings(config: Config) -> dict[str, Any]:
    settings = {**_sampled(config.teacher), "seed": config.run.seed, "model": _teacher_identity(config)}
    if config.teacher.kind == "recorded":
        settings |= {"files": fingerprints(recorded_of(config.teacher))}
    if config.teacher.accepted_per_prompt is not None:
        rule = {key: getattr(config.curate, key) for key in ("require_template", "drop_flags")}
        settings |= {**_verify_settings(config), "accepted": rule}
    return settings


def _verify_settings(config: Config) -> dict[str, Any]:
    return {"deadline_s": config.verify.deadline_s}


def _sft_settings(config: Config) -> dict[str, Any]:
    settings = {key: getattr(config.sft, key) for key in ("num_workers", "use_gpu", "trl")}
    return {**settings, "seed": config.run.seed, "student": model_id(config.sft.student)}


def _evaluate_settings(config: Config) -> dict[str, Any]:
    return {**_sampled(config.evaluate), **_verify_settings(config), "seed": config.run.seed}


def _evaluate_teacher_settings(config: Config) -> dict[str, Any]:
    teacher = {**_sampled(config.teacher), "model": _teacher_identity(config)}
    asked = {key: value for key, value in teacher.items() if key not in _TRAINING_ONLY}
    # The teacher runs in its own engine, not in the students'.
    return {**_evaluate_settings(config), "engine": None, "teacher": asked}


def _evaluate_before_settings(config: Config) -> dict[str, Any]:
    return {**_evaluate_settings(config), "student": model_id(config.sft.student)}


def _prompts(job: Job) -> dict[str, Any]:
    return prompts_stage.make_prompts(job.config.prompts, seed=job.config.run.seed, out=job.out)


def _generate(job: Job) -> dict[str, Any]:
    return teacher_stage.generate(
        job.config.teacher,
        verify=job.config.verify,
        curate=job.config.curate,
        seed=job.config.run.seed,
        prompts=job.folder("prompts"),
        run=job.run,
        out=job.out,
    )


def _verify(job: Job) -> dict[str, Any]:
    return verify_stage.verify_generations(
        job.config.verify, generations=job.folder("generate"), prompts=job.folder("prompts"), out=job.out
    )


def _bonds(job: Job) -> dict[str, Any]:
    return bonds_stage.find_molecules(
        job.config.bonds,
        generations=job.folder("generate"),
        verdicts=job.folder("verify"),
        prompts=job.folder("prompts"),
        out=job.out,
    )


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
    return sft_stage.fine_tune(job.config.sft, seed=job.config.run.seed, samples=job.folder("curate"), out=job.out)


def _evaluate_teacher(job: Job) -> dict[str, Any]:
    teacher = job.config.teacher
    if teacher.kind == "recorded":
        print("evaluate_teacher: a recorded teacher cannot be asked, so it is not measured", flush=True)
        return {"ks": job.config.evaluate.ks, "splits": {}}
    asking = {"system_prompt": teacher.system_prompt, "instruction": teacher.instruction}
    return _evaluate(job, role="teacher", source=teacher_source(teacher), engine=teacher, asking=asking)


def _evaluate_before(job: Job) -> dict[str, Any]:
    return _evaluate_student(job, role="student_before", model=job.config.sft.student)


def _evaluate_after(job: Job) -> dict[str, Any]:
    return _evaluate_student(job, role="student_after", model=str(job.folder("sft").local / "checkpoint"))


def _evaluate_student(job: Job, *, role: str, model: str) -> dict[str, Any]:
    # Curation gives the student the bare question to train on, so that is how it is asked.
    asking = {"system_prompt": None, "instruction": None}
    engine = job.config.evaluate
    source = vllm_source(model, engine, template_kwargs={})
    return _evaluate(job, role=role, source=source, engine=engine, asking=asking)


def _evaluate(
    job: Job, *, role: str, source: Source, engine: EngineConfig, asking: Mapping[str, str | None]
) -> dict[str, Any]:
    return evaluate_stage.evaluate(
        job.config.evaluate,
        role=role,
        source=source,
        engine=engine,
        asking=asking,
        verify=job.config.verify,
        seed=job.config.run.seed,
        prompts=job.folder("prompts"),
        run=job.run,
        out=job.out,
    )


def _register(job: Job) -> dict[str, Any]:
    return registry_stage.register(
        job.config.register,
        run_uri=job.run.folder.uri,
        git_revision=job.run.git_revision,
        fingerprint=job.out.uri.rsplit("/", 1)[1],
        resolved_config=to_yaml(job.config),
        outputs=job.outputs,
        checkpoint=job.folder("sft").local / "checkpoint",
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


TRAINED, MEASURED = "prompts.trained", "prompts.measured"
EVALUATIONS = ("evaluate_teacher", "evaluate_before", "evaluate_after")

STAGES = (
    Stage("prompts", prompts_stage.VERSION, (), _prompts_settings, _prompts),
    Stage("generate", teacher_stage.VERSION, (TRAINED,), _generate_settings, _generate),
    Stage("verify", verify_stage.VERSION, (TRAINED, "generate"), _verify_settings, _verify),
    Stage(
        "bonds",
        bonds_stage.VERSION,
        (TRAINED, "generate", "verify"),
        lambda config: settings_of(config.bonds),
        _bonds,
    ),
    Stage(
        "curate",
        curate_stage.VERSION,
        (TRAINED, "generate", "verify"),
        lambda config: {**settings_of(config.curate), "accepted_per_prompt": config.teacher.accepted_per_prompt},
        _curate,
    ),
    Stage("sft", sft_stage.VERSION, ("curate",), _sft_settings, _sft),
    Stage("evaluate_teacher", evaluate_stage.VERSION, (MEASURED,), _evaluate_teacher_settings, _evaluate_teacher),
    Stage("evaluate_before", evaluate_stage.VERSION, (MEASURED,), _evaluate_before_settings, _evaluate_before),
    Stage("evaluate_after", evaluate_stage.VERSION, (MEASURED, "sft"), _evaluate_settings, _evaluate_after),
    Stage(
        "register",
        registry_stage.VERSION,
        ("prompts", "generate", "verify", "bonds", "curate", "sft", *EVALUATIONS),
        lambda config: {**settings_of(config.register), "tracking_uri": registry_stage.store_of(config.register)},
        _register,
    ),
    Stage(
        "report",
        report_stage.VERSION,
        ("prompts", "generate", "verify", "bonds", "curate", "sft", *EVALUATIONS, "register"),
        lambda config: settings_of(config.report),
        _report,
    ),
)
