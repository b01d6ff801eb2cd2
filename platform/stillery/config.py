"""The configuration of a run: one dataclass a stage, read with OmegaConf.

A run's config is the defaults below, overlaid with a YAML file, overlaid with `key=value` arguments. An unknown
key or a value of the wrong type is an error that names the key and the nearest known one.

Tables named `engine`, `sampling` and `trl` pass through unread to vLLM's EngineArgs and SamplingParams and TRL's
SFTConfig; `stillery.passthrough` checks them against the installed version before the first stage starts.
"""

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from stillery.errors import UserError
from stillery.records import Split

TEMPLATE_INSTRUCTION = (
    "Think first, then answer. Put the reasoning between <think> and </think> "
    "and the final answer between <answer> and </answer>."
)


@dataclass
class RunSettings:
    """Where a run lives. `dir` is an absolute path or an fsspec URI; null means HOME/runs/NAME, where HOME is
    $STILLERY_HOME or ~/.stillery."""

    name: str = "run"
    dir: str | None = None
    seed: int = 0


@dataclass
class NodeGroup:
    """A group of nodes that an autoscaler makes on demand: at most `max_nodes`, each with these resources (CPU, GPU,
    custom ones) and labels, to which Ray adds `ray.io/node-group`, the group's name."""

    max_nodes: int = 1
    resources: dict[str, float] = field(default_factory=dict[str, float])
    labels: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class ClusterConfig:
    """The Ray cluster: `address` as in ray.init (null: $RAY_ADDRESS, else a running local head, else a new one;
    `local`: a new one in any case).

    `num_cpus` is the number of logical CPUs of a cluster that we start ourselves (null: the machine's cores, at
    least 4, because every actor of a pipeline holds one). `node_groups` says how far an autoscaler goes, by name of the
    group: Ray does not tell, and a run that asks for more than there will ever be is refused before it starts.
    """

    address: str | None = None
    num_cpus: int | None = None
    node_groups: dict[str, NodeGroup] = field(default_factory=dict[str, NodeGroup])


@dataclass
class PromptsConfig:
    """Where problems come from.

    source `tasks`: the exact generators, with the numbers of problems a split below (over all tasks together).
    source `file`: JSONL, Parquet or CSV files, one a split. source `hub`: a Hugging Face dataset, named in
    `dataset`, with the dataset's split names in train, validation, test.
    Without a validation file or split, `validation_fraction` of the training problems (by hash) become it.
    """

    source: str = "tasks"
    tasks: list[str] = field(default_factory=list[str])
    num_train: int = 900
    num_validation: int = 60
    num_test: int = 240
    num_longer: int = 60
    num_held_out: int = 40

    dataset: str | None = None
    subset: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    validation_fraction: float = 0.05
    limit_train: int | None = None
    limit_test: int | None = None

    # Our column name to theirs; only `question` and `answer` are required of the data.
    columns: dict[str, str] = field(default_factory=dict[str, str])
    task: str = "custom"
    # How the answer column holds the answer: `text` (all of it), `hash` (after ####), `boxed` (in \boxed{}).
    answer_format: str = "text"
    answer_kind: str = "auto"


@dataclass
class EngineConfig:
    """How a model is run by vLLM. `engine` passes through to EngineArgs. One replica takes `num_cpus`, `num_gpus` and
    the custom `resources` of Ray's, on a node whose labels `labels` selects; `threads` bounds the CPU threads of a
    replica (null: num_cpus). With `max_replicas` above `replicas`, Ray Data adds replicas while work waits."""

    engine: dict[str, Any] = field(default_factory=dict[str, Any])
    replicas: int = 1
    max_replicas: int | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    resources: dict[str, float] = field(default_factory=dict[str, float])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    threads: int | None = None
    cpu_kv_cache_gb: int = 2
    # Samples of the prompts that one call hands to an engine, of which several are under way at once; the log is
    # written as they finish, at the latest after five seconds.
    requests_per_call: int = 2048
    flush_every: int = 128


@dataclass
class EndpointConfig:
    """A teacher behind an OpenAI-compatible server (teacher.kind `endpoint`); `teacher.model` is its name there.

    `base_url` ends before /chat/completions. `api` is `chat`, or `completions` for a prompt rendered by the chat
    template of `tokenizer`. `api_key_env` names the environment variable that holds the key (null: no key); the key
    itself never stands in a config. Prices are per million tokens; `max_cost`, in the same currency, stops the run
    before it is exceeded.
    """

    base_url: str | None = None
    api: str = "chat"
    # The folder or Hub name whose chat template renders prompts for api `completions`.
    tokenizer: str | None = None
    api_key_env: str | None = None
    concurrency: int = 16
    timeout_s: float = 600.0
    # Attempts a request, and the waits between them, which double; a Retry-After above max_wait_s ends the run.
    max_attempts: int = 6
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    max_wait_s: float = 600.0
    # Some servers refuse the field.
    send_seed: bool = True
    input_price: float | None = None
    output_price: float | None = None
    max_cost: float | None = None


@dataclass
class RecordedConfig:
    """Recorded generations as the teacher (teacher.kind `recorded`); `teacher.model` is the name it goes by.

    `files` are JSONL, Parquet or CSV files (paths, globs, folders, fsspec URIs), or the folder of another run's
    generations. `columns` maps our names to theirs: completion (text, or a list of texts), or thinking and answer;
    prompt_id or question, by which a row finds its prompt; sample_index, finish_reason, num_tokens,
    num_prompt_tokens, mean_logprob, rendered, model. A dotted name is a path into a nested value.
    """

    files: list[str] = field(default_factory=list[str])
    columns: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class TeacherConfig(EngineConfig):
    """The teacher, and best-of-n: `samples_per_prompt` is n. `sampling` passes through to SamplingParams.

    kind `vllm`: an engine on this cluster. `endpoint`: an OpenAI-compatible server, whose requests `sampling` passes
    through to. `recorded`: generations that lie in files.

    With `accepted_per_prompt` a prompt is sampled until that many samples are accepted (by the rules of `verify` and
    `curate`) or n are spent, and `ahead` more samples of it may run than are missing: 0 makes none in vain, more
    shorten the wait for the last prompts. `resample` holds what of `sampling` differs for a second try at a sample
    that was cut off for length, such as {max_tokens: 4096}.

    `model` is `embedded:teacher`, a local Hugging Face folder, or a Hub name. `instruction` is put before the
    question where the model was not trained on the template; the word `template` stands for TEMPLATE_INSTRUCTION,
    and null leaves the question alone. `two_step` samples as Fine-tune-CoT does: the model continues "Let's think step
    by step.", then is asked for the answer, and the sample is put into the template from both.
    """

    kind: str = "vllm"
    model: str = "embedded:teacher"
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    recorded: RecordedConfig = field(default_factory=RecordedConfig)
    samples_per_prompt: int = 8
    accepted_per_prompt: int | None = None
    ahead: int = 0
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0, "max_tokens": 512})
    resample: dict[str, Any] | None = None
    system_prompt: str | None = None
    instruction: str | None = None
    two_step: bool = False
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class VerifyConfig:
    """Answer checking. One comparison gets at most `deadline_s` seconds in a worker process, of which an actor has
    `num_processes`. There is one actor, and up to `max_actors` while answers wait; each takes `num_cpus` of Ray's CPUs.
    """

    num_processes: int = 2
    deadline_s: float = 5.0
    max_actors: int = 1
    num_cpus: float = 0.25


@dataclass
class BondsConfig:
    """Reasoning molecules. A trace whose stability lies below `unstable_below` counts as unstable."""

    unstable_below: float = 0.5


@dataclass
class CurateConfig:
    """Which generations become training data: correct ones, at most `max_per_prompt` of a prompt in order of
    sample index. `require_template` drops what departs from the template, `deduplicate` exact repeats, `drop_flags`
    what carries one of these readability flags.

    Problems whose pass rate lies below `min_pass_rate` or above `max_pass_rate` are dropped whole: what is never
    solved was guessed, and what is always solved teaches little.
    """

    max_per_prompt: int = 4
    require_template: bool = True
    deduplicate: bool = True
    drop_flags: list[str] = field(default_factory=list[str])
    min_pass_rate: float = 0.0
    max_pass_rate: float = 1.0


@dataclass
class SftConfig:
    """Supervised fine-tuning of the student. `trl` passes through to TRL's SFTConfig.

    `max_failures` is how often Ray Train restarts a failed worker group from its last checkpoint. A worker takes
    `num_cpus`, a GPU with `use_gpu`, and the custom `resources`, on a node whose labels `labels` selects.
    """

    student: str = "embedded:student"
    num_workers: int = 1
    num_cpus: float = 1.0
    use_gpu: bool = False
    resources: dict[str, float] = field(default_factory=dict[str, float])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    threads: int | None = None
    max_failures: int = 3
    trl: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class EvaluateConfig(EngineConfig):
    """How teacher and student are measured: pass@k over `samples_per_prompt` samples a problem, on `splits`."""

    splits: list[str] = field(default_factory=lambda: ["test", "longer", "held_out"])
    samples_per_prompt: int = 8
    ks: list[int] = field(default_factory=lambda: [1, 4, 8])
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0, "max_tokens": 512})


@dataclass
class RegisterConfig:
    """MLflow. `tracking_uri` null means $MLFLOW_TRACKING_URI, else a SQLite store under HOME."""

    name: str = "stillery-student"
    experiment: str = "stillery"
    tracking_uri: str | None = None


@dataclass
class ReportConfig:
    """The HTML report: how many traces of each kind it shows."""

    num_traces: int = 6


@dataclass
class PlanConfig:
    """What `stillery plan` cannot read from the rest: the GPUs, their price, and the measured or assumed behaviour of
    the models. No stage depends on it.

    Null: a throughput makes the stage's time unknown; `completion_tokens` is max_tokens, the most there can be;
    `acceptance_rate` makes every prompt need samples_per_prompt; `num_prompts` and `num_evaluated` are counted where
    the prompts' section says how many there are.
    """

    gpu_memory_gib: float | None = None
    gpus_per_node: int = 8
    num_gpus: int | None = None
    gpu_price_per_hour: float | None = None
    # What a GPU holds besides what is counted: CUDA's context, NCCL's buffers, fragmentation.
    reserve_gib: float = 2.0
    num_prompts: int | None = None
    num_evaluated: int | None = None
    prompt_tokens: int = 200
    completion_tokens: int | None = None
    acceptance_rate: float | None = None
    # How alike problems are: their rates follow a Beta distribution with that mean and a + b of this (null: all one).
    acceptance_concentration: float | None = None
    # Output tokens a second of one replica; tokens a second of one training worker; answers a second.
    teacher_tokens_per_s: float | None = None
    student_tokens_per_s: float | None = None
    training_tokens_per_s: float | None = None
    answers_per_s: float | None = None


@dataclass
class ParityThresholds:
    """What an artifact may differ from its checkpoint by. `max_kl` is in nats a token, mean over positions; the
    agreements are shares, the drops fractions. `max_accuracy_drop` is exceeded where the measured drop lies above it
    by more than its standard error; a perplexity ratio counts in both directions."""

    max_kl: float
    min_top_1: float
    min_greedy: float
    max_perplexity_ratio: float
    max_accuracy_drop: float
    max_stop_rate_drop: float
    max_repetition_rise: float


@dataclass
class ExportConfig:
    """Edge artifacts. Prompts and expected answers are those of `prompts`' split `split`.

    A run exports its student in these `formats` (none: it doesn't; `stillery export` then takes GGUF). Formats and
    `quantizations` are tried in all combinations (no quantizations: each format's defaults).
    `num_problems` are answered greedily with at most `max_new_tokens` each; logits are compared on at most
    `max_positions` tokens of prompts and answers. `num_calibration` generated problems, with the checkpoint's own
    answers, calibrate formats that take calibration texts. The last four hold an artifact to its checkpoint: the
    unquantized form, and quantized ones by their bits (half precision counts as eight).
    """

    formats: list[str] = field(default_factory=list[str])
    quantizations: list[str] = field(default_factory=list[str])
    split: str = "test"
    num_problems: int = 60
    max_new_tokens: int = 512
    max_positions: int = 1000
    num_calibration: int = 0
    context: int = 2000
    min_tokenizer_agreement: float = 1.0
    unquantized: ParityThresholds = field(
        default_factory=lambda: ParityThresholds(1e-5, 0.995, 0.95, 1.01, 0.0, 0.02, 0.02)
    )
    eight_bit: ParityThresholds = field(
        default_factory=lambda: ParityThresholds(0.005, 0.95, 0.5, 1.05, 0.02, 0.05, 0.05)
    )
    five_bit: ParityThresholds = field(default_factory=lambda: ParityThresholds(0.03, 0.9, 0.0, 1.15, 0.05, 0.1, 0.1))
    four_bit: ParityThresholds = field(default_factory=lambda: ParityThresholds(0.1, 0.85, 0.0, 1.3, 0.1, 0.15, 0.15))


@dataclass
class Config:
    """A whole run."""

    run: RunSettings = field(default_factory=RunSettings)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    bonds: BondsConfig = field(default_factory=BondsConfig)
    curate: CurateConfig = field(default_factory=CurateConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    register: RegisterConfig = field(default_factory=RegisterConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Defaults, overlaid with the YAML file at `path`, overlaid with `key=value` arguments.

    Raises UserError for a missing or malformed file, an unknown key, or a value of the wrong type.
    """
    merged = OmegaConf.structured(Config)
    layers = [(str(path), _read_yaml(Path(path)))] if path is not None else []
    layers += [(argument, _read_argument(argument)) for argument in overrides]
    for origin, layer in layers:
        _reject_unknown_keys(OmegaConf.to_container(layer), Config, origin=origin)
        try:
            merged = OmegaConf.merge(merged, layer)
        except OmegaConfBaseException as error:
            raise UserError(f"{origin}: {error.full_key or 'config'}: {_first_line(error)}") from None
    try:
        config = cast(Config, OmegaConf.to_object(merged))
    except InterpolationResolutionError as error:
        unset = re.search(r"Environment variable '(\w+)' not found", str(error))
        reason = f"${unset[1]} is not set; set it, or give {error.full_key}=VALUE" if unset else _first_line(error)
        raise UserError(f"config: {error.full_key}: {reason}") from None
    except OmegaConfBaseException as error:
        raise UserError(f"config: {error.full_key}: {_first_line(error)}") from None
    _check_values(config)
    return config


def to_yaml(config: Config) -> str:
    """The resolved config as YAML, as it is kept beside a run."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def settings_of(section: Any) -> dict[str, Any]:
    """One section as plain data, as fingerprints take it."""
    return dataclasses.asdict(section)


def _read_yaml(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"config file {path} does not exist; the project's own are in jobs/configs/")
    try:
        loaded = OmegaConf.load(path)
    except Exception as error:
        raise UserError(f"config file {path} is not valid YAML: {_first_line(error)}") from None
    if not OmegaConf.is_dict(loaded):
        raise UserError(f"config file {path} must be a mapping of sections, such as `teacher:` and `sft:`")
    return loaded


def _read_argument(argument: str) -> Any:
    key, equals, _ = argument.partition("=")
    if not equals or not key:
        raise UserError(f"argument {argument!r}: expected key=value, such as teacher.samples_per_prompt=16")
    return OmegaConf.from_dotlist([argument])


def _reject_unknown_keys(layer: Any, record: Any, *, origin: str, prefix: str = "") -> None:
    known = {f.name: f for f in dataclasses.fields(record)}
    if not isinstance(layer, Mapping):
        raise UserError(f"{origin}: {prefix.rstrip('.') or 'config'} must be a mapping of {', '.join(known)}")
    for key, value in cast(Mapping[Any, Any], layer).items():
        if key not in known:
            raise UserError(f"{origin}: unknown key {prefix}{key}{suggest(str(key), list(known))}")
        inner = known[key].type
        if dataclasses.is_dataclass(inner):
            _reject_unknown_keys(value, inner, origin=origin, prefix=f"{prefix}{key}.")


def suggest(word: str, known: Sequence[str]) -> str:
    """`; did you mean X?` where a known word is near, else a list of the known ones if it is short."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(known)}" if len(known) <= 20 else ""


def _check_values(config: Config) -> None:
    positive = {
        "teacher.samples_per_prompt": config.teacher.samples_per_prompt,
        "teacher.replicas": config.teacher.replicas,
        "evaluate.samples_per_prompt": config.evaluate.samples_per_prompt,
        "verify.num_processes": config.verify.num_processes,
        "verify.deadline_s": config.verify.deadline_s,
        "curate.max_per_prompt": config.curate.max_per_prompt,
        "sft.num_workers": config.sft.num_workers,
        "export.num_problems": config.export.num_problems,
        "export.max_new_tokens": config.export.max_new_tokens,
    }
    for key, value in positive.items():
        if value <= 0:
            raise UserError(f"{key} is {value}; it must be above 0")
    _check_teacher(config.teacher)
    if config.prompts.source not in ("tasks", "file", "hub"):
        raise UserError(f"prompts.source is {config.prompts.source!r}; it must be tasks, file or hub")
    above = [k for k in config.evaluate.ks if not 1 <= k <= config.evaluate.samples_per_prompt]
    if above:
        raise UserError(
            f"evaluate.ks holds {above[0]}, but evaluate.samples_per_prompt is "
            f"{config.evaluate.samples_per_prompt}: pass@k needs 1 <= k <= samples"
        )
    unknown = [name for name in config.evaluate.splits if name not in list(Split)]
    if unknown:
        raise UserError(f"evaluate.splits: no split {unknown[0]!r}{suggest(unknown[0], list(Split))}")
    if config.sft.trl.get("save_strategy") in ("no", False):
        raise UserError("sft.trl.save_strategy is no: the student is one of the saved checkpoints; use epoch or steps")
    if not 0 <= config.curate.min_pass_rate <= config.curate.max_pass_rate <= 1:
        raise UserError("curate.min_pass_rate and curate.max_pass_rate must be a band within 0 and 1")
    if not 0 < config.prompts.validation_fraction < 1:
        raise UserError("prompts.validation_fraction must lie between 0 and 1")


def _check_teacher(teacher: TeacherConfig) -> None:
    if teacher.kind not in ("vllm", "endpoint", "recorded"):
        raise UserError(f"teacher.kind is {teacher.kind!r}; it must be vllm, endpoint or recorded")
    if teacher.kind != "vllm" and teacher.model.startswith("embedded:"):
        raise UserError(f"teacher.model: give the model's name; {teacher.model} is for teacher.kind=vllm")
    if teacher.kind == "recorded":
        if not teacher.recorded.files:
            raise UserError("teacher.recorded.files is empty; name the files that hold the generations")
        if teacher.accepted_per_prompt is not None or teacher.resample is not None or teacher.two_step:
            raise UserError(
                "teacher.kind=recorded samples nothing: accepted_per_prompt, resample and two_step must be unset"
            )
    if teacher.kind == "endpoint" and teacher.two_step and teacher.endpoint.api != "completions":
        raise UserError("teacher.two_step continues a text, which needs teacher.endpoint.api=completions")
    wanted = teacher.accepted_per_prompt
    if wanted is not None and not 1 <= wanted <= teacher.samples_per_prompt:
        raise UserError(
            f"teacher.accepted_per_prompt is {wanted}; it must be between 1 and teacher.samples_per_prompt, "
            f"which is {teacher.samples_per_prompt}"
        )
    if teacher.ahead < 0:
        raise UserError(f"teacher.ahead is {teacher.ahead}; it must be 0 or more")
    if teacher.max_replicas is not None and teacher.max_replicas < teacher.replicas:
        raise UserError(f"teacher.max_replicas is {teacher.max_replicas}, below teacher.replicas={teacher.replicas}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
