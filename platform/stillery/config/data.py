"""Config of the stages from problems to training data: prompts, verify, bonds, curate."""

from dataclasses import dataclass, field
from typing import Any

from stillery.config.sampling import EndpointConfig, EngineConfig


@dataclass
class PromptsConfig:
    """Where problems come from. Keys marked `tasks`, `file` or `hub` apply to that source only."""

    source: str = "tasks"
    """`tasks` (exact generators), `file`, `hub` (a Hugging Face dataset), or `run` (another run's problems)."""
    tasks: list[str] = field(default_factory=list[str])
    """`tasks`: the generators to use; empty: all six that models train on. `dates` is always the held-out task and
    cannot be named."""
    num_train: int = 900
    """`tasks`: training problems, spread evenly over the tasks. At least 1."""
    num_validation: int = 60
    """`tasks`: validation problems. At least 1."""
    num_test: int = 240
    """`tasks`: test problems. At least 1."""
    num_longer: int = 60
    """`tasks`: problems with more steps than any model trains on. May be 0."""
    num_held_out: int = 40
    """`tasks`: problems of the held-out task. May be 0."""

    dataset: str | None = None
    """`hub`: name of the dataset, or a local folder that `datasets` can load."""
    subset: str | None = None
    """`hub`: the dataset's configuration, such as `main`."""
    train: str | None = None
    """`file`: the training file (path or fsspec URI), or a glob or folder of several; JSON (lines or a list), Parquet,
    CSV or TSV, plain or compressed (gzip, bzip2, xz, zstd). `hub`: name of the dataset's split. Required for both."""
    validation: str | None = None
    """The same for validation. Null: taken from the training problems."""
    test: str | None = None
    """The same for test. Required for both."""
    validation_fraction: float = 0.05
    """Share of the training problems that becomes validation if `validation` is null: between 0 and 1, chosen by a hash
    of the question, at least one problem."""
    limit_train: int | None = None
    """`file`, `hub`: number of training problems to use, the first ones. Validation is taken from these. Null: all."""
    limit_test: int | None = None
    """`file`, `hub`: number of test problems to use, the first ones. Null: all."""

    columns: dict[str, str] = field(default_factory=dict[str, str])
    """`file`, `hub`: column mapping, from our names to theirs. Ours are `question`, `answer`, `task`, `prompt_id`,
    `choices`, `answer_kind`, `tests`; required are `question`, and an answer or, for code, tests. A dotted name is a
    path into a nested value, such as `meta.answer` or `messages.0.content`. `stillery prompts --inspect FILE` proposes
    the mapping."""
    task: str = "custom"
    """`file`, `hub`: name of the task if the data has no task column. Metrics are reported per task."""
    answer_format: str = "text"
    r"""`file`, `hub`: position of the answer in its cell. `text`: all of it; `hash`: after the last `####`; `boxed`: in
    the last `\boxed{}`."""
    answer_kind: str = "auto"
    """`file`, `hub`: `number`, `expression`, `choice`, `string`, `yes_no`, `set`, `date`, `code` (tests), `judged` (by
    a model), `none` (never checked), or `auto` (inferred from each answer)."""
    choice_answers: str = "auto"
    """`file`, `hub`: how an answer names one of its row's `choices`: `letter`, `text`, `index` (from 0), `number` (from
    1), or `auto`: a letter or a text, or a whole number as an index from 0. A number that is the text of one choice and
    the index of another is an error."""
    run: str | None = None
    """`run`: name, path or URI of the other run."""
    failed_below: float | None = None
    """`run`: use only training problems with a pass rate below this in that run (by its stage `verify`). Null: all."""
    verified: str | None = None
    """`run`, with `failed_below`: the fingerprint of the output of `verify` that decides it. Null: the latest."""
    on_bad_row: str = "drop"
    """`file`, `hub`: what to do with an unusable row. `drop`: leave it out, counted by reason; `error`: end the run."""
    max_bad_share: float = 0.01
    """`file`, `hub`: the largest share of a split's rows that may be left out; above it the run stops."""


@dataclass
class CodeConfig:
    """Limits on model-written code for problems with tests. Where the kernel supports it (user namespaces, seccomp),
    the code has no network, no other processes and no files but its own; a log line says where it does not."""

    cpu_s: float = 5.0
    """CPU seconds per test; the assertions of a problem count as one. Beyond that the answer is wrong."""
    wall_s: float = 60.0
    """Seconds (wall clock) for all tests of one answer before its verdict is `timeout`."""
    memory_mb: int = 1024
    """MiB of address space."""
    output_kb: int = 1024
    """KiB of printed output, and of each file written."""


@dataclass
class JudgeConfig(EngineConfig):
    """A model that judges answers no rule can check: those of problems with `answer_kind: judged`."""

    kind: str = "none"
    """`none`, `vllm` (an engine on this cluster) or `endpoint` (an OpenAI-compatible server)."""
    model: str = ""
    """Like `teacher.model`."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 0.0, "max_tokens": 1024})
    """Passes through to vLLM's `SamplingParams`, or into the request body of an endpoint."""
    system_prompt: str | None = None
    """System message of the judge. Null: none."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    """Extra arguments for its chat template."""
    undecided: bool = False
    """Also ask it where the rules reached no verdict: no answer found, or a comparison that failed or timed out."""


@dataclass
class VerifyConfig:
    """How answers are graded. The grading policy has no settings: docs/concepts/verification.md."""

    num_processes: int = 2
    """Worker processes for comparisons that need computer algebra."""
    deadline_s: float = 5.0
    """Seconds (wall clock) for one comparison before its verdict is `timeout`."""
    max_actors: int = 1
    """Maximum number of grading actors, each with its own `num_processes`; one is started, and more while answers
    wait."""
    num_cpus: float = 0.25
    """CPUs that Ray reserves for one grading actor. On a cluster with many CPUs: 1 or more."""
    function: str | None = None
    """Your own verifier as `package.module:function`: (GradingTask) -> True, False or None (the rules decide),
    optionally with a text as evidence. It runs in the worker processes, each call within `deadline_s`."""
    code: CodeConfig = field(default_factory=CodeConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)


@dataclass
class BondsConfig:
    """Reasoning molecules: docs/concepts/bonds.md."""

    enabled: bool = True
    """Whether the stages `bonds` and `compare_bonds` run. Registration and report work without them."""
    unstable_below: float = 0.5
    """A trace with a stability below this counts as unstable."""


@dataclass
class DecontaminateConfig:
    """Evaluation sets whose problems must not be among the training problems."""

    files: list[str] = field(default_factory=list[str])
    """The sets: paths, globs or folders of files with a question column."""
    sets: list[str] = field(default_factory=list[str])
    """Standard sets by name: `aime24`, `aime25`, `arc_challenge`, `gpqa`, `gsm8k`, `livecodebench`, `math500`, `mmlu`;
    variants such as `AIME 2024` are recognised. They are read from `data`, else from the Hugging Face Hub."""
    data: str | None = None
    """A folder of standard sets for machines without network access, each as NAME.jsonl, NAME/test.jsonl (any format
    that problems are read from), or as the folder NAME of a downloaded dataset."""
    column: str | None = None
    """Their question column. Null: `question`, `problem` or `prompt`."""
    ngram: int = 13
    """Length in words of the n-gram that a contaminated problem shares with an evaluation problem; shorter evaluation
    problems must be contained whole."""
    fuzzy: float | None = None
    """Similarity (Jaccard, word pairs) from which a problem counts as contaminated without such an n-gram. Null:
    n-grams alone."""
    allow: list[str] = field(default_factory=list[str])
    """prompt_ids or questions that have been reviewed and may stay."""


@dataclass
class CurateConfig:
    """Which generations become training data: correct ones, in order of sample index."""

    max_per_prompt: int = 4
    """Maximum number of accepted samples per problem, in order of sample index."""
    require_template: bool = True
    """Drop samples that do not follow the template."""
    deduplicate: bool = True
    """Drop a completion that repeats an accepted one of the same problem, character for character except for
    surrounding whitespace. It does not count for `teacher.accepted_per_prompt`."""
    drop_flags: list[str] = field(default_factory=list[str])
    """Drop samples with any of these readability flags."""
    min_pass_rate: float = 0.0
    """Drop problems with a pass rate below this: a rare success may be a guess."""
    max_pass_rate: float = 1.0
    """Drop problems with a pass rate above this: a problem that is always solved teaches little."""
    rules: list[str] = field(default_factory=list[str])
    """Rules on a prompt's accepted samples, `NAME` or `NAME:ARGUMENT`, applied in turn. Orders: `shortest`, `random`,
    `diverse`, `stable`, `pattern`. Filters: `stability:LEAST` drops less stable samples, `tokens:LEAST-MOST` those
    outside, `unlike:SIMILARITY` those similar to an earlier one. The first `max_per_prompt` stay."""
    target_pattern: dict[str, float] = field(default_factory=dict[str, float])
    """Target share of each kind of bond for the rule `pattern`."""
    filters: list[str] = field(default_factory=list[str])
    """Your own functions as `package.module:function`: (generation, verdict) -> the reason to drop it, or None."""
    near_duplicate_prompts: float | None = None
    """Drop problems at least this similar to an earlier one (Jaccard, 3-grams of words; 0.8 is usual)."""
    decontaminate: DecontaminateConfig = field(default_factory=DecontaminateConfig)
    near_duplicate_traces: float | None = None
    """Drop traces at least this similar to an earlier one of another problem (Jaccard, 3-grams of words, estimated from
    128 hashes to within about 0.04). For traces of the same problem: the rule `unlike`."""
    mixture: dict[str, float] = field(default_factory=dict[str, float])
    """Share of each part, such as `{reasoning: 0.8, general: 0.2}`; the part that is scarcest relative to its share is
    kept whole. Empty: all of every part."""
    sources: dict[str, float] = field(default_factory=dict[str, float])
    """Share of each teacher, by its name in the samples (`endpoint:NAME` for a server), if `teacher.recorded.files`
    reads several files, runs and teachers together. Other teachers are left out. With `bonds.enabled` a warning says
    where their bond patterns differ. Empty: all of each."""
    licenses: dict[str, str] = field(default_factory=dict[str, str])
    """Licences for the card of the training set: of the `problems`, and of teachers by their name in the samples or in
    `teacher.model`, such as `{problems: mit, "endpoint:big": cc-by-4.0}`. Those not named here are read from the cards
    (README.md) beside the problems, the model or the recorded generations."""
    balance: dict[str, float] = field(default_factory=dict[str, float])
    """Balances `task`, `length` (bands from one power of two to the next), `difficulty` (always, mostly or seldom
    solved) or `teacher`: a group of n samples gets a share proportional to n to this power; 1 changes nothing, 0 makes
    all groups equal."""
    mixture_by: str = "samples"
    """Unit of the shares: `samples` or `tokens`."""
    mask_corrected: bool = False
    """Give no training weight to steps that the trace later corrects (needs bonds)."""
    bond_weight: float = 0.0
    """Share of a step's training weight that depends on its bonds, 0 to 1 (needs bonds): steps that the answer rests
    on, and steps that check those, weigh more in the loss than abandoned branches. Steps that are later corrected then
    have no weight. 0: all steps weigh the same."""
    bond_tags: float = 0.0
    """Share of training samples, 0 to 1, whose question starts with a line that names the bonds of the trace, such as
    `[bonds: reflect 1, explore 0]` (needs bonds; docs/guides/training.md). With half of them tagged, the student can
    still answer without a tag. 0: none."""
