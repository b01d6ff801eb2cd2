"""The evaluation sets that are known by name: the location of their problems, and the format of their rows.

Rows come from the user's folder, else from the Hugging Face Hub: `stillery benchmark` measures on them, and curation
keeps them out of training sets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stillery.errors import UserError
from stillery.io.hashing import file_fingerprint
from stillery.io.readers.files import COMPRESSED, SUFFIXES, find_files, read_rows
from stillery.io.readers.rows import Row, RowError
from stillery.problems.hub import hub_revision, read_hub
from stillery.records import digest


@dataclass(frozen=True, slots=True)
class StandardSet:
    """An evaluation set. `dataset`, `subset` and `split` are its place on the Hugging Face Hub (None: only in a
    folder), `columns` our names to theirs, `answer_format` and `answer_kind` as in the config's section `prompts`;
    `wrong` are the columns of wrong choices where there is no column of choices, `also` other spellings of its name, in
    lower case and without signs."""

    name: str
    dataset: str | None = None
    subset: str | None = None
    split: str = "test"
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    answer_format: str = "text"
    answer_kind: str = "auto"
    wrong: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


_MATHS = {"question": "problem", "answer": "answer"}
STANDARD_SETS: dict[str, StandardSet] = {
    one.name: one
    for one in (
        StandardSet("gsm8k", "openai/gsm8k", "main", answer_format="hash", answer_kind="number"),
        StandardSet("math500", "HuggingFaceH4/MATH-500", columns=_MATHS),
        StandardSet("aime24", "HuggingFaceH4/aime_2024", split="train", columns=_MATHS, answer_kind="number",
                    also=("aime2024",)),
        StandardSet("aime25", "math-ai/aime25", columns=_MATHS, answer_kind="number", also=("aime2025",)),
        StandardSet("gpqa", "Idavidrein/gpqa", "gpqa_diamond", "train",
                    {"question": "Question", "answer": "Correct Answer"}, answer_kind="choice", also=("gpqadiamond",),
                    wrong=("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")),
        StandardSet("mmlu", "cais/mmlu", "all", answer_kind="choice"),
        StandardSet("arc_challenge", "allenai/ai2_arc", "ARC-Challenge", columns={"answer": "answerKey"},
                    answer_kind="choice", also=("arcc",)),
        # The authors' own repository is a script, which `datasets` no longer runs; this one has its rows as Parquet.
        StandardSet("livecodebench", "lighteval/code_generation_lite", "release_latest",
                    columns={"question": "question_content"}, answer_kind="code", also=("lcb",)),
    )
}  # fmt: skip


def find_set(name: str) -> StandardSet | None:
    """The set with a name in any usual spelling (`AIME 2024`, `MATH-500`); None for another name."""
    plain = _plain(name)
    return next((one for one in STANDARD_SETS.values() if plain in (_plain(one.name), *one.also)), None)


def open_set(
    one: StandardSet, *, folder: Path | None, key: str, columns: Sequence[str] | None = None
) -> tuple[Iterator[Row | RowError], dict[str, str]]:
    """The rows of a set, and their source, by contents or revision. If `columns` are given no others need be read: the
    tests of a problem may take megabytes.

    Raises UserError, naming the remedy, for a set that is neither in the folder nor available on the Hub; `key` is the
    setting or option of the folder.
    """
    file = None if folder is None else file_of(folder, one)
    if file is not None:
        ((filesystem, path),) = find_files([str(file)], key=one.name)
        return read_rows(filesystem, path), identify_set(one, folder=folder, key=key)
    copy = None if folder is None else copy_of(folder, one)
    dataset = str(copy or _place(one, folder))
    source = identify_set(one, folder=folder, key=key)
    revision = None if copy is not None else source["revision"]
    try:
        found = read_hub(
            dataset, subset=one.subset, revision=revision, splits=[one.split], columns=columns, key=one.name
        )
    except UserError as error:
        raise UserError(f"{error}. {_remedy(one, key)}") from None
    return found[one.split], source


def identify_set(one: StandardSet, *, folder: Path | None, key: str) -> dict[str, str]:
    """The source of a set, with its contents' hash or the Hub's revision. Raises UserError if it is not found."""
    if folder is not None and (file := file_of(folder, one)) is not None:
        return {"file": file.name, "sha256": file_fingerprint(file)}
    subset = {} if one.subset is None else {"subset": one.subset}
    if folder is not None and (copy := copy_of(folder, one)) is not None:
        files = sorted(path for path in copy.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(copy)))
        held = digest([[str(path.relative_to(copy)), file_fingerprint(path)] for path in files])
        return {"dataset": copy.name, **subset, "split": one.split, "sha256": held}
    dataset = _place(one, folder)
    try:
        revision = hub_revision(dataset, key=one.name)
    except UserError as error:
        raise UserError(f"{error}. {_remedy(one, key)}") from None
    return {"dataset": dataset, **subset, "split": one.split, "revision": revision or "a local folder"}


def file_of(folder: Path, one: StandardSet) -> Path | None:
    """The file of a set in a folder: NAME/SPLIT.* (or the one file of NAME), or NAME.*; None if there is none."""
    inside = folder / one.name
    files = sorted(p for p in inside.iterdir() if p.is_file() and stem_of(p.name)) if inside.is_dir() else []
    named = [path for path in files if stem_of(path.name) in (one.split, "test")]
    beside = sorted(path for path in folder.iterdir() if path.is_file() and stem_of(path.name) == one.name)
    found = named or (files if len(files) == 1 else []) or beside
    return found[0] if found else None


def copy_of(folder: Path, one: StandardSet) -> Path | None:
    """The folder NAME if it is a copy of a dataset's repository, with its files in folders; None else."""
    inside = folder / one.name
    return inside if inside.is_dir() and any(stem_of(path.name) for path in inside.rglob("*")) else None


def stem_of(name: str) -> str:
    """A file's name without the suffixes of readable formats; empty for other formats."""
    plain = next((name.removesuffix(end) for end in COMPRESSED if name.endswith(end)), name)
    return next((plain.removesuffix(end) for end in SUFFIXES if plain.endswith(end)), "")


def _place(one: StandardSet, folder: Path | None) -> str:
    if one.dataset is None:
        raise UserError(f"{one.name}: no file of it in {folder}, and it has no place on the Hub")
    return one.dataset


def _remedy(one: StandardSet, key: str) -> str:
    return (
        f"Without a network: put {one.name}.jsonl, or what `hf download {one.dataset} --repo-type dataset --local-dir "
        f"DATA/{one.name}` gets elsewhere, into a folder DATA, and give its path ({key})"
    )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
