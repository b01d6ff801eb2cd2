"""Attention targets: what operands rest on, rows weighted by what distance cannot predict, the same characters under
other tokenizers, targets that fit no sample, uninformative heads."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillery.config import AttentionConfig, SftConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import AttentionRow, AttentionSource, AttentionTarget, Generation, Message, Sample
from stillery.sampling.chat.conversation import student_format
from stillery.training.attention.alignment import Aligned, align
from stillery.training.attention.distance import concordance, departure, fit_decay, predict
from stillery.training.attention.drafts import Draft, Operand, draft
from stillery.training.attention.files import NO_OPERANDS, NOT_WRITTEN_SO, calibrate, targets_name, write_targets
from stillery.training.attention.heads import choose_heads, pooled
from stillery.training.attention.targets import check_target, make_target, text_digest
from stillery.training.data import prepare_file

QUESTION = "A bus leaves with 48 people. It leaves 1 people. It picks up 4 people. How many people are on the bus now?"
THINKING = "start 48\nthen leaves 1: 48 - 1 = 47\nthen picks up 4: 47 + 4 = 51\n"
COMPLETION = f"<think>\n{THINKING}</think>\n<answer>51</answer>"
FILE = "samples-00000.parquet"


def sample(completion: str = COMPLETION, *, question: str = QUESTION, number: int = 0) -> Sample:
    return Sample(
        f"s{number}", f"p{number}", "t", "train", [Message("user", question)], [Message("assistant", completion)], [],
        "reasoning", "T",
    )  # fmt: skip


def target_of(one: Sample) -> AttentionTarget:
    found = draft(one)
    return make_target(one, found, [(o, o.shares) for o in found.operands], decay=1.0, max_rows=32)


def told(one: Sample) -> list[tuple[str, list[str]]]:
    """Each operand with the texts that it rests on."""
    found, (question, completion) = draft(one), (one.prompt[0].content, one.completion[0].content)
    texts = [(question if s.of_question else completion)[s.start : s.end].strip() for s in found.sources]
    return [
        (completion[o.start : o.end], [text for text, share in zip(texts, o.shares, strict=False) if share > 0])
        for o in found.operands
    ]


def test_operands_rest_on_the_bonded_step_that_says_them_or_on_the_question() -> None:
    assert (
        told(sample())
        == [
            ("47", ["then leaves 1: 48 - 1 = 47"]),
            ("51", ["then picks up 4: 47 + 4 = 51"]),
        ]
        or told(sample())[0][0] == "48"
    )
    found = dict(told(sample()))
    assert found["48"] == ["<think>\nstart 48"]
    assert "1" not in found, "its own step said it before"
    coins = sample(
        "<think>\nstart heads\nthen Finn flips: tails\n</think>\n<answer>no</answer>",
        question="A coin is heads up. Finn turns the coin over. Is the coin still heads up?",
    )
    # No earlier step says "tails": what the step is bonded to, not named.
    assert ("tails", ["<think>\nstart heads"]) in told(coins)
    assert [
        o.is_named for o in draft(coins).operands if coins.completion[0].content[o.start :].startswith("tails")
    ] == [False]


def test_shares_sum_to_one_over_what_lies_before_the_step() -> None:
    found = draft(sample())
    for operand in found.operands:
        assert operand.shares.sum() == pytest.approx(1)
        before = found.sources[: len(operand.shares)]
        assert all(source.of_question or source.end <= operand.start for source in before)
        distance, length = found.distance(operand)
        assert len(distance) == len(length) == len(before)
        # The question stands before the completion: the first sentence is farthest.
        assert distance.argmax() == 0


def test_a_row_weighs_what_distance_alone_does_not_tell() -> None:
    found = Draft([AttentionSource(0, 10, True), AttentionSource(0, 10, False), AttentionSource(10, 20, False)], [], 10)
    near, far = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    operand = Operand(25, 26, near, True)
    predicted = predict(found, operand, decay=2.0)
    assert predicted[2] > predicted[1] > predicted[0]
    assert departure(near, predicted) < departure(far, predicted) < 1
    assert fit_decay([(found, operand, near)]) == pytest.approx(4.0)
    assert fit_decay([(found, operand, far)]) == pytest.approx(-2.0)
    assert fit_decay([]) <= 0
    target = make_target(
        sample(), found, [(operand, near), (operand, far), (operand, predicted)], decay=2.0, max_rows=1
    )
    assert [row.mass.index(max(row.mass)) for row in target.rows] == [0]
    assert sum(target.rows[0].mass) == pytest.approx(departure(far, predicted))


def test_concordance_counts_ties_half_and_needs_both_kinds() -> None:
    assert concordance(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]), np.array([1.0, 0, 0])).tolist() == [1.0, 0.25]
    assert np.isnan(concordance(np.array([0.5, 0.5]), np.array([0.5, 0.5])))


def tokenizer_of(kind: str) -> Any:
    """A tokenizer that cuts into characters, into words with their blanks, or as the embedded student does."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    from support.chat_models import STUDENT

    if kind == "student":
        return AutoTokenizer.from_pretrained(STUDENT)
    pattern = "." if kind == "characters" else r"\s*[^\s:=<>]+|[:=<>]"
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?")


def aligned_with(kind: str, *, prompt: str, completion: str) -> tuple[Aligned, list[tuple[int, int]], str]:
    tokenizer, found, whole = tokenizer_of(kind), draft(sample()), prompt + completion
    aligned = align(
        tokenizer, prompt=prompt, completion=completion, question=QUESTION, content=COMPLETION, sources=found.sources,
        operands=[(o.start, o.end, len(o.shares)) for o in found.operands],
    )  # fmt: skip
    assert aligned is not None
    encoded = tokenizer([prompt, completion], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    offsets = [tuple(o) for o in encoded[0]] + [(a + len(prompt), b + len(prompt)) for a, b in encoded[1]]
    assert len(offsets) == len(aligned.input_ids) == len(aligned.sources)
    return aligned, offsets, whole


@pytest.mark.parametrize("kind", ["student", "characters", "words"])
@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        (f"<|user|>\n{QUESTION}\n<|assistant|>\n", f"{COMPLETION}<|end|>"),
        (f"Solve it.\n\n{QUESTION}  <|assistant|><think>\n", COMPLETION.removeprefix("<think>\n") + "<|end|>"),
        (f"{QUESTION} {QUESTION}\n", COMPLETION.replace("\n", "\n\n")),
    ],
    ids=["plain", "thinking opened", "other white space"],
)
def test_any_tokenizer_finds_the_same_characters(kind: str, prompt: str, completion: str) -> None:
    aligned, offsets, whole = aligned_with(kind, prompt=prompt, completion=completion)
    found = draft(sample())
    assert aligned.sources[0] == 0
    for number, source in enumerate(found.sources, 1):
        text = (QUESTION if source.of_question else COMPLETION)[source.start : source.end]
        spans = [offsets[i] for i, s in enumerate(aligned.sources) if s == number]
        read = "".join(whole[min(a for a, _ in spans) : max(b for _, b in spans)].split())
        expected = "".join(text.split())
        # A token that two steps share goes to the one with most of it, and the first token to none.
        assert read in expected or expected in read
        assert len(read) >= len(expected) - 8
    for operand, query in zip(found.operands, aligned.queries, strict=True):
        assert query is not None
        begins = whole[offsets[query + 1][0] :].lstrip()
        assert begins.startswith(COMPLETION[operand.start : operand.end])
        assert (
            not whole[offsets[query][0] : offsets[query][1]].strip().endswith(COMPLETION[operand.start : operand.end])
        )


def test_texts_that_are_not_there_are_not_found() -> None:
    tokenizer = tokenizer_of("characters")
    given: dict[str, Any] = {"question": "Why?", "content": "Because.", "sources": [], "operands": []}
    assert align(tokenizer, prompt="Why? ", completion="Because.", **given) is not None
    assert align(tokenizer, prompt="How? ", completion="Because.", **given) is None
    assert align(tokenizer, prompt="Why? ", completion="As so.", **given) is None


GOOD = AttentionTarget(
    "s0",
    text_digest(sample()),
    [AttentionSource(0, 28, True), AttentionSource(0, 17, False), AttentionSource(17, 40, False)],
    [AttentionRow(45, 47, [0.1, 0.2, 0.3])],
)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (replace(GOOD, sample_id="other"), "in its place stands the target of sample other"),
        (replace(GOOD, text="0"), "made for another question or completion"),
        (replace(GOOD, sources=[AttentionSource(0, 280, True)]), "source 0 .0 to 280. does not fit"),
        (replace(GOOD, sources=[AttentionSource(9, 9, False)]), "source 0 .9 to 9. does not fit"),
        (replace(GOOD, sources=GOOD.sources[::-1]), "source 1"),
        (replace(GOOD, rows=[AttentionRow(45, 4700, [0.1, 0.2])]), "row 0 .45 to 4700. does not fit"),
        (replace(GOOD, rows=[AttentionRow(45, 47, [0.1] * 4)]), "row 0 .45 to 47. does not fit"),
        (replace(GOOD, rows=[AttentionRow(30, 32, [0.1, 0.2, 0.3])]), "attends to a step that ends behind it"),
        (replace(GOOD, rows=[AttentionRow(45, 47, [0.1, float("nan"), 0.3])]), "masses that are no shares"),
        (replace(GOOD, rows=[AttentionRow(45, 47, [0.9, 0.9, 0.3])]), "masses that are no shares"),
        (replace(GOOD, rows=[AttentionRow(45, 47, [0.0, 0.0, 0.0])]), "masses that are no shares"),
    ],
)
def test_a_target_that_does_not_fit_its_sample_is_refused(target: AttentionTarget, why: str) -> None:
    check_target(GOOD, sample())
    with pytest.raises(UserError, match=why):
        check_target(target, sample())


def test_bonds_targets_of_a_file_reach_the_rows_of_training(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    samples, out = Folder(str(tmp_path / "samples")), Folder(str(tmp_path / "targets"))
    rows = [sample(), sample("<think>\nhm\n</think>\n<answer>?</answer>", number=1)]
    samples.write_rows(FILE, rows, Sample)
    config = AttentionConfig(target="bonds")
    calibration = calibrate(config, teacher=None, samples=samples, generations=samples)
    counts = write_targets(
        FILE, config=config, calibration=calibration, teacher=None, samples=samples, generations=samples, out=out
    )
    first, second = out.read_rows(targets_name(FILE), AttentionTarget)
    assert counts == {"samples": 2, "rows": len(first.rows), "without": {NO_OPERANDS: 1}}
    assert second.error == NO_OPERANDS
    chat = student_format(SftConfig())

    def prepare(name: str = FILE) -> Any:
        data = Folder(str(tmp_path / "data"))
        return prepare_file(name, config=SftConfig(), chat=chat, samples=samples, data=data, weighted=True, targets=out)

    prepared = prepare()
    assert prepared.num_attending == len(first.rows)
    assert prepared.mass == pytest.approx(sum(sum(row.mass) for row in first.rows), rel=1e-5)
    (columns, empty) = pq.read_table(tmp_path / "data" / f"train-{FILE}").to_pylist()
    assert len(columns["attention_masses"]) == len(columns["attention_sources"]) == len(columns["input_ids"])
    assert not any(empty["attention_masses"])
    samples.write_rows(FILE, rows[::-1], Sample)
    with pytest.raises(UserError, match="in its place stands the target of sample s0"):
        prepare()
    out.write_rows(targets_name(FILE), [second], AttentionTarget)
    with pytest.raises(UserError, match="sample s0 is missing"):
        prepare()
    out.remove(targets_name(FILE))
    with pytest.raises(UserError, match="were not made from these samples"):
        prepare()


def readings(*, telling: bool, count: int = 12) -> list[tuple[Draft, list[tuple[Operand, Any]]]]:
    """Two layers of two heads; with `telling`, head 1 of layer 1 is on what operands rest on."""
    rng = np.random.default_rng(0)
    sources = [AttentionSource(10 * i, 10 * i + 10, False) for i in range(6)]
    found: list[tuple[Draft, list[tuple[Operand, Any]]]] = []
    for _ in range(count):
        shares = np.zeros(6)
        shares[rng.integers(6)] = 1.0
        attention = rng.dirichlet(np.ones(6), size=(2, 2))
        if telling:
            attention[1, 1] = 0.8 * shares + 0.2 * attention[1, 1]
        operand = Operand(62, 64, shares, True)
        found.append((Draft(sources, [operand], 0), [(operand, attention)]))
    return found


def test_the_heads_that_tell_what_claims_rest_on_are_chosen() -> None:
    heads = choose_heads(readings(telling=True, count=40), num_heads=1, min_gain=0.1)
    assert heads.chosen == [(1, 1)]
    assert heads.auc == 1.0
    assert heads.num_rows == 20
    assert pooled(np.arange(24.0).reshape(2, 2, 6), [(0, 0), (1, 1)]).tolist() == [9.0, 10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("found", "why"),
    [(readings(telling=False, count=400), "distance alone with"), ([], "no claims in the samples name")],
    ids=["no better than distance", "no claims"],
)
def test_heads_that_tell_nothing_end_the_stage(found: Sequence[Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        choose_heads(found, num_heads=2, min_gain=0.1)


def test_the_teachers_attention_is_read_where_it_wrote_the_sample(tmp_path: Path) -> None:
    from stillery.sampling.models import resolve_model

    samples, generations = Folder(str(tmp_path / "samples")), Folder(str(tmp_path / "generations"))
    rows = [sample(number=number) for number in range(4)]
    samples.write_rows(FILE, rows, Sample)

    def generation(row: Sample, completion: str) -> Generation:
        return Generation(
            row.sample_id, row.prompt_id, 0, 0, f"<|user|>\n{QUESTION}\n<|assistant|>\n", completion, "stop", 1, 1,
            None, "T", "{}", 0, False, None,
        )  # fmt: skip

    written = [generation(row, COMPLETION if row.sample_id != "s3" else "something else") for row in rows]
    generations.write_rows("generations-00000.parquet", written, Generation)
    config = AttentionConfig(target="teacher", min_gain=-1.0, num_heads=2)
    given: dict[str, Any] = {
        "teacher": resolve_model("embedded:teacher"), "samples": samples, "generations": generations
    }  # fmt: skip
    calibration = calibrate(config, **given)
    assert calibration.heads is not None
    assert len(calibration.heads.chosen) == 2
    out = Folder(str(tmp_path / "targets"))
    counts = write_targets(FILE, config=config, calibration=calibration, out=out, **given)
    assert counts["without"] == {NOT_WRITTEN_SO: 1}
    targets = out.read_rows(targets_name(FILE), AttentionTarget)
    assert targets[0].rows == targets[1].rows != []
    for row, target in zip(rows, targets, strict=True):
        check_target(target, row)
    # Another model asks by its own template, whatever the teacher's prompt and completion were.
    other = replace(config, model="embedded:teacher")
    assert write_targets(FILE, config=other, calibration=calibration, out=out, **given)["without"] == {}
