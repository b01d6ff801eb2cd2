"""Settings of what samples from a model: an engine, the teacher in its three kinds, and the evaluation.

Tables named `engine` and `sampling` pass through unread to vLLM's EngineArgs and SamplingParams.
"""

from dataclasses import dataclass, field
from typing import Any

TEMPLATE_INSTRUCTION = (
    "Think first, then answer. Put the reasoning between <think> and </think> "
    "and the final answer between <answer> and </answer>."
)


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
    # written as they finish: at the latest after five seconds, and later, at a slow engine, after a minute.
    requests_per_call: int = 2048
    flush_every: int = 128
    # So often may engines break on the same prompts, each before it has made flush_every samples of them.
    max_failures: int = 3


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

    `files` are JSON (lines or a list), Parquet or CSV files, also compressed (paths, globs, folders, fsspec URIs), or
    the folder of another run's generations. A row that cannot be used is dropped and counted, up to `max_bad_share` of
    all rows, or ends the run (`on_bad_row: error`). `columns` maps our names to theirs: completion (text, or a list of
    texts), or thinking and answer; prompt_id or question, by which a row finds its prompt; sample_index, finish_reason,
    num_tokens, num_prompt_tokens, mean_logprob, rendered, model, is_correct, error. A dotted name is a path into a
    nested value.
    """

    files: list[str] = field(default_factory=list[str])
    columns: dict[str, str] = field(default_factory=dict[str, str])
    on_bad_row: str = "drop"
    max_bad_share: float = 0.01


@dataclass
class TeacherConfig(EngineConfig):
    """The teacher, and best-of-n: `samples_per_prompt` is n. `sampling` passes through to SamplingParams.

    kind `vllm`: an engine on this cluster. `endpoint`: an OpenAI-compatible server, whose requests `sampling` passes
    through to. `recorded`: generations that lie in files.

    With `accepted_per_prompt` a prompt is sampled until that many samples are accepted (by the rules of `verify` and
    `curate`) or n are spent, and `lookahead` more samples of it may run than are missing: 0 makes none in vain, more
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
    lookahead: int = 0
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0, "max_tokens": 512})
    resample: dict[str, Any] | None = None
    system_prompt: str | None = None
    instruction: str | None = None
    two_step: bool = False
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class EvaluateConfig(EngineConfig):
    """How teacher and student are measured: pass@k over `samples_per_prompt` samples a problem, on `splits`. At most
    the share `max_cut_share` of answers as long as the teacher's may be cut off by `sampling.max_tokens`."""

    splits: list[str] = field(default_factory=lambda: ["test", "longer", "held_out"])
    samples_per_prompt: int = 8
    ks: list[int] = field(default_factory=lambda: [1, 4, 8])
    max_cut_share: float = 0.3
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0, "max_tokens": 512})
