"""Offline distillation: stored log-probabilities are aligned with their tokens, and the loss is the stated
divergence."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillery.config import Config, DistillConfig, SftConfig, TeacherConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Message, Sample, TopLogprobs, to_table
from stillery.records import ScoredGeneration as Scored
from stillery.sampling.chat.conversation import Conversation, load_tokenizer, open_conversation, student_format
from stillery.sampling.stored_logprobs import write_scores
from stillery.sampling.top_logprobs import NO_TOKEN, collect
from stillery.training.data import keep_shards, open_shards, prepare_file
from stillery.training.distillation.checks import check_distillation, is_on
from stillery.training.distillation.columns import TOP_IDS, TOP_LOGPROBS, distill_columns
from stillery.training.distillation.loss import Distillation, alternatives_of, distilling, divergence_of
from stillery.training.weights import COLUMN, weighted_rows, weighted_trainer
from support.chat_models import STUDENT

FILE = "samples-00000.parquet"
K = 4


def sample(number: int) -> Sample:
    steps = "\n".join(f"{number} + {i} = {number + i}" for i in range(1 + number % 3))
    return Sample(
        f"s{number}", f"p{number}", "t", "train", [Message("user", f"What is {number} + 1?")],
        [Message("assistant", f"<think>\n{steps}\n</think>\n<answer>{number}</answer>")], [], "reasoning", "T",
    )  # fmt: skip


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    return open_conversation(student_format(SftConfig()), key="sft.student")


def top_of(tokens: list[int], *, seed: int = 0) -> TopLogprobs:
    """Made-up alternatives of a teacher that wrote these tokens: its own, and three others."""
    rng = np.random.default_rng(seed)
    steps = [
        list(
            zip(
                [token, *((token + i) % 1000 for i in (3, 5, 7))],
                np.log(rng.dirichlet([8, 1, 1, 1, 1])[:K]),
                strict=True,
            )
        )
        for token in tokens
    ]  # fmt: skip
    return collect(tokens, steps, k=K)


def written(conversation: Conversation, text: str, *, ended: bool = True) -> list[int]:
    end = [conversation.tokenizer.eos_token_id] if ended else []
    return [*conversation.tokenize([text])[0], *end]


def test_every_token_that_the_teacher_wrote_has_its_alternatives(conversation: Conversation) -> None:
    one = sample(4)
    (row,) = conversation.rows([one])
    tokens = written(conversation, one.completion[0].content)
    found = distill_columns(conversation.tokenizer, row, top_of(tokens))
    ids = found[TOP_IDS]
    assert len(ids) == len(found[TOP_LOGPROBS]) == len(row.input_ids)
    start = len(row.prompt_ids)
    assert not any(ids[:start])
    assert all(tokens[i] in ids[start + i] for i in range(len(tokens)))
    # What the template adds behind the end of the turn the teacher did not write.
    assert row.completion_ids[: len(tokens)] == tokens
    assert not any(ids[start + len(tokens) :])


def test_a_beginning_that_was_completed_shifts_the_alternatives(conversation: Conversation) -> None:
    one = sample(4)
    content = one.completion[0].content
    tokens = written(conversation, content.removeprefix("<think>\n"))
    (row,) = conversation.rows([one])
    ids = distill_columns(conversation.tokenizer, row, top_of(tokens))[TOP_IDS]
    completed = len(conversation.tokenize(["<think>\n"])[0])
    start = len(row.prompt_ids) + completed
    assert not any(ids[:start])
    assert [tokens[i] in ids[start + i] for i in range(len(tokens))].count(True) == len(tokens)


def test_tokens_cut_otherwise_and_a_cut_sample_have_what_is_the_same(conversation: Conversation) -> None:
    tokenizer = conversation.tokenizer
    one = sample(4)
    content = one.completion[0].content
    canonical = written(conversation, content)
    word = next(i for i, token in enumerate(canonical) if len(tokenizer.decode([token])) > 2 and i > 2)
    letters = [t for letter in tokenizer.decode([canonical[word]]) for t in conversation.tokenize([letter])[0]]
    tokens = [*canonical[:word], *letters, *canonical[word + 1 :]]
    (row,) = conversation.rows([one])
    start = len(row.prompt_ids)
    ids = distill_columns(tokenizer, row, top_of(tokens))[TOP_IDS]
    assert [bool(ids[start + i]) for i in range(len(canonical))] == [i != word for i in range(len(canonical))]
    # Cut off for length: no end of turn, and the student's has no alternatives.
    cut = dataclasses.replace(one, completion=[Message("assistant", tokenizer.decode(canonical[:9]))])
    (row,) = conversation.rows([cut])
    ids = distill_columns(tokenizer, row, top_of(canonical[:9]))[TOP_IDS]
    assert [bool(found) for found in ids[len(row.prompt_ids) :]][:10] == [True] * 9 + [False]


def test_what_the_teacher_did_not_write_or_cannot_name_has_none(conversation: Conversation) -> None:
    (row,) = conversation.rows([sample(4)])
    tokenizer = conversation.tokenizer
    assert not any(distill_columns(tokenizer, row, None)[TOP_IDS])
    other = written(conversation, "Another text.")
    assert not any(distill_columns(tokenizer, row, top_of(other))[TOP_IDS])
    tokens = written(conversation, sample(4).completion[0].content)
    unknown = top_of(tokens)
    unknown.token_ids[5] = NO_TOKEN
    found = distill_columns(tokenizer, row, unknown)[TOP_IDS][len(row.prompt_ids) :]
    assert [bool(ids) for ids in found[:6]] == [True] * 5 + [False]
    padding = top_of(tokens)
    padding.top_ids[:] = len(tokenizer) + 1
    assert not any(distill_columns(tokenizer, row, padding)[TOP_IDS])


def test_a_text_that_was_changed_has_alternatives_up_to_there(conversation: Conversation) -> None:
    one = sample(5)
    content = one.completion[0].content
    tokens = written(conversation, content)
    changed = content.replace("</think>", "So be it.\n</think>")
    (row,) = conversation.rows([dataclasses.replace(one, completion=[Message("assistant", changed)])])
    ids = distill_columns(conversation.tokenizer, row, top_of(tokens))[TOP_IDS][len(row.prompt_ids) :]
    same = len(conversation.tokenize([content.partition("</think>")[0]])[0])
    assert [bool(found) for found in ids[:same]] == [True] * same
    assert not any(ids[same:])
    # A stop string that the engine leaves out of the text is among its tokens.
    stopped = [*written(conversation, content, ended=False), *conversation.tokenize(["\nQuestion:"])[0]]
    (row,) = conversation.rows([one])
    ids = distill_columns(conversation.tokenizer, row, top_of(stopped))[TOP_IDS][len(row.prompt_ids) :]
    assert [bool(found) for found in ids[: len(tokens)]] == [True] * (len(tokens) - 1) + [False]


def test_characters_of_several_tokens_find_their_places(conversation: Conversation) -> None:
    text = "<think>\nπ ≈ 3\n</think>\n<answer>é\U0001f600</answer>"
    one = dataclasses.replace(sample(4), completion=[Message("assistant", text)])
    (row,) = conversation.rows([one])
    tokens = written(conversation, text)
    ids = distill_columns(conversation.tokenizer, row, top_of(tokens))[TOP_IDS][len(row.prompt_ids) :]
    assert all(tokens[i] in ids[i] for i in range(len(tokens)))


def test_a_file_of_samples_gets_the_stored_alternatives(tmp_path: Path, conversation: Conversation) -> None:
    rows = [sample(number) for number in range(4)]
    samples, data = Folder(str(tmp_path / "samples")), Folder(str(tmp_path / "data"))
    samples.write_rows(FILE, [rows[1], rows[0], rows[3]], Sample)
    scores = Folder(str(tmp_path / "scores"))
    store(scores, conversation, rows)
    config = SftConfig()
    prepared = prepare_file(
        FILE, config=config, chat=student_format(config), samples=samples, data=data, weighted=True, scores=scores
    )
    keep_shards(data, "train", tmp_path / "train.arrow")
    found = list(open_shards(tmp_path / "train.arrow"))
    assert [row["sample_id"] for row in found] == ["s1", "s0", "s3"]
    for row in found:
        tokens = written(conversation, sample(int(row["sample_id"][1:])).completion[0].content)
        start = row["labels"].index(tokens[0])
        assert all(token in row[TOP_IDS][start + i] for i, token in enumerate(tokens))
    assert prepared.num_scored == sum(bool(ids) for row in found for ids in row[TOP_IDS])
    assert prepared.num_without == 0


def store(folder: Folder, conversation: Conversation, rows: list[Sample]) -> None:
    generations = [
        Scored(
            row.sample_id, row.prompt_id, 0, 0, "", row.completion[0].content, "stop", 1, 1, None, "T", "{}", 0, False,
            None, top_of(written(conversation, row.completion[0].content)),
        )
        for row in rows
    ]  # fmt: skip
    write_scores(folder, FILE.replace("samples-", "generations-"), to_table(generations, Scored))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_divergence_is_that_of_the_alternatives_and_the_rest(temperature: float) -> None:
    import torch

    rng = torch.Generator().manual_seed(0)
    teacher, student = (torch.log_softmax(torch.randn(5, 9, generator=rng) * 2, dim=-1) for _ in range(2))
    places = teacher.topk(3).indices
    found = divergence_of(student.gather(1, places), teacher.gather(1, places), temperature=temperature)

    def coarse(side: torch.Tensor) -> torch.Tensor:
        mass = side.exp().gather(1, places)
        tempered = torch.cat([mass, 1 - mass.sum(1, keepdim=True)], dim=1) ** (1 / temperature)
        return tempered / tempered.sum(1, keepdim=True)

    p, q = coarse(teacher), coarse(student)
    assert torch.allclose(found, (p * (p / q).log()).sum(1) * temperature**2, atol=1e-5)
    if temperature == 1:
        assert (found <= (teacher.exp() * (teacher - student)).sum(1) + 1e-6).all()
    same = divergence_of(teacher.gather(1, places), teacher.gather(1, places), temperature=temperature)
    assert torch.allclose(same, torch.zeros(5), atol=1e-6)


def test_alternatives_that_are_none_change_nothing() -> None:
    import torch

    teacher = torch.tensor([[0.5, 0.2]]).log()
    student = torch.tensor([[0.3, 0.3]]).log().requires_grad_()
    padded = torch.cat([teacher, torch.tensor([[-torch.inf]])], dim=1)
    whole = divergence_of(torch.cat([student, torch.tensor([[-1.0]])], dim=1), padded)
    assert torch.equal(whole, divergence_of(student, teacher))
    whole.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_log_probabilities_of_alternatives_are_those_of_the_whole_output_layer() -> None:
    import torch

    rng = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(6, 11)
    hidden = torch.randn(7, 6, generator=rng)
    labels = torch.randint(0, 11, (7,), generator=rng)
    whole = torch.log_softmax(head(hidden), dim=-1)
    ids = torch.stack([torch.randperm(11, generator=rng)[:3] for _ in range(7)])
    ids[0, 2] = NO_TOKEN
    likely = whole.gather(1, labels[:, None])[:, 0]
    found = alternatives_of(hidden, head, ids=ids, labels=labels, likely=likely)
    expected = whole.gather(1, ids.clamp(min=0))
    assert torch.allclose(found[1:], expected[1:], atol=1e-5)
    assert torch.allclose(found[0, :2], expected[0, :2], atol=1e-5)


def rows_of(conversation: Conversation, *, num: int = 12) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(num):
        (row,) = conversation.rows([sample(number)])
        tokens = written(conversation, sample(number).completion[0].content)
        columns = distill_columns(conversation.tokenizer, row, top_of(tokens, seed=number))
        weights = [1.0] * len(row.input_ids)
        rows.append({"input_ids": row.input_ids, "labels": row.labels(), COLUMN: weights, **columns})
    return rows


def trainer_of(rows: list[dict[str, Any]], folder: Path, distill: Distillation | None, **changes: Any) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig

    settings: dict[str, Any] = {
        "max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "packing": False, "max_length": None,
        "gradient_checkpointing": False, **changes,
    }  # fmt: skip
    arguments = SFTConfig(
        output_dir=str(folder), logging_steps=1, save_strategy="no", report_to="none", use_cpu=True, bf16=False, seed=0,
        disable_tqdm=True, model_init_kwargs={"dtype": "float32"},
        dataset_kwargs={"skip_prepare_dataset": True}, **settings,
    )  # fmt: skip
    beside = () if distill is None else (TOP_IDS, TOP_LOGPROBS)
    data = weighted_rows(Dataset.from_list(rows), arguments, packing=arguments.packing, beside=beside)
    kind = weighted_trainer(mean_weight=1.0)
    kind = kind if distill is None else distilling(kind, distill)
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    return kind(model=str(STUDENT), args=arguments, train_dataset=data, processing_class=tokenizer)


def losses_of(trainer: Any) -> list[float]:
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


@pytest.mark.slow
def test_at_weight_0_it_is_the_plain_loss_to_the_last_bit(tmp_path: Path, conversation: Conversation) -> None:
    import torch

    rows = rows_of(conversation)
    plain = trainer_of(rows, tmp_path, None)
    off = trainer_of(rows, tmp_path, Distillation(0.0, 1.0))
    assert losses_of(plain) == losses_of(off)
    states = plain.model.state_dict(), off.model.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.slow
def test_the_loss_is_the_mixture_that_it_says(tmp_path: Path, conversation: Conversation) -> None:
    import torch

    rows = rows_of(conversation, num=4)
    trainer = trainer_of(rows, tmp_path, Distillation(0.3, 1.0), max_steps=1, shuffle_dataset=False)
    model = trainer.model
    entropy, divergence, num_tokens, num_scored = 0.0, 0.0, 0, 0
    with torch.no_grad():
        for row in rows:
            logprobs = torch.log_softmax(model(input_ids=torch.tensor([row["input_ids"]])).logits[0].float(), dim=-1)
            for position, label in enumerate(row["labels"]):
                if label == -100:
                    continue
                told = float(-logprobs[position - 1, label])
                num_tokens += 1
                if row[TOP_IDS][position]:
                    num_scored += 1
                    student = logprobs[position - 1, row[TOP_IDS][position]][None]
                    kl = float(divergence_of(student, torch.tensor([row[TOP_LOGPROBS][position]])))
                    divergence += kl
                    told = 0.7 * told + 0.3 * kl
                entropy += told
    (loss,) = losses_of(trainer)
    assert num_scored < num_tokens
    assert loss == pytest.approx(entropy / num_tokens, rel=1e-4)
    (shown,) = [row["distill_kl"] for row in trainer.state.log_history if "distill_kl" in row]
    assert shown == pytest.approx(divergence / num_scored, rel=1e-4)


@pytest.mark.slow
def test_packs_and_batches_have_the_same_loss(tmp_path: Path, conversation: Conversation) -> None:
    rows = rows_of(conversation)
    distill = Distillation(0.5, 2.0)
    whole = losses_of(trainer_of(rows, tmp_path, distill, max_steps=1, per_device_train_batch_size=12))
    parts = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3}
    assert losses_of(trainer_of(rows, tmp_path, distill, max_steps=1, **parts)) == pytest.approx(whole, rel=1e-5)
    packed = {"packing": True, "max_length": 2048, "per_device_train_batch_size": 1}
    assert losses_of(trainer_of(rows, tmp_path, distill, max_steps=1, **packed)) == pytest.approx(whole, rel=1e-5)
    checkpointed = {"gradient_checkpointing": True, "per_device_train_batch_size": 12}
    assert losses_of(trainer_of(rows, tmp_path, distill, max_steps=1, **checkpointed)) == pytest.approx(whole, rel=1e-5)


@pytest.mark.slow
def test_a_student_comes_nearer_to_the_teacher(tmp_path: Path, conversation: Conversation) -> None:
    trainer = trainer_of(rows_of(conversation), tmp_path, Distillation(1.0, 1.0), max_steps=15, learning_rate=3e-3)
    losses_of(trainer)
    shown = [row["distill_kl"] for row in trainer.state.log_history if "distill_kl" in row]
    assert shown[-1] < 0.5 * shown[0]


def config(
    *, weight: float = 0.5, temperature: float = 1.0, teacher: TeacherConfig | None = None, **sft: Any
) -> Config:
    distill = DistillConfig(weight=weight, temperature=temperature)
    return Config(teacher=teacher or TeacherConfig(top_logprobs=8), sft=SftConfig(distill=distill, **sft))


def test_the_embedded_pair_can_be_distilled_and_off_is_not_looked_at() -> None:
    check_distillation(config())
    assert not is_on(Config())
    check_distillation(Config(teacher=TeacherConfig(kind="recorded", model="r")))


def test_what_cannot_work_is_named_before_the_first_stage(tmp_path: Path) -> None:
    other = load_tokenizer("embedded:student", key="model")
    other.add_tokens(["<other>"])
    other.save_pretrained(tmp_path)
    there = {"top_logprobs": 8}
    cases: list[tuple[Config, str]] = [
        (config(weight=1.5), "sft.distill.weight is 1.5"),
        (config(temperature=0.0), "sft.distill.temperature is 0"),
        (config(teacher=TeacherConfig()), r"set teacher.top_logprobs=20, or train on the teacher's texts"),
        (config(teacher=TeacherConfig(kind="recorded", model="r")), "recorded generations have no log-probabilities"),
        (config(teacher=TeacherConfig(model=str(tmp_path), **there)), "differ in 1 tokens, such as '<other>': train"),
        (config(completion="answer_only"), "whole traces"),
        (config(answer_only_tasks=["coins"]), "whole traces of all tasks"),
        (config(trl={"loss_type": "dft"}), "loss_type=nll"),
        (config(trl={"use_liger_kernel": True}), "use_liger_kernel"),
        (config(trl={"fsdp": True}), "unset sft.trl.fsdp"),
    ]  # fmt: skip
    for given, named in cases:
        with pytest.raises(UserError, match=named):
            check_distillation(given)
