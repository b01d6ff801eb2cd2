"""Attention transfer in training: off is off to the last bit, packing and checkpointing change nothing, and the
student's attention moves towards its target."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stillery.config import SftConfig
from stillery.records import AttentionTarget, Message, Sample
from stillery.sampling.chat.conversation import Conversation, open_conversation, student_format
from stillery.training.attention.distance import fit_decay
from stillery.training.attention.drafts import draft
from stillery.training.attention.targets import make_target
from stillery.training.attention.transfer import (
    MASSES,
    QUERIES,
    SOURCES,
    Transfer,
    annealed,
    attention_columns,
    divergence_of,
    transfer_collator,
    transfer_trainer,
)
from stillery.training.weights import COLUMN, token_weights, weighted_rows, weighted_trainer
from support.chat_models import STUDENT

TRANSFER = Transfer(weight=0.5, anneal_until=2 / 3, layer=2, scale=30.0)


def sample(number: int) -> Sample:
    first = 40 + number
    steps = [f"start {first}"]
    for added in range(3, 4 + number % 3):
        steps.append(f"then finds {added}: {first} + {added} = {first + added}")
        first += added
    completion = f"<think>\n{chr(10).join(steps)}\n</think>\n<answer>{first}</answer>"
    question = f"A bus leaves with {40 + number} people. It picks up others. How many are on the bus now?"
    return Sample(
        f"s{number}", f"p{number}", "t", "train", [Message("user", question)], [Message("assistant", completion)], [],
        "reasoning", "T",
    )  # fmt: skip


def target_of(one: Sample) -> AttentionTarget:
    found = draft(one)
    rows = [(operand, operand.shares) for operand in found.operands]
    return make_target(one, found, rows, decay=fit_decay((found, *row) for row in rows), max_rows=32)


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    return open_conversation(student_format(SftConfig()), key="sft.student")


@pytest.fixture(scope="module")
def rows(conversation: Conversation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number in range(16):
        one = sample(number)
        (row,) = conversation.rows([one])
        columns = attention_columns(conversation, row, one, target_of(one))
        assert columns is not None
        assert any(columns[MASSES])
        weights = [1.0] * len(row.prompt_ids) + token_weights(conversation, row, one)
        found.append({"input_ids": row.input_ids, "labels": row.labels(), COLUMN: weights, **columns})
    return found


def trainer_of(
    rows: list[dict[str, Any]], folder: Path, *, transfer: Transfer | None, packing: bool = False, **settings: Any
) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig

    arguments = SFTConfig(
        output_dir=str(folder), per_device_train_batch_size=4, learning_rate=1e-3, logging_steps=1,
        save_strategy="no", report_to="none", use_cpu=True, bf16=False, seed=0, disable_tqdm=True,
        max_length=256 if packing else None, packing=packing, model_init_kwargs={"dtype": "float32"},
        dataset_kwargs={"skip_prepare_dataset": True},
        **{"max_steps": 4, "gradient_checkpointing": False, "gradient_accumulation_steps": 2, **settings},
    )  # fmt: skip
    data = Dataset.from_list(rows)
    beside = () if transfer is None else (SOURCES, MASSES)
    data = weighted_rows(data, arguments, packing=packing, beside=beside)
    kind = weighted_trainer(mean_weight=1.0) if transfer is None else transfer_trainer(transfer, mean_weight=1.0)
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    return kind(model=str(STUDENT), args=arguments, train_dataset=data, processing_class=tokenizer)


def trained(trainer: Any) -> tuple[list[float], dict[str, Any]]:
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], trainer.model.state_dict()


def test_the_weight_falls_to_nothing_in_a_straight_line() -> None:
    transfer = Transfer(weight=0.3, anneal_until=2 / 3, layer=0, scale=1.0)
    assert annealed(transfer, step=0, of=90) == 0.3
    assert annealed(transfer, step=30, of=90) == pytest.approx(0.15)
    assert [annealed(transfer, step=step, of=90) for step in (60, 75, 89)] == [0.0, 0.0, 0.0]
    assert annealed(transfer, step=0, of=0) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
def test_at_weight_nothing_training_is_the_same_to_the_last_bit(
    tmp_path: Path, rows: list[dict[str, Any]], packing: bool
) -> None:
    import torch

    losses, weights = trained(trainer_of(rows, tmp_path, transfer=None, packing=packing))
    off = replace(TRANSFER, weight=0.0)
    other_losses, other = trained(trainer_of(rows, tmp_path, transfer=off, packing=packing))
    assert losses == other_losses
    assert len(losses) == 4
    assert all(torch.equal(value, other[name]) for name, value in weights.items())


def test_behind_the_annealing_nothing_is_added(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    early = trainer_of(rows, tmp_path, transfer=replace(TRANSFER, anneal_until=0.25))
    early.train()
    logged = [row for row in early.state.log_history if "loss" in row]
    assert ["attention_kl" in row for row in logged] == [True, False, False, False]


def gradients_of(trainer: Any, examples: list[list[dict[str, Any]]]) -> tuple[float, dict[str, Any]]:
    """The loss over some batches as one step takes them, and its gradient."""
    trainer.model.train()
    trainer.state.max_steps = 10
    batches = [trainer.data_collator(batch) for batch in examples]
    num_items = sum((batch["labels"] != -100).sum() for batch in batches)
    total = 0.0
    for batch in batches:
        loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=num_items)
        loss.backward()
        total += float(loss.detach())
    return total, {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def close(one: tuple[float, dict[str, Any]], other: tuple[float, dict[str, Any]]) -> None:
    import torch

    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=2e-3, atol=2e-6)


def test_how_rows_fall_into_batches_and_packs_changes_nothing(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    some = rows[:6]
    padded = trainer_of(some, tmp_path, transfer=TRANSFER)
    plain = gradients_of(trainer_of(some, tmp_path, transfer=None), [some])
    whole = gradients_of(padded, [some])
    assert whole[0] > plain[0] + 0.01
    close(gradients_of(trainer_of(some, tmp_path, transfer=TRANSFER), [some[:2], some[2:]]), whole)
    packed = trainer_of(some, tmp_path, transfer=TRANSFER, packing=True)
    packs = [dict(row) for row in packed.train_dataset]
    assert len(packs) < len(some)
    assert max(len(pack["seq_lengths"]) for pack in packs) > 1
    close(gradients_of(packed, [packs]), whole)


def test_checkpointing_of_layers_changes_no_gradient(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    some = rows[:4]
    plain = gradients_of(trainer_of(some, tmp_path, transfer=TRANSFER), [some])
    checkpointed = trainer_of(some, tmp_path, transfer=TRANSFER, gradient_checkpointing=True)
    checkpointed.model.gradient_checkpointing_enable({"use_reentrant": False})
    assert checkpointed.model.is_gradient_checkpointing
    close(gradients_of(checkpointed, [some]), plain)


@pytest.mark.slow
def test_the_student_comes_to_attend_where_it_is_drawn(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    trainer = trainer_of(rows, tmp_path, transfer=replace(TRANSFER, anneal_until=1.0), max_steps=24)
    trainer.train()
    divergences = [row["attention_kl"] for row in trainer.state.log_history if "attention_kl" in row]
    assert divergences[-1] < 0.6 * divergences[0]


def test_the_trained_student_is_written_as_any_other(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    import json

    trainer = trainer_of(rows, tmp_path, transfer=TRANSFER, max_steps=1)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    assert "stillery" not in json.dumps(json.loads((tmp_path / "saved" / "config.json").read_text(encoding="utf-8")))


def test_the_student_can_be_sampled_between_two_steps(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    import torch
    from transformers import TrainerCallback

    sampled: list[int] = []

    class Sampling(TrainerCallback):
        def on_step_end(self, *given: Any, **named: Any) -> None:  # noqa: ARG002
            prompt = torch.tensor([rows[0]["input_ids"][:20]])
            sampled.append(named["model"].generate(prompt, max_new_tokens=3, min_new_tokens=3).shape[1])

    trainer = trainer_of(rows, tmp_path, transfer=TRANSFER, max_steps=2)
    trainer.add_callback(Sampling())
    trainer.train()
    assert sampled == [23, 23]


@pytest.mark.slow
def test_rows_without_anything_to_attend_to_cost_only_their_tokens(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    bare = [{**row, MASSES: [[] for _ in row[MASSES]]} for row in rows]
    losses, _ = trained(trainer_of(bare, tmp_path, transfer=TRANSFER))
    assert losses == trained(trainer_of(rows, tmp_path, transfer=None))[0]


def test_the_divergence_is_kl_over_a_rows_own_sources_times_its_weight() -> None:
    import torch

    target = torch.tensor([[0.25, 0.25, 0.0], [0.0, 0.1, 0.9]])
    attention = torch.tensor([[[0.3, 0.1, 0.6], [0.2, 0.4, 0.4]]])
    found = divergence_of(attention, target, num_sources=torch.tensor([2, 3]))
    first = 0.5 * (0.5 * torch.log(torch.tensor(0.5 / 0.75)) + 0.5 * torch.log(torch.tensor(0.5 / 0.25)))
    second = 0.1 * torch.log(torch.tensor(0.1 / 0.4)) + 0.9 * torch.log(torch.tensor(0.9 / 0.4))
    torch.testing.assert_close(found, first + second)


def test_a_batch_holds_each_row_where_its_tokens_lie(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    collator = transfer_collator()(pad_token_id=0)
    batch = collator([dict(row) for row in rows[:3]])
    for (row, position, num_sources), mass in zip(batch[QUERIES].tolist(), batch[MASSES].tolist(), strict=True):
        assert mass[:num_sources] == pytest.approx(rows[row][MASSES][position])
        assert not any(mass[num_sources:])
        seen = batch[SOURCES][row, : position + 1].tolist()
        assert len({number for number in seen if 1 <= number <= num_sources}) >= 2
