"""Problems and pairs: which samples are paired, and which are left out."""

from dataclasses import replace
from pathlib import Path

import pytest

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Prompt, Split
from stillery.sampling.chat.conversation import ChatFormat, Conversation, open_conversation
from stillery.training.problems import StudentProblem, first_of
from stillery.training.refine.data import (
    PreferencePair,
    choose_pairs,
    lengths_of,
    write_pairs,
    write_problems,
)
from support.refine_runs import make_generation, make_verdict, small_prompts, templated, write_tables


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    return open_conversation(ChatFormat("embedded:student"), key="sft.student")


def test_pairs_are_of_graded_samples_that_keep_to_the_template() -> None:
    (prompt, *_) = small_prompts()
    verdicts = ["wrong", "correct", "timeout", "correct", "wrong", "truncated", "correct", "wrong"]
    rows = [
        (generation := make_generation(prompt, n, f"text {n}"), make_verdict(generation, verdict))
        for n, verdict in enumerate(verdicts)
    ]
    broken = make_generation(prompt, 9, "text 9")
    rows.append((broken, make_verdict(broken, "wrong", template="two_answers")))
    pairs = choose_pairs(rows, most=9)
    assert [(right.sample_index, wrong.sample_index) for right, wrong in pairs] == [(1, 0), (3, 4), (6, 7)]
    assert len(choose_pairs(rows, most=2)) == 2
    assert choose_pairs(rows[1:4], most=9) == []


def test_pairs_in_tokens(tmp_path: Path, conversation: Conversation) -> None:
    tables = write_tables(tmp_path)
    num_pairs = write_pairs(conversation, **tables, data=Folder(str(tmp_path / "data")), most=2, max_length=None)
    pairs = Folder(str(tmp_path / "data")).read_rows("pairs.parquet", PreferencePair)
    assert num_pairs == len(pairs) == 16
    answers = {p.prompt_id: p.answer for p in tables["prompts"].read_rows("prompts.parquet", Prompt)}
    for pair in pairs:
        end = conversation.tokenizer.eos_token_id
        assert end in pair.rejected_ids
        written = pair.chosen_ids[: pair.chosen_ids.index(end)]
        assert conversation.tokenizer.decode(written) == templated(answers[pair.prompt_id] or "")


def test_no_pair_is_an_error_with_a_remedy(tmp_path: Path, conversation: Conversation) -> None:
    tables = write_tables(tmp_path)
    with pytest.raises(UserError, match=r"no pair .* \(16 too long\).*teacher\.samples_per_prompt"):
        write_pairs(conversation, **tables, data=Folder(str(tmp_path / "data")), most=2, max_length=3)


def test_problems_are_those_with_an_answer(tmp_path: Path, conversation: Conversation) -> None:
    tables = write_tables(tmp_path)
    lengths = lengths_of(**tables)
    data = Folder(str(tmp_path / "data"))
    counts = write_problems(conversation, prompts=tables["prompts"], data=data, lengths=lengths)
    assert counts == {"train": 16, "validation": 8}
    problem = data.read_rows("train.parquet", StudentProblem)[0]
    assert problem.question in problem.rendered
    assert problem.teacher_length == pytest.approx(lengths[problem.prompt_id][0])
    general = [p for p in small_prompts() if p.split != Split.VALIDATION]
    tables["prompts"].write_rows("prompts.parquet", general, Prompt)
    with pytest.raises(UserError, match=r"no validation problem.*prompts\.num_validation"):
        write_problems(conversation, prompts=tables["prompts"], data=data, lengths={})


def test_what_curation_has_excluded_or_a_judge_must_grade_trains_nothing(
    tmp_path: Path, conversation: Conversation
) -> None:
    tables, data = write_tables(tmp_path), Folder(str(tmp_path / "data"))
    first, second, *rest = [p for p in small_prompts() if p.split == Split.TRAIN]
    others = [p for p in small_prompts() if p.split != Split.TRAIN]
    judged = replace(second, answer_kind="judged")
    tables["prompts"].write_rows("prompts.parquet", [first, judged, *rest, *others], Prompt)
    screened = {first.prompt_id}
    counts = write_problems(conversation, prompts=tables["prompts"], data=data, lengths={}, screened=screened)
    assert counts == {"train": 14, "validation": 8}
    left = {p.prompt_id for p in data.read_rows("train.parquet", StudentProblem)}
    assert left == {p.prompt_id for p in rest}
    write_pairs(conversation, **tables, data=data, most=2, max_length=None, screened=screened)
    paired = {pair.prompt_id for pair in data.read_rows("pairs.parquet", PreferencePair)}
    assert paired == left | {second.prompt_id}


def test_validation_problems_are_spread_over_all(tmp_path: Path, conversation: Conversation) -> None:
    tables, data = write_tables(tmp_path), Folder(str(tmp_path / "data"))
    write_problems(conversation, prompts=tables["prompts"], data=data, lengths={})
    problems = data.read_rows("train.parquet", StudentProblem)
    assert first_of(problems, 4) == problems[::4]
    assert first_of(problems, None) == first_of(problems, 99) == problems
