"""The shapes, one training step, and the folders that ship."""

import itertools
import json
from collections import deque

import numpy as np
import pytest
import torch

from stillery.tiny_models import STUDENT, TEACHER
from stillery.tiny_models.examples import Shares, pack, teacher_examples
from stillery.tiny_models.model import SHAPES, TOKENIZER_FILES, Shape, make_model
from stillery.tiny_models.tokenizer import PAD_ID, VOCAB_SIZE, load_tokenizer, render_prompt
from stillery.tiny_models.train import make_optimizers, train_step

TINY = Shape(hidden=64, layers=1, heads=2, kv_heads=1, feed_forward=64, row_length=256, rows=2)


def test_student_is_at_most_a_quarter_of_the_teacher_and_rows_fit_blocks_of_32() -> None:
    models = {role: make_model(shape, seed=0) for role, shape in SHAPES.items()}
    sizes = {role: sum(p.numel() for p in model.parameters()) for role, model in models.items()}
    assert sizes["student"] * 4 <= sizes["teacher"]
    for model in models.values():
        assert all(p.shape[1] % 32 == 0 for p in model.parameters() if p.ndim == 2)


def test_steps_lower_the_loss_and_draws_depart_only_from_what_is_learnt() -> None:
    torch.manual_seed(0)
    tokenizer = load_tokenizer(TEACHER)
    shares = Shares(drills=0.0, own_mistakes=0.0, made_up_mistakes=0.1)
    examples = teacher_examples(tokenizer, seed=0, own=deque(), shares=lambda: shares)
    (batch,) = itertools.islice(pack(examples, rows=TINY.rows, row_length=TINY.row_length, pad=PAD_ID), 1)
    model = make_model(TINY, seed=0)
    optimizers = make_optimizers(model)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
    losses = []
    for _ in range(8):
        loss, sampled = train_step(model, batch, optimizers, device="cpu", draw=True)
        losses.append(loss)
    assert losses[-1] < 0.8 * losses[0]
    learnt = batch.weights > 0
    np.testing.assert_array_equal(sampled[~learnt], batch.tokens[~learnt])
    assert (sampled[learnt] != batch.tokens[learnt]).any()


@pytest.mark.parametrize("folder", [TEACHER, STUDENT], ids=["teacher", "student"])
def test_shipped_folder_is_whole(folder) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert config["vocab_size"] == VOCAB_SIZE
    assert config["bos_token_id"] is None
    assert (folder / "README.md").read_text().startswith("---\nlicense: apache-2.0\n")
    assert (folder / "model.safetensors").stat().st_size < 8_000_000
    tokenizer = load_tokenizer(folder)
    chat = [{"role": "user", "content": "1 + 1?"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == render_prompt("1 + 1?")


def test_teacher_and_student_share_the_tokenizer() -> None:
    for name in TOKENIZER_FILES:
        assert (TEACHER / name).read_bytes() == (STUDENT / name).read_bytes()
