"""Tokens and loss weights: separate digits, arbitrary bytes round-trip, and exactly the planted mistakes masked."""

import itertools
import json
import random
from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest

from stillery.problems.buckets import Bucket, bucket_of, draw
from stillery.tiny_models.base_examples import student_examples
from stillery.tiny_models.examples import (
    OwnMistake,
    Shares,
    TrainingExample,
    draw_problem,
    encode_trace,
    find_mistakes,
    pack,
    teacher_examples,
)
from stillery.tiny_models.tokenizer import END, TAGS, VOCAB_SIZE, load_tokenizer, render_prompt, train_tokenizer
from stillery.tiny_models.traces import PROGRAMS, write_trace

CLEAN = Shares(drills=0.0, own_mistakes=0.0, made_up_mistakes=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(out, problems_per_task=300)
    return out


@pytest.fixture(scope="module")
def tokenizer(folder: Path):
    return load_tokenizer(folder)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["naïve 東京 🙂\t\x00", "3*(x + 12) = 99\n\n", "31 December", "  a  b "])
def test_any_text_comes_back(tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_and_tags_are_one_token_each(tokenizer) -> None:
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("1234")) == ["1", "2", "3", "4"]
    assert len(tokenizer) == VOCAB_SIZE
    for tag in TAGS:
        (number,) = tokenizer.encode(tag)
        assert tokenizer.decode([number], skip_special_tokens=True) == tag
    assert tokenizer.decode(tokenizer.encode(END), skip_special_tokens=True) == ""


def test_files_say_what_edge_runtimes_need(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    state = json.loads((folder / "tokenizer.json").read_text())
    assert "bos_token" in config
    assert config["bos_token"] is None
    assert state["padding"] is None
    assert state["truncation"] is None


def test_template_leaves_thinking_to_the_model(tokenizer) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n" + render_prompt("1 + 1?")
    assert "<think>" not in text


@pytest.mark.parametrize("task", PROGRAMS)
def test_exactly_the_prompt_and_the_planted_mistake_are_masked(tokenizer, task: str) -> None:
    num_planted = 0
    for seed, problem in enumerate(draw(Bucket.TEACHER_TRAIN, task=task, count=20, seed=0)):
        steps = PROGRAMS[task](problem).steps
        wrong = steps[0].guess({}, random.Random(seed))
        trace = write_trace(problem, seed=seed, mistakes={0: wrong}, style="terse")
        example = encode_trace(tokenizer, problem, seed=seed, trace=trace)
        masked = tokenizer.decode(example.tokens[example.weights == 0])
        num_planted += bool(trace.mistakes)
        planted = f" {wrong}" if trace.mistakes else ""
        assert masked == render_prompt(problem.question) + planted
        learnt = tokenizer.decode(example.tokens[example.weights > 0])
        assert learnt == trace.text.replace(f" {wrong}\ncheck:", "\ncheck:", 1) + END
    assert num_planted > 5


def test_values_of_a_trace_are_found_among_its_tokens(tokenizer) -> None:
    problem = draw(Bucket.TEACHER_TRAIN, task="quantities", count=1, seed=0)[0]
    example = encode_trace(tokenizer, problem, seed=0, trace=write_trace(problem, seed=0))
    steps = PROGRAMS["quantities"](problem).steps
    values = [tokenizer.decode(example.tokens[first:last]).strip() for _, first, last in example.origin.values]
    env: dict[str, str] = {}
    for step in steps:
        env[step.name] = step.value(env)
    assert values == list(env.values())


def test_rows_hold_whole_examples_and_little_padding(tokenizer) -> None:
    examples = teacher_examples(tokenizer, seed=0, own=deque(), shares=lambda: CLEAN)
    for batch in itertools.islice(pack(examples, rows=8, row_length=512, pad=0), 3):
        assert batch.tokens.shape == (8, 512)
        assert (batch.tokens == 0).mean() < 0.1
        for row in batch.tokens:
            text = tokenizer.decode(row[row != 0])
            assert text.count("<|im_start|>assistant") == text.count("</answer><|im_end|>")
            assert text.startswith("<|im_start|>user")


def test_own_mistake_is_found_and_becomes_a_correction(tokenizer) -> None:
    examples = teacher_examples(tokenizer, seed=1, own=deque(), shares=lambda: CLEAN)
    batch = next(pack((e for e in examples if e.origin), rows=4, row_length=512, pad=0))
    assert find_mistakes(batch, batch.tokens, tokenizer) == []
    row, column, origin = batch.origins[0]
    step, first, last = origin.values[0]
    sampled = batch.tokens.copy()
    (nine,) = tokenizer.encode("9")
    sampled[row, column + first : column + last] = nine
    (mistake,) = find_mistakes(batch, sampled, tokenizer)
    assert (mistake.origin, mistake.step, set(mistake.value)) == (origin, step, {"9"})
    wrong = PROGRAMS[origin.problem.task](origin.problem).steps[step].guess({}, random.Random(0)) if step == 0 else "9"
    shares = Shares(drills=0.0, own_mistakes=1.0, made_up_mistakes=0.1)
    again = next(
        teacher_examples(tokenizer, seed=2, own=deque([OwnMistake(origin, step, wrong)]), shares=lambda: shares)
    )
    assert render_prompt(origin.problem.question) in tokenizer.decode(again.tokens)


def test_training_draws_only_from_its_bucket_and_some_short_problems() -> None:
    rng = random.Random(0)
    problems = [draw_problem(rng, Bucket.BASE_TRAIN, short_share=0.5) for _ in range(300)]
    assert {bucket_of(p) for p in problems} == {Bucket.BASE_TRAIN}
    assert {p.task for p in problems} == PROGRAMS.keys()
    assert Counter(p.num_steps for p in problems)[1] > 20


def test_student_base_sees_no_thinking_and_long_contexts(tokenizer) -> None:
    examples = list(itertools.islice(student_examples(tokenizer, seed=0), 800))
    texts = [tokenizer.decode(e.tokens) for e in examples]
    assert not any("<think>" in text or "check:" in text for text in texts)
    assert sum("<answer>" in text for text in texts) > 80
    assert max(len(e.tokens) for e in examples) > 300
    assert np.unique(np.concatenate([e.weights for e in examples])).size == 2


def test_an_example_longer_than_a_row_is_left_out_and_holds_nothing_up() -> None:
    lengths = itertools.cycle([40, 5, 12])
    examples = (TrainingExample(np.full(n, n), np.ones(n, dtype=np.float32)) for n in lengths)
    for batch in itertools.islice(pack(examples, rows=2, row_length=30, pad=0), 100):
        assert not (batch.tokens == 40).any()
        assert (batch.weights.sum(axis=1) > 0).all(), "a row is empty"
