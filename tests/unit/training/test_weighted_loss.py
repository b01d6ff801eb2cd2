"""Weighted losses: spans of characters become token weights, weights of 1 give TRL's own loss to the last bit, and
masked spans cost nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stillery.config import SftConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Message, Sample
from stillery.sampling.chat.conversation import Conversation, open_conversation, student_format
from stillery.training.data import prepare_file
from stillery.training.weights import (
    COLUMN,
    check_weighted,
    has_weights,
    masked_labels,
    token_weights,
    weigh_answer,
    weighted_rows,
    weighted_trainer,
)
from support.chat_models import STUDENT

STEPS = ("7 + 5 = 13", "No: 7 + 5 = 12", "12 - 2 = 10")


def sample(number: int = 0, *, weights: list[list[float]] | None = None, steps: tuple[str, ...] = STEPS) -> Sample:
    completion = f"<think>\n{chr(10).join(steps)}\n</think>\n<answer>{number}</answer>"
    return Sample(
        f"s{number}", f"p{number}", "t", "train", [Message("user", f"What is 7 + 5 - {number}?")],
        [Message("assistant", completion)], weights or [], "reasoning", "T",
    )  # fmt: skip


def span(row: Sample, text: str, weight: float) -> list[float]:
    start = row.completion[0].content.index(text)
    return [start, start + len(text), weight]


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    return open_conversation(student_format(SftConfig()), key="sft.student")


def test_a_span_weighs_the_tokens_of_its_text_and_no_other(conversation: Conversation) -> None:
    weighted = sample()
    weighted.weights.extend([span(weighted, STEPS[0], 0.0), span(weighted, STEPS[2], 2.0)])
    (row,) = conversation.rows([weighted])
    weights = token_weights(conversation, row, weighted)
    assert len(weights) == len(row.completion_ids)

    def text_of(weight: float) -> str:
        tokens = [t for t, w in zip(row.completion_ids, weights, strict=True) if w == weight]
        return "".join(conversation.tokenizer.decode(tokens).split())

    assert text_of(0.0) == STEPS[0].replace(" ", "")
    assert text_of(2.0) == STEPS[2].replace(" ", "")
    assert set(weights) == {0.0, 1.0, 2.0}


def test_a_beginning_that_the_template_writes_with_the_prompt_shifts_nothing(conversation: Conversation) -> None:
    weighted = sample()
    weighted.weights.append(span(weighted, STEPS[1], 0.0))
    (row,) = conversation.rows([weighted])
    cut = row.completion.index(STEPS[0])
    begun = replace(row, prompt=row.prompt + row.completion[:cut].rstrip(), completion=row.completion[cut:])
    weights = token_weights(conversation, begun, weighted)
    tokens = conversation.tokenize([begun.completion])[0]
    masked = [token for token, weight in zip(tokens, weights, strict=True) if weight == 0.0]
    assert "".join(conversation.tokenizer.decode(masked).split()) == STEPS[1].replace(" ", "")


def test_the_answer_weighs_more_whatever_else_is_weighted(conversation: Conversation) -> None:
    weighted = sample(5)
    weighted.weights.append(span(weighted, STEPS[0], 0.0))
    (row,) = conversation.rows([weighted])
    weights = token_weights(conversation, row, weigh_answer(weighted, 4.0))
    heavy = [token for token, weight in zip(row.completion_ids, weights, strict=True) if weight == 4.0]
    assert conversation.tokenizer.decode(heavy).replace(" ", "") == "<answer>5</answer>"
    assert set(weights) == {0.0, 1.0, 4.0}
    assert weigh_answer(weighted, 1.0) == weighted
    guessed = replace(weighted, completion=[Message("assistant", "5")], weights=[])
    assert weigh_answer(guessed, 4.0) == guessed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Sure.\n<think>\nab 7\n</think>\n<answer>7</answer>", "<answer>7</answer>"),
        ("<think>a</think> b <think>c</think> d", "d"),
        ("<think>7</think> 7 <think>c</think> 7", "7"),
        ("7 <think>c</think> ", None),
        ("<think>a</think> b <think>c", None),
    ],
)
def test_the_answer_is_the_text_behind_the_last_thinking(text: str, answer: str | None) -> None:
    found = weigh_answer(replace(sample(5), completion=[Message("assistant", text)], weights=[]), 4.0)
    spans = [(text[int(start) : int(end)], int(end)) for start, end, _ in found.weights]
    assert spans == ([] if answer is None else [(answer, len(text))])


def test_a_file_of_weighted_samples_has_them_by_token(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows = [sample(number) for number in range(3)]
    rows[1].weights.append(span(rows[1], STEPS[0], 0.0))
    samples, data = Folder(str(tmp_path / "samples")), Folder(str(tmp_path / "data"))
    samples.write_rows("samples-00000.parquet", rows[:1], Sample)
    assert not has_weights(samples)
    samples.write_rows("samples-00000.parquet", rows, Sample)
    assert has_weights(samples)
    config = SftConfig()
    prepared = prepare_file(
        "samples-00000.parquet", config=config, chat=student_format(config), samples=samples, data=data, weighted=True
    )
    found = pq.read_table(data.local / "train-samples-00000.parquet").to_pylist()
    for row in found:
        pairs = list(zip(row[COLUMN], row["labels"], strict=True))
        assert all(label == -100 for weight, label in pairs if weight == 0)
    num_masked = [row[COLUMN].count(0.0) for row in found]
    assert num_masked[0] == num_masked[2] == 0 < num_masked[1]
    assert prepared.num_tokens == sum(label != -100 for row in found for label in row["labels"])
    assert prepared.weight == prepared.num_tokens, "what is masked counts in neither"


def rows_of(conversation: Conversation, *, weight: float = 1.0, masked: bool = False) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(16):
        one = sample(number % 10, steps=STEPS + ("9 + 1 = 10",) * (number % 4))
        if masked:
            one.weights.append(span(one, STEPS[0], 0.0))
        (row,) = conversation.rows([one])
        weights = [1.0] * len(row.prompt_ids) + token_weights(conversation, row, one)
        labels = masked_labels(row.labels(), weights)
        rows.append({"input_ids": row.input_ids, "labels": labels, COLUMN: [w * weight for w in weights]})
    return rows


def train(rows: list[dict[str, Any]], folder: Path, *, mean_weight: float | None, packing: bool) -> tuple[Any, Any]:
    """Losses and trained weights, by TRL's trainer (no mean weight) or ours."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    weighted = mean_weight is not None
    arguments = SFTConfig(
        output_dir=str(folder), max_steps=4, per_device_train_batch_size=4, learning_rate=1e-3, logging_steps=1,
        save_strategy="no", report_to="none", use_cpu=True, bf16=False, seed=0, disable_tqdm=True,
        max_length=256 if packing else None, packing=packing, gradient_accumulation_steps=2,
        gradient_checkpointing=False, model_init_kwargs={"dtype": "float32"},
        dataset_kwargs={"skip_prepare_dataset": True} if weighted else None,
    )  # fmt: skip
    data = Dataset.from_list(rows)
    data = weighted_rows(data, arguments, packing=packing) if weighted else data.remove_columns([COLUMN])
    kind = SFTTrainer if mean_weight is None else weighted_trainer(mean_weight=mean_weight)
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    trainer = kind(model=str(STUDENT), args=arguments, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return losses, trainer.model.state_dict()


def same(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    import torch

    return one[0] == other[0] and all(torch.equal(value, other[1][name]) for name, value in one[1].items())


@pytest.mark.slow
@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
def test_weights_of_one_are_the_plain_loss_to_the_last_bit(
    tmp_path: Path, conversation: Conversation, packing: bool
) -> None:
    plain = train(rows_of(conversation), tmp_path, mean_weight=None, packing=packing)
    assert len(plain[0]) == 4
    assert same(train(rows_of(conversation), tmp_path, mean_weight=1.0, packing=packing), plain)
    # Only how weights compare counts.
    assert same(train(rows_of(conversation, weight=2.0), tmp_path, mean_weight=2.0, packing=packing), plain)


@pytest.mark.slow
def test_masked_spans_cost_nothing_and_other_weights_do(tmp_path: Path, conversation: Conversation) -> None:
    masked = train(rows_of(conversation, masked=True), tmp_path, mean_weight=None, packing=False)
    assert same(train(rows_of(conversation, masked=True), tmp_path, mean_weight=1.0, packing=False), masked)
    plain = train(rows_of(conversation), tmp_path, mean_weight=None, packing=False)
    assert plain[0] != masked[0]
    doubled = train(rows_of(conversation, weight=2.0), tmp_path, mean_weight=1.0, packing=False)
    # The first step's loss is that of the untouched student.
    assert doubled[0][0] == pytest.approx(2 * plain[0][0], rel=1e-6)


def test_a_loss_that_leaves_no_room_for_weights_is_refused(conversation: Conversation) -> None:
    check_weighted({}, conversation)
    with pytest.raises(UserError, match="loss_type=nll"):
        check_weighted({"loss_type": "dft"}, conversation)
