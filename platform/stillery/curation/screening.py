"""Training problems that must not train, whatever was sampled of them: near-duplicates and contaminated ones."""

import json
from collections.abc import Sequence
from typing import Any

from stillery.config import CurateConfig, DecontaminateConfig
from stillery.curation.contamination import EvaluationIndex, contaminated
from stillery.curation.near_duplicates import find_near_duplicates
from stillery.errors import UserError
from stillery.io.readers.files import find_files, read_rows
from stillery.io.readers.rows import RowError
from stillery.records import Prompt, Split
from stillery.telemetry.logs import logger

QUESTION_COLUMNS = ("question", "problem", "prompt", "query", "Question", "Problem")

Screened = dict[str, tuple[str, str]]


def screen_prompts(config: CurateConfig, prompts: Sequence[Prompt]) -> Screened:
    """For each training or validation problem that is left out, by prompt_id, the reason and the evidence (JSON).

    Of near-duplicates the first stays. A validation problem that repeats a training problem goes, too.
    """
    trained = [p for p in prompts if p.split in (Split.TRAIN, Split.VALIDATION)]
    screened: Screened = {}
    against = config.decontaminate
    if against.files:
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

    A set is a file, glob or folder of files with a column of questions.
    """
    sets: dict[str, list[str]] = {}
    for name in config.files:
        files = find_files([name], key="curate.decontaminate.files")
        questions = [text for filesystem, path in files for text in _questions(filesystem, path, config.column)]
        if not questions:
            raise UserError(f"curate.decontaminate.files: {name} holds no questions; name their column in .column")
        sets[name] = questions
    return sets


def _questions(filesystem: Any, path: str, column: str | None) -> list[str]:
    columns = QUESTION_COLUMNS if column is None else (column,)
    found: list[str] = []
    for row in read_rows(filesystem, path):
        if isinstance(row, RowError):
            raise row
        text = next((row.values[name] for name in columns if isinstance(row.values.get(name), str)), None)
        if text is None:
            raise UserError(
                f"{path}: no column of questions ({', '.join(columns)}); name it in curate.decontaminate.column"
            )
        found.append(text)
    return found
