"""Config of everything that samples from a model: an engine, the teacher in its three kinds, and the evaluation.

Tables named `engine` and `sampling` pass through unchanged to vLLM's EngineArgs and SamplingParams.
"""

from dataclasses import dataclass, field
from typing import Any

TEMPLATE_INSTRUCTION = (
    "Think first, then answer. Put the reasoning between <think> and </think> "
    "and the final answer between <answer> and </answer>."
)


@dataclass
class EngineConfig:
    """How vLLM runs a model."""

    engine: dict[str, Any] = field(default_factory=dict[str, Any])
    """Passes through to vLLM's `EngineArgs`. `teacher.engine` also applies to the teacher's evaluation,
    `evaluate.engine` to the student's, before and after training."""
    replicas: int = 1
    """Engines that run side by side, each in its own Ray actor."""
    max_replicas: int | None = None
    """Maximum number of engines: Ray Data adds replicas while work waits and there is room. Null: `replicas`."""
    num_cpus: float = 1.0
    """CPUs that Ray reserves for one replica."""
    num_gpus: float = 0.0
    """GPUs that Ray reserves for one replica. 0 runs vLLM on the CPU, in float32."""
    resources: dict[str, float] = field(default_factory=dict[str, float])
    """Custom resources that Ray reserves for one replica, such as `{teacher_slot: 1}`."""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    """Node labels that a replica needs, as Ray label selectors: `{role: teacher}`, `{market: '!spot'}`, `{zone: 'in(a,
    b)'}`."""
    threads: int | None = None
    """CPU threads of one replica, without GPUs. Null: `num_cpus` as a whole number, at least 1."""
    cpu_kv_cache_gb: int = 2
    """GB of memory for vLLM's KV cache, without GPUs. $VLLM_CPU_KVCACHE_SPACE, if set, takes precedence."""
    requests_per_call: int = 2048
    """Approximate number of samples per batch sent to an engine, with four batches at once; several engines share the
    samples evenly."""
    flush_every: int = 128
    """Finished samples of a batch per file of the sample log. Fewer are written after five seconds or, if that is
    longer, a twentieth of the engine's working time, at most a minute."""
    max_failures: int = 3
    """How often engines may fail (or not start) on the same prompts, each before it has made `flush_every` samples of
    them, until the run ends. Before that the engine is restarted."""


@dataclass
class EndpointConfig:
    """A teacher behind an OpenAI-compatible server (`teacher.kind: endpoint`); `teacher.model` is its name there."""

    base_url: str | None = None
    """The server's address without `/chat/completions`, such as `http://host:8000/v1`."""
    api: str = "chat"
    """`chat`, or `completions` for prompts rendered by the chat template of `tokenizer`."""
    tokenizer: str | None = None
    """Folder or Hub name of that tokenizer. Null: `teacher.model`."""
    api_key_env: str | None = None
    """Environment variable that holds the key. The key is never stored. Null: no key."""
    concurrency: int = 16
    """Concurrent requests of each replica."""
    timeout_s: float = 600.0
    """Seconds per attempt."""
    max_attempts: int = 6
    """Attempts at a request before its sample counts as an error."""
    backoff_s: float = 1.0
    """First wait between attempts; it doubles each time, with jitter."""
    max_backoff_s: float = 60.0
    """Maximum of that wait."""
    max_wait_s: float = 600.0
    """Longest wait that a server may request (Retry-After); a longer one ends the run."""
    send_seed: bool = True
    """Whether each request carries its seed; some servers reject the field."""
    input_price: float | None = None
    """Price per million input tokens."""
    output_price: float | None = None
    """Price per million output tokens."""
    max_cost: float | None = None
    """Spending cap, in the currency of the prices. The run stops before its total cost exceeds it, including earlier
    starts and `evaluate_teacher`, computed from the tokens in the sample log; finished samples are kept. Requires both
    prices, `sampling.max_tokens` and a single replica."""


@dataclass
class RecordedConfig:
    """Recorded generations as the teacher (`teacher.kind: recorded`); `teacher.model` is the name they go by."""

    files: list[str] = field(default_factory=list[str])
    """JSON (lines or a list), Parquet, CSV or TSV files, plain or compressed (paths, globs, folders, fsspec URIs), or
    the folder of another run's generations."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Our column names to theirs: `completion` (text or a list of texts), or `thinking` and `answer`; `prompt_id` or
    `question`, which identifies a row's problem; `sample_index`, `finish_reason`, `num_tokens`, `num_prompt_tokens`,
    `mean_logprob`, `rendered`, `model`; `is_correct` (the file's own verdict: counted, never trusted), `error` (why
    there is no completion). A dotted name is a path into a nested value."""
    on_bad_row: str = "drop"
    """What to do with an unreadable row. `drop`: leave it out, counted by reason; `error`: end the run."""
    max_bad_share: float = 0.01
    """The largest share of all rows that may be left out; above it the run stops."""


@dataclass
class TeacherConfig(EngineConfig):
    """The teacher and its best-of-n sampling. This section also applies to the teacher's own evaluation."""

    kind: str = "vllm"
    """`vllm`: an engine on this cluster. `endpoint`: an OpenAI-compatible server. `recorded`: generations in files."""
    model: str = "embedded:teacher"
    """`vllm`: `embedded:teacher`, a Hugging Face folder at a path or fsspec URI, or a Hub name. `endpoint`: the model's
    name there. `recorded`: the name that the generations go by."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    recorded: RecordedConfig = field(default_factory=RecordedConfig)
    samples_per_prompt: int = 8
    """Samples per training and validation problem (n of best-of-n). Raising it later keeps the existing samples."""
    accepted_per_prompt: int | None = None
    """Adaptive best-of-n: a problem is sampled until this many samples are accepted (by `verify` and `curate`), or
    `samples_per_prompt` are used up. Null: always `samples_per_prompt`."""
    lookahead: int = 0
    """Samples of a problem that may run beyond those still missing. 0 wastes none; more shorten the wait for the last
    problems."""
    futility: float = 0.0
    """Adaptive best-of-n gives a problem up when the chance that its remaining samples bring it to
    `accepted_per_prompt`, estimated from its samples so far, is below this: 0.1 saves tokens on hopeless problems and
    loses few others. 0: no problem is given up."""
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0, "max_tokens": 512})
    """Passes through to vLLM's `SamplingParams`, or into the request body of an endpoint."""
    top_logprobs: int = 0
    """Number of most likely tokens stored, with their log-probabilities, for each token of a sample: the input of
    `sft.distill`. An endpoint's server must return them, and `endpoint.tokenizer` must be the teacher's own. 0:
    none."""
    resample: dict[str, Any] | None = None
    """Overrides of `sampling` for a second try at a sample that was cut off at the length limit, such as `{max_tokens:
    4096}`. Null: no second try."""
    system_prompt: str | None = None
    """System message before each question. Null: none."""
    instruction: str | None = None
    """Text before each question, followed by an empty line. The word `template` stands for a request for `<think>` and
    `<answer>`. Null: none. The student never sees it."""
    two_step: bool = False
    """Two-step zero-shot chain of thought (Fine-tune-CoT): the model continues "Let's think step by step.", then is
    asked for the answer; both are put into the template. For models without a template of their own."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    """Extra arguments for the teacher's chat template, such as `{enable_thinking: true}`."""


@dataclass
class EvaluateConfig(EngineConfig):
    """How teacher and student are measured. The engine keys here apply to the student; the teacher is measured with
    those of its own section."""

    splits: list[str] = field(default_factory=lambda: ["test", "longer", "held_out"])
    """Splits to measure: of `test`, `longer`, `held_out`, `validation`, `train`. The champion gate needs `test`."""
    samples_per_prompt: int = 8
    """Samples per problem."""
    ks: list[int] = field(default_factory=lambda: [1, 4, 8])
    """The k of pass@k, each at most `samples_per_prompt`. pass@1 is always computed; the largest k is also used for
    majority@k."""
    max_cut_share: float = 0.3
    """The largest share of answers as long as the teacher's that `evaluate.sampling.max_tokens` may cut off. Above it
    the run is an error before it starts."""
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0, "max_tokens": 512})
    """Passes through to vLLM's `SamplingParams`, for all three models."""
