"""The plan of a run: for each stage that runs models, its GPUs, memory, tokens, time and price.

In: the config and the architectures of its models. Out: a Plan, whose problems say why the run cannot work. Nothing is
guessed: a time needs a stated throughput, and is unknown without one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stillery.config import Config, EngineConfig
from stillery.errors import UserError
from stillery.plan.architecture import Architecture, read_architecture
from stillery.plan.fitting import cluster_problems, engine_problem, refinement_problem, training_problem
from stillery.plan.memory import GIB, TRAIN_BATCH, engine_memory, engine_weights, max_length, training_memory
from stillery.plan.quantities import (
    check_section,
    completion_tokens,
    divide,
    notes_on,
    num_evaluated,
    num_prompts,
    num_trained,
    times,
)
from stillery.plan.refinement import answer_tokens, answers_of, refinement_memory, refinement_seconds
from stillery.plan.stopping import Expected, expect

# Endpoints are priced per million tokens.
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage. `memory_gib` is that of one GPU (of host memory without GPUs) by purpose; `samples` are made or
    checked, `tokens` generated, or trained on; `sequences` is how many of that length fit into the cache of one replica
    at once. None: unknown, or not applicable to this stage."""

    name: str
    gpus: float = 0.0
    memory_gib: Mapping[str, float] = field(default_factory=dict[str, float])
    samples: float | None = None
    tokens: float | None = None
    seconds: float | None = None
    price: float | None = None
    sequences: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run. `notes` state the assumptions behind the numbers; `problems`, why it cannot work."""

    stages: list[StagePlan]
    expected: Expected
    notes: list[str]
    problems: list[str]

    @property
    def fits(self) -> bool:
        return not self.problems

    @property
    def gpus(self) -> float:
        return max((stage.gpus for stage in self.stages), default=0.0)

    @property
    def untimed(self) -> list[str]:
        """The stages of unknown duration; `seconds` and `price` leave them out."""
        return [stage.name for stage in self.stages if stage.seconds is None]

    @property
    def seconds(self) -> float | None:
        return _sum_known([stage.seconds for stage in self.stages])

    @property
    def price(self) -> float | None:
        return _sum_known([stage.price for stage in self.stages])


@dataclass(frozen=True, slots=True)
class Models:
    """The architectures of a run's models; the teacher's is None if it does not run on this cluster."""

    teacher: Architecture | None
    student: Architecture


def read_models(config: Config, *, model_configs: Mapping[str, Path]) -> Models:
    """The architectures that the config names; `model_configs` are config.json files by model name."""
    unknown = sorted(set(model_configs) - {config.teacher.model, config.sft.student})
    if unknown:
        raise UserError(f"--model-config {unknown[0]}=…: neither teacher.model nor sft.student is {unknown[0]}")

    def read(model: str, key: str) -> Architecture:
        return read_architecture(model, key=key, model_config=model_configs.get(model))

    teacher = read(config.teacher.model, "teacher.model") if config.teacher.kind == "vllm" else None
    return Models(teacher, read(config.sft.student, "sft.student"))


def make_plan(config: Config, models: Models) -> Plan:
    """Raises UserError for an invalid setting in the plan's own section."""
    check_section(config)
    plan, teacher = config.plan, config.teacher
    expected = expect(
        num_samples=teacher.samples_per_prompt,
        target_accepted=teacher.accepted_per_prompt,
        lookahead=teacher.lookahead,
        futility=teacher.futility,
        rate=plan.acceptance_rate,
        concentration=plan.acceptance_concentration,
        max_kept=config.curate.max_per_prompt,
    )
    prompts = times(num_prompts(config), expected.made)
    stages = [_generate(config, models, prompts), _verify(config, prompts), _train(config, models, expected)]
    stages += [_refine(config, models)] if config.refine.enabled else []
    stages += _evaluations(config, models)
    problems = [*_fit_problems(config, models), *cluster_problems(config, {s.name: s.gpus for s in stages})]
    problems += _cost_problems(config, stages)
    return Plan(stages, expected, list(notes_on(config, expected)), problems)


def _generate(config: Config, models: Models, samples: float | None) -> StagePlan:
    teacher, plan = config.teacher, config.plan
    if teacher.kind == "recorded":
        return StagePlan("generate", samples=samples)
    tokens = times(samples, completion_tokens(config, "teacher"))
    if models.teacher is None:
        return StagePlan(
            "generate",
            samples=samples,
            tokens=tokens,
            seconds=divide(tokens, plan.teacher_tokens_per_s),
            price=_endpoint_price(config, samples, tokens),
        )
    return _engine_stage("generate", config, teacher, models.teacher, samples, tokens, plan.teacher_tokens_per_s)


def _verify(config: Config, samples: float | None) -> StagePlan:
    return StagePlan("verify", samples=samples, seconds=divide(samples, config.plan.answers_per_s))


def _train(config: Config, models: Models, expected: Expected) -> StagePlan:
    sft, plan = config.sft, config.plan
    memory = training_memory(models.student, sft, plan)
    row = min(plan.prompt_tokens + completion_tokens(config, "teacher"), max_length(models.student, sft.trl))
    samples = times(num_trained(config), expected.kept)
    tokens = times(samples, row * float(sft.trl.get("num_train_epochs", 3)))
    steps = int(sft.trl.get("max_steps", 0))
    if steps > 0:
        batch = int(sft.trl.get("per_device_train_batch_size", TRAIN_BATCH)) * sft.num_workers
        tokens = row * steps * batch * int(sft.trl.get("gradient_accumulation_steps", 1))
    seconds = divide(tokens, times(plan.training_tokens_per_s, sft.num_workers))
    gpus = float(sft.num_workers if sft.use_gpu else 0)
    parts = ("weights", "gradients", "optimizer", "activations", "loss", "reserve")
    return StagePlan(
        "sft",
        gpus=gpus,
        memory_gib={part: getattr(memory, part) / GIB for part in parts},
        samples=samples,
        tokens=tokens,
        seconds=seconds,
        price=_gpu_price(config, gpus, seconds),
    )


def _refine(config: Config, models: Models) -> StagePlan:
    """Its samples are the completions that it learns from and those of its validations; its tokens are theirs."""
    refine = config.refine
    learnt, validated = answers_of(config)
    samples = None if validated is None else learnt + validated
    gpus, seconds = float(refine.num_workers if refine.use_gpu else 0), refinement_seconds(config)
    return StagePlan(
        "refine",
        gpus=gpus,
        memory_gib=refinement_memory(config, models.student, models.teacher),
        samples=samples,
        tokens=times(samples, answer_tokens(config)),
        seconds=seconds,
        price=_gpu_price(config, gpus, seconds),
    )


def _evaluations(config: Config, models: Models) -> Iterator[StagePlan]:
    plan, evaluate = config.plan, config.evaluate
    samples = times(num_evaluated(config), evaluate.samples_per_prompt)
    tokens = times(samples, completion_tokens(config, "evaluate"))
    if models.teacher is not None:
        yield _engine_stage(
            "evaluate_teacher", config, config.teacher, models.teacher, samples, tokens, plan.teacher_tokens_per_s
        )
    elif config.teacher.kind == "endpoint":
        seconds = divide(tokens, plan.teacher_tokens_per_s)
        price = _endpoint_price(config, samples, tokens)
        yield StagePlan("evaluate_teacher", samples=samples, tokens=tokens, seconds=seconds, price=price)
    tuned = ("evaluate_sft",) if config.refine.enabled else ()
    for name in ("evaluate_before", *tuned, "evaluate_after"):
        yield _engine_stage(name, config, evaluate, models.student, samples, tokens, plan.student_tokens_per_s)


def _engine_stage(
    name: str,
    config: Config,
    engine: EngineConfig,
    model: Architecture,
    samples: float | None,
    tokens: float | None,
    tokens_per_s: float | None,
) -> StagePlan:
    gpus = engine.replicas * engine.num_gpus
    sequences = None
    if gpus and config.plan.gpu_memory_gib is not None:
        sized = engine_memory(model, engine.engine, config.plan)
        parts = ("weights", "kv_cache", "working", "reserve")
        memory = {part: getattr(sized, part) / GIB for part in parts}
        section = "teacher" if engine is config.teacher else "evaluate"
        sequences = int(sized.kv_tokens / (config.plan.prompt_tokens + completion_tokens(config, section)))
    else:
        # On a CPU weights are float32 by default, and the cache has the size set in the config.
        table = engine.engine if gpus else {"dtype": "float32", **engine.engine}
        cache = {} if gpus else {"kv_cache": engine.cpu_kv_cache_gb * 1.0}
        memory = {"weights": engine_weights(model, table) / max(1, engine.num_gpus) / GIB, **cache}
    seconds = divide(tokens, times(tokens_per_s, engine.replicas))
    return StagePlan(name, gpus, memory, samples, tokens, seconds, _gpu_price(config, gpus, seconds), sequences)


def _fit_problems(config: Config, models: Models) -> list[str]:
    problems = [
        engine_problem("evaluate", models.student, config.evaluate, config.plan),
        training_problem(models.student, config.sft, config.plan),
    ]
    if config.refine.enabled:
        memory = refinement_memory(config, models.student, models.teacher)
        problems.append(refinement_problem(models.student, config, memory))
    if models.teacher is not None:
        problems.insert(0, engine_problem("teacher", models.teacher, config.teacher, config.plan))
    return [problem for problem in problems if problem is not None]


def _cost_problems(config: Config, stages: Sequence[StagePlan]) -> Iterator[str]:
    """The cap covers everything that a run spends at the endpoint."""
    cap = config.teacher.endpoint.max_cost
    asked = [stage for stage in stages if stage.name in ("generate", "evaluate_teacher")]
    price = _sum_known([stage.price for stage in asked])
    if config.teacher.kind == "endpoint" and cap is not None and price is not None and price > cap:
        names = " and ".join(stage.name for stage in asked if stage.price is not None)
        yield (
            f"{names}: the endpoint's tokens cost about {price:,.2f}, and teacher.endpoint.max_cost is {cap:,.2f}; "
            "raise it, or lower teacher.samples_per_prompt, accepted_per_prompt, evaluate.samples_per_prompt or the "
            "number of problems"
        )


def _endpoint_price(config: Config, samples: float | None, tokens: float | None) -> float | None:
    endpoint = config.teacher.endpoint
    if samples is None or tokens is None or (endpoint.input_price is None and endpoint.output_price is None):
        return None
    read = samples * config.plan.prompt_tokens
    return (read * (endpoint.input_price or 0.0) + tokens * (endpoint.output_price or 0.0)) / MILLION


def _gpu_price(config: Config, gpus: float, seconds: float | None) -> float | None:
    hourly = config.plan.gpu_price_per_hour
    return None if hourly is None or seconds is None or not gpus else gpus * hourly * seconds / 3600


def _sum_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
