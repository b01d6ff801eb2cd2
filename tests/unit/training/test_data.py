"""Samples as training data: the conversation's tokens, in the order of the samples, with unlearnable ones left out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stillery.config import SftConfig
from stillery.io.storage import Folder
from stillery.records import Message, Sample
from stillery.sampling.chat.conversation import CUT, open_conversation, student_format
from stillery.sampling.chat.lengths import LONG
from stillery.training.data import keep_shards, open_shards, prepare_file


def sample(number: int, *, split: str = "train", steps: int = 1) -> Sample:
    thinking = "\n".join(f"{number} + {i} = {number + i}" for i in range(steps))
    return Sample(
        sample_id=f"s{number}", prompt_id=f"p{number}", task="t", split=split,
        prompt=[Message("user", f"Solve for x: x + 1 = {number}")],
        completion=[Message("assistant", f"<think>\n{thinking}\n</think>\n<answer>{number - 1}</answer>")],
        weights=[], part="reasoning", teacher="T",
    )  # fmt: skip


def ready(tmp_path: Path, rows: list[Sample], **trl: Any) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The counts of a file of samples, and its rows for training."""
    samples, data = Folder(str(tmp_path / "samples")), Folder(str(tmp_path / "data"))
    samples.write_rows("samples-00000.parquet", rows, Sample)
    config = SftConfig(student="embedded:student", trl=trl)
    prepared = prepare_file(
        "samples-00000.parquet", config=config, chat=student_format(config), samples=samples, data=data
    )
    keep_shards(data, "train", tmp_path / "train.arrow")
    return dict(prepared.counts), list(open_shards(tmp_path / "train.arrow"))


@pytest.mark.parametrize("completion_only", [True, False])
def test_rows_are_those_of_the_conversation(tmp_path: Path, completion_only: bool) -> None:
    rows = [sample(number, steps=number) for number in range(1, 6)]
    _, found = ready(tmp_path, rows, completion_only_loss=completion_only)
    conversation = open_conversation(student_format(SftConfig()), key="sft.student")
    expected = [(row.input_ids, row.labels(of_prompt=not completion_only)) for row in conversation.rows(rows)]
    assert [(row["input_ids"], row["labels"]) for row in found] == expected


def test_rows_keep_their_order_over_batches_and_long_ones_are_counted(tmp_path: Path) -> None:
    rows = [sample(n, split="validation" if n % 7 == 0 else "train", steps=30 if n % 5 == 0 else 1) for n in range(600)]
    counts, train = ready(tmp_path, rows, max_length=150)
    expected = [r.sample_id for n, r in enumerate(rows) if n % 7 and n % 5]
    assert [row["sample_id"] for row in train] == expected
    num_validation = sum(n % 7 == 0 and n % 5 > 0 for n in range(600))
    assert counts == {"train": len(expected), "validation": num_validation, LONG: 120}


def test_answers_alone_are_learnt_without_their_thinking(tmp_path: Path) -> None:
    samples, data = Folder(str(tmp_path / "samples")), Folder(str(tmp_path / "data"))
    samples.write_rows("samples-00000.parquet", [sample(4, steps=3), sample(9)], Sample)
    config = SftConfig(completion="answer_only")
    name = "samples-00000.parquet"
    prepared = prepare_file(name, config=config, chat=student_format(config), samples=samples, data=data)
    assert json.loads(prepared.to_json())["counts"] == {"train": 2}
    keep_shards(data, "train", tmp_path / "train.arrow")
    tokenizer = open_conversation(student_format(config), key="sft.student").tokenizer
    for row, answer in zip(open_shards(tmp_path / "train.arrow"), ("3", "8"), strict=True):
        learnt = tokenizer.decode([token for token in row["labels"] if token != -100], skip_special_tokens=True)
        assert "".join(learnt.split()) == f"<answer>{answer}</answer>"
    assert prepared.length == sum(len(row["input_ids"]) for row in open_shards(tmp_path / "train.arrow"))


def test_of_some_tasks_the_answers_alone_are_learnt(tmp_path: Path) -> None:
    samples, data = Folder(str(tmp_path / "samples")), Folder(str(tmp_path / "data"))
    name = "samples-00000.parquet"
    thinking, short = sample(4, steps=3), replace(sample(9, steps=3), task="coin_flip")
    samples.write_rows(name, [thinking, short], Sample)
    config = SftConfig(answer_only_tasks=["coin_flip"])
    prepared = prepare_file(name, config=config, chat=student_format(config), samples=samples, data=data)
    assert json.loads(prepared.to_json())["tasks"] == {thinking.task: 1, "coin_flip": 1}
    keep_shards(data, "train", tmp_path / "train.arrow")
    tokenizer = open_conversation(student_format(config), key="sft.student").tokenizer
    first, second = (
        tokenizer.decode([token for token in row["labels"] if token != -100])
        for row in open_shards(tmp_path / "train.arrow")
    )
    assert "<think>" in "".join(first.split())
    assert "think" not in second
    assert "<answer>" in "".join(second.split())


def test_shards_follow_each_other_in_the_order_of_the_samples(tmp_path: Path) -> None:
    samples, data = Folder(str(tmp_path / "samples")), Folder(str(tmp_path / "data"))
    for shard in (2, 0, 1):
        samples.write_rows(f"samples-{shard:05d}.parquet", [sample(10 * shard + i) for i in range(3)], Sample)
        name = f"samples-{shard:05d}.parquet"
        prepare_file(name, config=SftConfig(), chat=student_format(SftConfig()), samples=samples, data=data)
    keep_shards(data, "train", tmp_path / "train.arrow")
    found = [row["sample_id"] for row in open_shards(tmp_path / "train.arrow")]
    assert found == [f"s{10 * shard + i}" for shard in range(3) for i in range(3)]


def test_a_row_that_the_template_cuts_is_counted_and_left_out(tmp_path: Path) -> None:
    template = tmp_path / "cuts.jinja"
    template.write_text("{% for m in messages %}{{ m.content.replace('7', '') }}{% endfor %}")
    counts, train = ready(tmp_path, [sample(3), sample(7)], chat_template_path=str(template))
    assert counts == {"train": 1, CUT: 1}
    assert [row["sample_id"] for row in train] == ["s3"]
