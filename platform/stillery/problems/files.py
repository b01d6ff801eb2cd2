"""Problems from files and from Hugging Face datasets.

In: the prompts section of the config. Out: Prompt rows of train, validation and test, and what was left out of each,
counted by reason. Their columns are mapped to ours by `prompts.columns`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stillery.config import PromptsConfig, suggest
from stillery.errors import UserError
from stillery.io.readers.files import find_files, read_rows
from stillery.io.readers.rows import Row, RowError
from stillery.io.readers.skipped_rows import POLICIES, SkippedRows
from stillery.problems.choices import CHOICE_ANSWERS
from stillery.problems.gold import FORMATS
from stillery.problems.hub import read_hub
from stillery.problems.problem_rows import COLUMNS, Placed, to_problem
from stillery.problems.splits import carve_validation, drop_repeated, drop_shared
from stillery.records import AnswerKind, Prompt, Split
from stillery.verify.compare import AUTO


@dataclass(frozen=True, slots=True)
class Loaded:
    """Problems, train first, then validation, then test; and for each split that was read, the rows left out of it."""

    prompts: list[Prompt]
    left_out: dict[Split, SkippedRows]


def load_prompts(config: PromptsConfig, *, revision: str | None = None) -> Loaded:
    """The problems of the source `file` or `hub`.

    `limit_train` and `limit_test` keep the first rows of a split; validation is taken from the kept ones. Raises
    UserError for invalid settings, for data that cannot be read, and where more rows of a split are unusable than
    `max_bad_share` allows.
    """
    check_settings(config)
    left_out: dict[Split, SkippedRows] = {}
    splits: dict[Split, list[Placed]] = {}
    for split, rows in _sources(config, revision=revision).items():
        left_out[split] = SkippedRows("prompts", config.on_bad_row, config.max_bad_share)
        problems = to_problems(rows, config=config, split=split, left_out=left_out[split])
        splits[split] = drop_repeated(problems, left_out=left_out[split])
        left_out[split].check()
    splits = drop_shared(splits, left_out=left_out)
    for told in left_out.values():
        told.check()
    train, test = splits[Split.TRAIN][: config.limit_train], splits[Split.TEST][: config.limit_test]
    validation = splits.get(Split.VALIDATION)
    if validation is None:
        train, validation = carve_validation(train, fraction=config.validation_fraction)
    if all(placed.prompt.answer is None for placed in test):
        raise UserError(f"prompts.test={config.test}: no problem of it has an answer, so nothing could be measured")
    return Loaded([placed.prompt for placed in (*train, *validation, *test)], left_out)


def split_names(config: PromptsConfig) -> dict[Split, str]:
    """The file or the dataset's split behind each of our splits. Raises UserError without train or test."""
    names = {Split.TRAIN: config.train, Split.VALIDATION: config.validation, Split.TEST: config.test}
    for split in (Split.TRAIN, Split.TEST):
        if names[split] is None:
            why = "the student could not be measured" if split == Split.TEST else "there is nothing to train on"
            what = "a file" if config.source == "file" else "the name of a split of the dataset"
            raise UserError(f"prompts.{split} is not set, so {why}; set it to {what}")
    return {split: name for split, name in names.items() if name is not None}


def to_problems(
    rows: Iterable[Row | RowError], *, config: PromptsConfig, split: Split, left_out: SkippedRows
) -> list[Placed]:
    """The rows of one split as problems; invalid ones are counted. Raises UserError for a mapped column that no row
    has, and if there are no rows."""
    problems: list[Placed] = []
    seen: set[str] = set()
    for row in rows:
        left_out.num_rows += 1
        try:
            if isinstance(row, RowError):
                raise row
            problems.append(to_problem(row, config=config, split=split, seen=seen))
        except RowError as fault:
            left_out.add(fault)
    if left_out.num_rows == 0:
        raise UserError(f"{split_names(config)[split]}: the file has no rows; give one with at least one problem")
    left_out.check()
    for ours, theirs in config.columns.items():
        if ours not in seen:
            raise UserError(
                f"{split_names(config)[split]}: no row has a column {theirs!r} for the {ours}, which "
                f"prompts.columns.{ours} names; correct it or leave it out"
            )
    return problems


def count_rows(config: PromptsConfig) -> dict[Split, int]:
    """The number of rows of each split's file, before invalid and repeated ones are left out. Raises UserError if one
    cannot be read."""
    return {split: sum(1 for _ in _read(split, name)) for split, name in split_names(config).items()}


def check_settings(config: PromptsConfig) -> None:
    """Raise UserError for inconsistent settings of files and datasets."""
    kinds = [AUTO, *map(str, AnswerKind)]
    named = (
        ("answer_kind", config.answer_kind, kinds),
        ("answer_format", config.answer_format, FORMATS),
        ("choice_answers", config.choice_answers, CHOICE_ANSWERS),
        ("on_bad_row", config.on_bad_row, POLICIES),
    )
    for name, value, known in named:
        if value not in known:
            raise UserError(f"prompts.{name} is {value!r}{suggest(value, known)}")
    for key in config.columns:
        if key not in COLUMNS:
            raise UserError(f"prompts.columns.{key}: not one of our columns{suggest(key, COLUMNS)}")
    for name, limit in (("limit_train", config.limit_train), ("limit_test", config.limit_test)):
        if limit is not None and limit < 1:
            raise UserError(f"prompts.{name} is {limit}; it must be above 0, or null for all")


def _sources(config: PromptsConfig, *, revision: str | None) -> dict[Split, Iterator[Row | RowError]]:
    names = split_names(config)
    if config.source == "file":
        return {split: _read(split, name) for split, name in names.items()}
    if config.dataset is None:
        raise UserError("prompts.source is hub, but prompts.dataset is not set; name a dataset or a local folder")
    found = read_hub(config.dataset, subset=config.subset, revision=revision, splits=list(names.values()))
    return {split: iter(found[name]) for split, name in names.items()}


def _read(split: Split, name: str) -> Iterator[Row | RowError]:
    for filesystem, path in find_files([name], key=f"prompts.{split}"):
        yield from read_rows(filesystem, path)
