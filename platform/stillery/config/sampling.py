"""Config of what samples from a model: an engine, the teacher in its three kinds, and the evaluation.

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
    """How vLLM runs a model."""

    engine: dict[str, Any] = field(default_factory=dict[str, Any])
    """Passes through to vLLM's `EngineArgs`. `teacher.engine` also loads the teacher in its evaluation;
    `evaluate.engine` is the student's, before and after."""
    replicas: int = 1
    """Engines that run side by side, each in a Ray actor of its own."""
    max_replicas: int | None = None
    """The most engines: Ray Data adds replicas while work waits and there is room. Null: `replicas`."""
    num_cpus: float = 1.0
    """CPUs that Ray sets aside for one replica."""
    num_gpus: float = 0.0
    """GPUs that Ray sets aside for one replica. 0 runs vLLM on the CPU, in float32."""
    resources: dict[str, float] = field(default_factory=dict[str, float])
    """Custom resources that Ray sets aside for one replica, such as `{teacher_slot: 1}`."""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    """Node labels that a replica needs, written as Ray's label selectors: `{role: teacher}`, `{market: '!spot'}`,
    `{zone: 'in(a, b)'}`."""
    threads: int | None = None
    """CPU threads of one replica, without GPUs. Null: `num_cpus` as a whole number, at least 1."""
    cpu_kv_cache_gb: int = 2
    """GB of memory for vLLM's KV cache, without GPUs. $VLLM_CPU_KVCACHE_SPACE, where set, wins."""
    requests_per_call: int = 2048
    """Prompts go to an engine in batches of about so many samples, four batches at once; several engines share them
    evenly."""
    flush_every: int = 128
    """Finished samples of a batch that make one file of the sample log; after five seconds also fewer, or after a
    twentieth of the time that the engine has worked, at most a minute."""
    max_failures: int = 3
    """How often engines may fail (or not start) on the same prompts, each before it has made `flush_every` samples of
    them, before the run ends. Until then the engine is restarted."""


@dataclass
class EndpointConfig:
    """A teacher behind an OpenAI-compatible server (`teacher.kind: endpoint`); `teacher.model` is its name there."""

    base_url: str | None = None
    """The server's address up to `/chat/completions`, such as `http://host:8000/v1`."""
    api: str = "chat"
    """`chat`, or `completions` for prompts rendered by the chat template of `tokenizer`."""
    tokenizer: str | None = None
    """Folder or Hub name of that tokenizer. Null: `teacher.model`."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key. The key is never written. Null: no key."""
    concurrency: int = 16
    """Concurrent requests of each replica."""
    timeout_s: float = 600.0
    """Seconds for one attempt."""
    max_attempts: int = 6
    """Attempts at a request before its sample is an error."""
    backoff_s: float = 1.0
    """First wait between attempts; it doubles, with jitter."""
    max_backoff_s: float = 60.0
    """Longest wait of our own."""
    max_wait_s: float = 600.0
    """Longest wait that a server may ask for (Retry-After); a longer one ends the run."""
    send_seed: bool = True
    """Whether each request carries its seed; some servers reject the field."""
    input_price: float | None = None
    """Price of a million input tokens."""
    output_price: float | None = None
    """Price of a million output tokens."""
    max_cost: float | None = None
    """Spending cap, in the currency of the prices. The run stops before it has spent more in all, earlier starts and
    `evaluate_teacher` counted by the tokens in the sample log; what is finished is kept. Needs both prices,
    `sampling.max_tokens` and a single replica."""


@dataclass
class RecordedConfig:
    """Recorded generations as the teacher (`teacher.kind: recorded`); `teacher.model` is the name they go by."""

    files: list[str] = field(default_factory=list[str])
    """JSON (lines or a list), Parquet, CSV or TSV files, plain or compressed (paths, globs, folders, fsspec URIs), or
    the folder of another run's generations."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Our column names to theirs: `completion` (text or a list of texts), or `thinking` and `answer`; `prompt_id` or
    `question`, by which a row finds its problem; `sample_index`, `finish_reason`, `num_tokens`, `num_prompt_tokens`,
    `mean_logprob`, `rendered`, `model`; `is_correct` (the file's own verdict: counted, never believed), `error` (why
    there is no completion). A dotted name is a path into a nested value."""
    on_bad_row: str = "drop"
    """What to do with a row that cannot be read. `drop`: leave it out, counted by reason; `error`: end the run."""
    max_bad_share: float = 0.01
    """The run stops where more than this share of all rows is left out."""


@dataclass
class TeacherConfig(EngineConfig):
    """The teacher and its best-of-n sampling. This section also runs the teacher in its own evaluation."""

    kind: str = "vllm"
    """`vllm`: an engine on this cluster. `endpoint`: an OpenAI-compatible server. `recorded`: generations in files."""
    model: str = "embedded:teacher"
    """Kind vllm: `embedded:teacher`, a Hugging Face folder at a path or fsspec URI, or a Hub name. Endpoint: the
    model's name there. Recorded: the name that the generations go by."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    recorded: RecordedConfig = field(default_factory=RecordedConfig)
    samples_per_prompt: int = 8
    """Samples of each training and validation problem (n of best-of-n). Raising it later keeps those that are there."""
    accepted_per_prompt: int | None = None
    """Adaptive best-of-n: a problem is sampled until so many samples are accepted (by `verify` and `curate`), or
    `samples_per_prompt` are spent. Null: always `samples_per_prompt`."""
    lookahead: int = 0
    """Samples of a problem that may run beyond those that are missing. 0 wastes none; more shorten the wait for the
    last problems."""
    futility: float = 0.0
    """Adaptive best-of-n gives a problem up when the chance that the rest of `samples_per_prompt` brings it to
    `accepted_per_prompt` is below this, by the problem's own samples: 0.1 saves tokens on hopeless problems and loses
    few others. 0: no problem is given up."""
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0, "max_tokens": 512})
    """Passes through to vLLM's `SamplingParams`, or into the body of an endpoint's requests."""
    top_logprobs: int = 0
    """The likeliest tokens, with their log-probabilities, that are stored for each token of a sample: what
    `sft.distill` learns from. Of an endpoint the server must give them, and `endpoint.tokenizer` be the teacher's own.
    0: none."""
    resample: dict[str, Any] | None = None
    """Overrides of `sampling` for a second try at a sample that was cut off for length, such as `{max_tokens: 4096}`.
    Null: no second try."""
    system_prompt: str | None = None
    """System message before each question. Null: none."""
    instruction: str | None = None
    """Text put before each question, followed by an empty line. The word `template` stands for a request for `<think>`
    and `<answer>`. Null: none. The student never sees it."""
    two_step: bool = False
    """Two-step zero-shot chain of thought (Fine-tune-CoT): the model continues "Let's think step by step.", then is
    asked for the answer; both are put into the template. For models without a template of their own."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further arguments for the teacher's chat template, such as `{enable_thinking: true}`."""


@dataclass
class EvaluateConfig(EngineConfig):
    """How teacher and student are measured. The engine's keys here are for the student; the teacher is measured with
    those of its own section."""

    splits: list[str] = field(default_factory=lambda: ["test", "longer", "held_out"])
    """Splits to measure: of `test`, `longer`, `held_out`, `validation`, `train`. The champion gate needs `test`."""
    samples_per_prompt: int = 8
    """Samples of each problem."""
    ks: list[int] = field(default_factory=lambda: [1, 4, 8])
    """The k of pass@k, each at most `samples_per_prompt`. pass@1 is always computed; the largest k is also that of
    majority@k."""
    max_cut_share: float = 0.3
    """The largest share of answers as long as the teacher's that `evaluate.sampling.max_tokens` may cut off. Above it
    the run is an error before it starts."""
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 1.0, "max_tokens": 512})
    """Passes through to vLLM's `SamplingParams`, for all three models."""
