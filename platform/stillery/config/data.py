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
    """`tasks`: the generators to use; empty means all six that models train on. `dates` is always the held-out task and
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
    """The same for validation. Null: a part of the training problems."""
    test: str | None = None
    """The same for test. Required for both."""
    validation_fraction: float = 0.05
    """Share of the training problems that becomes validation where `validation` is null: between 0 and 1, by hash of
    the question, at least one problem."""
    limit_train: int | None = None
    """`file`, `hub`: use only the first so many training problems. Validation is taken out of these."""
    limit_test: int | None = None
    """`file`, `hub`: use only the first so many test problems."""

    columns: dict[str, str] = field(default_factory=dict[str, str])
    """`file`, `hub`: our column name to theirs. Ours are `question`, `answer`, `task`, `prompt_id`, `choices`,
    `answer_kind`, `tests`; the first is required, and an answer or, for code, tests. A dotted name is a path into a
    nested value, such as `meta.answer` or `messages.0.content`. `stillery prompts --inspect FILE` proposes the
    mapping."""
    task: str = "custom"
    """`file`, `hub`: name of the task where the data has no task column. Metrics are split by it."""
    answer_format: str = "text"
    r"""`file`, `hub`: where the answer is in its cell. `text`: all of it; `hash`: after the last `####`; `boxed`: in
    the last `\boxed{}`."""
    answer_kind: str = "auto"
    """`file`, `hub`: `number`, `expression`, `choice`, `string`, `yes_no`, `set`, `date`, `code` (tests), `judged` (by
    a model), `none` (never checked), or `auto` (inferred from each answer)."""
    choice_answers: str = "auto"
    """`file`, `hub`: how an answer names one of its row's `choices`: `letter`, `text`, `index` (from 0), `number` (from
    1), or `auto`: a letter or a text, or a whole number as an index from 0. A number that is the text of one choice and
    the index of another is an error."""
    run: str | None = None
    """`run`: the other run by its name, path or URI."""
    failed_below: float | None = None
    """`run`: of its training problems only those of whose samples there (as its stage `verify` has them) less than this
    share is right. Null: all."""
    verified: str | None = None
    """`run`, with `failed_below`: the fingerprint of the output of `verify` there that says which failed. Null: the
    latest."""
    on_bad_row: str = "drop"
    """`file`, `hub`: what to do with a row that cannot be used. `drop`: leave it out, counted by reason; `error`: end
    the run."""
    max_bad_share: float = 0.01
    """`file`, `hub`: the run stops where more than this share of a split's rows is left out."""


@dataclass
class CodeConfig:
    """Limits of the code that models write for problems with tests. It has no network, no other process and no file
    beside its own where the kernel allows that (user namespaces, seccomp); a log line says where it does not."""

    cpu_s: float = 5.0
    """Seconds of CPU time of one test; the assertions of a problem count as one. Beyond them the answer is wrong."""
    wall_s: float = 60.0
    """Seconds (wall clock) of all tests of one answer before its verdict is `timeout`."""
    memory_mb: int = 1024
    """MiB of address space."""
    output_kb: int = 1024
    """KiB of what it prints, and of each file that it writes."""


@dataclass
class JudgeConfig(EngineConfig):
    """A model that judges answers which no rule can check: those of problems with `answer_kind: judged`."""

    kind: str = "none"
    """`none`, `vllm` (an engine on this cluster) or `endpoint` (an OpenAI-compatible server)."""
    model: str = ""
    """Like `teacher.model`."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    sampling: dict[str, Any] = field(default_factory=lambda: {"temperature": 0.0, "max_tokens": 1024})
    """Passes through to vLLM's `SamplingParams`, or into the body of an endpoint's requests."""
    system_prompt: str | None = None
    """System message before what it is asked. Null: none."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further arguments for its chat template."""
    undecided: bool = False
    """Ask it also where the rules came to no verdict: no answer found, a comparison that failed or took too long."""


@dataclass
class VerifyConfig:
    """How answers are graded. The grading policy has no settings: docs/concepts/verification.md."""

    num_processes: int = 2
    """Worker processes that compare answers which need computer algebra."""
    deadline_s: float = 5.0
    """Seconds (wall clock) that one comparison may take before its verdict is `timeout`."""
    max_actors: int = 1
    """Grading actors, each with its own `num_processes`; one is started, more while answers wait."""
    num_cpus: float = 0.25
    """Ray's CPUs that one of them takes. On a cluster with many of them: 1 or more."""
    function: str | None = None
    """A verifier of your own as `package.module:function`: (GradingTask) -> True, False or None (the rules decide),
    alone or with a text as evidence. It runs in the worker processes, each call within `deadline_s`."""
    code: CodeConfig = field(default_factory=CodeConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)


@dataclass
class BondsConfig:
    """Reasoning molecules: docs/concepts/bonds.md."""

    enabled: bool = True
    """Whether the stages `bonds` and `compare_bonds` run. Registration and report do without them."""
    unstable_below: float = 0.5
    """A trace with a stability below this counts as unstable."""


@dataclass
class DecontaminateConfig:
    """Evaluation sets that no training problem may be in."""

    files: list[str] = field(default_factory=list[str])
    """The sets: paths, globs or folders of files with a column of questions."""
    sets: list[str] = field(default_factory=list[str])
    """Standard sets by name: `aime24`, `aime25`, `arc_challenge`, `gpqa`, `gsm8k`, `livecodebench`, `math500`, `mmlu`;
    `AIME 2024` and the like are understood. They are read from `data`, else from the Hugging Face Hub."""
    data: str | None = None
    """A folder of standard sets for machines without a network, each as NAME.jsonl, NAME/test.jsonl (any format that
    problems are read from), or as the folder NAME of a downloaded dataset."""
    column: str | None = None
    """Their column of questions; null: `question`, `problem` or `prompt`."""
    ngram: int = 13
    """Words of a run that a problem must share with one of a set to be in it; shorter ones must be held whole."""
    fuzzy: float | None = None
    """Similarity (Jaccard, pairs of words) from which a problem is in a set without such a run."""
    allow: list[str] = field(default_factory=list[str])
    """prompt_ids or questions that someone has looked at and let pass."""


@dataclass
class CurateConfig:
    """Which generations become training data: correct ones, in order of sample index."""

    max_per_prompt: int = 4
    """At most so many accepted samples of one problem, in order of sample index."""
    require_template: bool = True
    """Drop samples that depart from the template."""
    deduplicate: bool = True
    """Drop a completion that repeats an accepted one of the same problem, character for character but for outer
    spacing. It does not count for `teacher.accepted_per_prompt`."""
    drop_flags: list[str] = field(default_factory=list[str])
    """Drop samples that carry one of these readability flags."""
    min_pass_rate: float = 0.0
    """Drop problems with a pass rate below this: what is hardly ever solved may have been guessed."""
    max_pass_rate: float = 1.0
    """Drop problems with a pass rate above this: what is always solved teaches little."""
    rules: list[str] = field(default_factory=list[str])
    """Rules on a prompt's accepted samples, `NAME` or `NAME:ARGUMENT`, one after the other. Orders: `shortest`,
    `random`, `diverse`, `stable`, `pattern`; left out: below `stability:LEAST`, outside `tokens:LEAST-MOST`, like an
    earlier one by `unlike:SIMILARITY`. The first `max_per_prompt` stay."""
    target_pattern: dict[str, float] = field(default_factory=dict[str, float])
    """The share of each kind of bond that the rule `pattern` is to be near."""
    filters: list[str] = field(default_factory=list[str])
    """Functions of your own as `package.module:function`: (generation, verdict) -> reason for leaving it out, or
    None."""
    near_duplicate_prompts: float | None = None
    """Leave out problems that are as similar to an earlier one as this (Jaccard, 3-grams of words; 0.8 is usual)."""
    decontaminate: DecontaminateConfig = field(default_factory=DecontaminateConfig)
    near_duplicate_traces: float | None = None
    """Leave out a trace that is as similar as this to an earlier one of another problem (Jaccard, 3-grams of words,
    estimated from 128 hashes to within some 0.04). Of one problem's traces: the rule `unlike`."""
    mixture: dict[str, float] = field(default_factory=dict[str, float])
    """The share of each part, such as `{reasoning: 0.8, general: 0.2}`; the part that is scarcest for its share stays
    whole. Empty: all of every part."""
    sources: dict[str, float] = field(default_factory=dict[str, float])
    """The share of each teacher by its name in the samples (`endpoint:NAME` for one that was a server), as several
    files, runs and teachers are read together by `teacher.recorded.files`. Others are left out. With `bonds.enabled` a
    warning says where their bond patterns differ. Empty: all of each."""
    licenses: dict[str, str] = field(default_factory=dict[str, str])
    """Licences for the card of the training set: of the `problems`, and of teachers by their name in the samples or in
    `teacher.model`, such as `{problems: mit, "endpoint:big": cc-by-4.0}`. What is not named here is read from the cards
    (README.md) beside the problems, the model or the recorded generations."""
    balance: dict[str, float] = field(default_factory=dict[str, float])
    """Evens out `task`, `length` (bands from a power of two to the next), `difficulty` (always, mostly or seldom
    solved) or `teacher`: a group of n samples gets a share like n to this power; 1 changes nothing, 0 makes all equal.
    """
    mixture_by: str = "samples"
    """What shares are counted in: `samples` or `tokens`."""
    mask_corrected: bool = False
    """Give no weight in training to steps that the trace later corrects (needs bonds)."""
    bond_weight: float = 0.0
    """The share of a step's weight in training that it has from its bonds, 0 to 1 (needs bonds): the loss of what the
    answer rests on, and of what checks that, weighs more than the loss of branches that are given up. Steps that are
    later corrected then carry none. 0: all steps weigh alike."""
    bond_tags: float = 0.0
    """The share of training samples, 0 to 1, whose question begins with a line that names the bonds of the trace, such
    as `[bonds: reflect 1, explore 0]` (needs bonds; docs/guides/training.md). Half of them leaves the student able to
    answer without. 0: none."""
