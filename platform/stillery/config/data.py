"""Settings of the way from problems to training data: prompts, answer checking, molecules, curation."""

from dataclasses import dataclass, field


@dataclass
class PromptsConfig:
    """Where problems come from.

    source `tasks`: the exact generators, with the numbers of problems a split below (over all tasks together).
    source `file`: JSON (lines or a list), Parquet or CSV files, also compressed, one a split (or a glob or folder of
    several). source `hub`: a Hugging Face dataset, named in
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

    # Our column name to theirs, or to a path into nested values such as meta.answer; only `question` and `answer` are
    # required of the data.
    columns: dict[str, str] = field(default_factory=dict[str, str])
    task: str = "custom"
    # How the answer column holds the answer: `text` (all of it), `hash` (after ####), `boxed` (in \boxed{}).
    answer_format: str = "text"
    answer_kind: str = "auto"
    # How an answer names its choice: `auto`, `letter`, `text`, `index` (from 0), `number` (from 1).
    choice_answers: str = "auto"
    # A row that cannot be used: `drop` it, counted, up to this share of a split's rows, or `error`.
    on_bad_row: str = "drop"
    max_bad_share: float = 0.01


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
    """Reasoning molecules, unless not `enabled`. A trace whose stability lies below `unstable_below` counts as
    unstable."""

    enabled: bool = True
    unstable_below: float = 0.5


@dataclass
class DecontaminateConfig:
    """Evaluation sets that no training problem may be in: paths, globs or folders of files with questions in `column`
    (question, problem or prompt, if it does not say).

    A problem is in a set where it shares a run of `ngram` words with one of the set's, holds a shorter one whole, or,
    with `fuzzy`, is as similar as that (Jaccard, pairs of words). `allow` are prompt_ids or questions that someone
    has looked at and let pass.
    """

    files: list[str] = field(default_factory=list[str])
    column: str | None = None
    ngram: int = 13
    fuzzy: float | None = None
    allow: list[str] = field(default_factory=list[str])


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
    # Rules on a prompt's accepted samples, NAME or NAME:ARGUMENT, one after the other: shortest, random, diverse,
    # stable, pattern (orders), stability:LEAST, tokens:LEAST-MOST, unlike:SIMILARITY (what they leave out).
    rules: list[str] = field(default_factory=list[str])
    # The share of each kind of bond that the rule `pattern` is to be near.
    target_pattern: dict[str, float] = field(default_factory=dict[str, float])
    # Functions of one's own as package.module:function, (generation, verdict) -> reason or None.
    filters: list[str] = field(default_factory=list[str])
    # Leave out problems that are as similar to an earlier one as this (Jaccard, 3-grams of words).
    near_duplicate_prompts: float | None = None
    decontaminate: DecontaminateConfig = field(default_factory=DecontaminateConfig)
    # The share of each part (reasoning, general), by `samples` or `tokens`. Empty: all of every part.
    mixture: dict[str, float] = field(default_factory=dict[str, float])
    mixture_by: str = "samples"
    # Give no weight to steps that the trace later corrects (needs bonds).
    mask_corrected: bool = False
