"""Training problems that are excluded before any sample is considered: near-duplicates and contaminated ones."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stillery.config import CurateConfig, DecontaminateConfig, suggest
from stillery.curation.contamination import EvaluationIndex, contaminated
from stillery.curation.near_duplicates import find_near_duplicates
from stillery.errors import UserError
from stillery.io.readers.files import find_files, fingerprints, read_rows
from stillery.io.readers.rows import Row, RowError
from stillery.problems.standard_sets import STANDARD_SETS, StandardSet, find_set, identify_set, open_set
from stillery.records import Prompt, Split
from stillery.telemetry.logs import logger

QUESTION_COLUMNS = ("question", "problem", "prompt", "query", "Question", "Problem")

_KEY = "curate.decontaminate"

Screened = dict[str, tuple[str, str]]
# In the output of curation, where problems are screened: the reason by prompt_id.
SCREENED = "screened.json"


def screens(config: CurateConfig) -> bool:
    """Whether problems are screened at all."""
    against = config.decontaminate
    return bool(against.files or against.sets) or config.near_duplicate_prompts is not None


def screen_prompts(config: CurateConfig, prompts: Sequence[Prompt]) -> Screened:
    """For each excluded training or validation problem, by prompt_id, the reason and the evidence (JSON).

    Among near-duplicates the first stays. A validation problem that repeats a training problem is excluded too.
    """
    trained = [p for p in prompts if p.split in (Split.TRAIN, Split.VALIDATION)]
    screened: Screened = {}
    against = config.decontaminate
    if against.files or against.sets:
        index = EvaluationIndex(read_evaluation_sets(against), ngram=against.ngram, fuzzy=against.fuzzy)
        hits = contaminated(((p.prompt_id, p.question) for p in trained), index, allowed=set(against.allow))
        for prompt_id, hit in hits.items():
            evidence = json.dumps(hit.as_evidence(), ensure_ascii=False)
            screened[prompt_id] = (f"contaminated: {hit.evaluation_set}", evidence)
        logger.info(f"curate: {len(hits):,} of {len(trained):,} problems are in one of the evaluation sets")
    if config.near_duplicate_prompts is not None:
        left = [p for p in trained if p.prompt_id not in screened]
        pairs = list(find_near_duplicates([p.question for p in left], threshold=config.near_duplicate_prompts))
        for pair in pairs:
            evidence = {
                "of": left[pair.of].prompt_id,
                "similarity": round(pair.similarity, 3),
                "text": left[pair.of].question,
            }
            screened[left[pair.place].prompt_id] = ("near-duplicate prompt", json.dumps(evidence, ensure_ascii=False))
        logger.info(f"curate: {len(pairs):,} of {len(left):,} problems nearly repeat an earlier one")
    return screened


def read_evaluation_sets(config: DecontaminateConfig) -> dict[str, list[str]]:
    """The questions of each evaluation set, by the set's path or name. Raises UserError for one that cannot be read.

    A set is a file, glob or folder of files with a column of questions, or the name of a known set.
    """
    sets: dict[str, list[str]] = {}
    for one in standard_sets(config):
        columns = (one.columns.get("question", "question"), *QUESTION_COLUMNS)
        rows, _ = open_set(one, folder=_data(config), key=f"{_KEY}.data=DATA", columns=columns)
        sets[one.name] = list(_questions(rows, one.name, columns))
    columns = QUESTION_COLUMNS if config.column is None else (config.column,)
    for name in config.files:
        files = find_files([name], key=f"{_KEY}.files")
        sets[name] = [text for fs, path in files for text in _questions(read_rows(fs, path), path, columns)]
    for name, questions in sets.items():
        if not questions:
            raise UserError(f"{_KEY}: {name} holds no questions; name their column in {_KEY}.column")
    return sets


def standard_sets(config: DecontaminateConfig) -> list[StandardSet]:
    """The sets that are given by name. Raises UserError for an unknown name."""
    found: dict[str, StandardSet] = {}
    for name in config.sets:
        one = find_set(name)
        if one is None:
            raise UserError(
                f"{_KEY}.sets: no set {name!r} is known{suggest(name, list(STANDARD_SETS))}; give the path of another "
                f"in {_KEY}.files"
            )
        found[one.name] = one
    return list(found.values())


def evaluation_fingerprints(config: DecontaminateConfig) -> list[str]:
    """The fingerprints of the contents of all evaluation sets."""
    told = fingerprints(config.files, key=f"{_KEY}.files")
    named = [identify_set(one, folder=_data(config), key=f"{_KEY}.data=DATA") for one in standard_sets(config)]
    return [*told, *(json.dumps(source, sort_keys=True) for source in named)]


def _data(config: DecontaminateConfig) -> Path | None:
    if config.data is None:
        return None
    folder = Path(config.data).expanduser()
    if not folder.is_dir():
        raise UserError(f"{_KEY}.data={config.data}: no such folder; it holds SET/test.jsonl or SET.jsonl for each set")
    return folder


def _questions(rows: Iterable[Row | RowError], name: str, columns: Sequence[str]) -> Iterator[str]:
    for row in rows:
        if isinstance(row, RowError):
            raise row
        text = next((row.values[column] for column in columns if isinstance(row.values.get(column), str)), None)
        if text is None:
            raise UserError(f"{name}: no column of questions ({', '.join(columns)}); name it in {_KEY}.column")
        yield text
