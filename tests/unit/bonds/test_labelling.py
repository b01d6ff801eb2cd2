"""Labels from a language model: its prompts, the strict reading of its replies, and the cache on disk. The model is
scripted."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stillery.bonds import analyze, label_molecules
from stillery.bonds.model.labelling import LabelCache, LabelTask, MalformedReplyError, parse_labels
from stillery.errors import UserError
from stillery.records import BondKind, Message

STORY = (
    "Tom has 14 apples and buys 25 more, so he has 14 + 25 = 39 apples.\n"
    "He doubles them: 39 * 2 = 78 apples.\n"
    "Indeed, 78 / 2 = 39.\n"
    "The answer is 78.\n"
)
TASK = LabelTask("story", STORY, "How many apples?")


class Model:
    """Labels every pair that it is asked about with one word, or answers by a script."""

    def __init__(self, answer: Callable[[str], str] | str = "derives") -> None:
        self.answer = answer
        self.asked: list[list[Message]] = []

    def __call__(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        self.asked += [list(messages) for messages in conversations]
        return [self.reply(messages) for messages in conversations]

    def reply(self, messages: Sequence[Message]) -> str:
        if isinstance(self.answer, str):
            return labels_for(messages[0].content, self.answer)
        return self.answer(messages[-1].content)


def labels_for(prompt: str, word: str) -> str:
    pairs = re.findall(r"^\d+ -> \d+$", prompt.rpartition("Pairs:")[2], re.MULTILINE)
    return "\n".join(f"{pair}: {word}" for pair in pairs)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "labels.jsonl"


def test_the_model_has_the_last_word_on_kinds() -> None:
    plain = analyze(STORY, question=TASK.question)
    done = label_molecules([TASK], complete=Model("explores"), labeller="m")
    (molecule,) = done.molecules
    assert {(b.source, b.target) for b in molecule.bonds} == {(b.source, b.target) for b in plain.bonds}
    assert {(b.kind, b.origin) for b in molecule.bonds} == {(BondKind.EXPLORATION, "labels")}
    assert (molecule.stability, molecule.conflict) == (plain.stability, plain.conflict)
    assert molecule.stability_sum == pytest.approx(sum(b.strength for b in molecule.bonds))
    assert label_molecules([TASK], complete=Model("none"), labeller="m").molecules[0].bonds == []


def test_the_prompt_shows_the_numbered_steps_and_the_pairs() -> None:
    model = Model()
    label_molecules([TASK], complete=model, labeller="m")
    ((message,),) = model.asked
    assert "[2] He doubles them: 39 * 2 = 78 apples." in message.content
    assert "How many apples?" in message.content
    pairs = {(b.source + 1, b.target + 1) for b in analyze(STORY).bonds}
    assert f"{labels_for(message.content, 'x')}\n" == "".join(
        f"{a} -> {b}: x\n" for a, b in sorted(pairs, key=lambda p: (p[1], p[0]))
    )


@pytest.mark.slow
def test_long_traces_are_asked_about_in_parts() -> None:
    text = "".join(f"Then {n} + 17 = {n + 17} marbles.\n" for n in range(100, 100 + 17 * 90, 17))
    model = Model()
    done = label_molecules([LabelTask("long", text)], complete=model, labeller="m")
    assert done.num_asked == len(model.asked) > 1
    assert len(done.molecules[0].bonds) == len({(b.source, b.target) for b in analyze(text).bonds})
    assert "[90]" not in model.asked[0][0].content


def test_labels_are_kept_on_disk_and_not_asked_for_again(cache: Path) -> None:
    model = Model("checks")
    first = label_molecules([TASK], complete=model, labeller="m", cache=LabelCache(cache))
    again = label_molecules([TASK], complete=model, labeller="m", cache=LabelCache(cache))
    assert first.molecules == again.molecules
    assert (first.num_asked, first.num_cached) == (again.num_cached, again.num_asked) == (1, 0)
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("task", "labeller"),
    [(TASK, "another"), (LabelTask("story", STORY.replace("14", "15")), "m"), (LabelTask("story", STORY, "Why?"), "m")],
)
def test_other_traces_questions_and_labellers_are_asked_for(cache: Path, task: LabelTask, labeller: str) -> None:
    label_molecules([TASK], complete=Model(), labeller="m", cache=LabelCache(cache))
    done = label_molecules([task], complete=Model(), labeller=labeller, cache=LabelCache(cache))
    assert (done.num_cached, done.num_asked) == (0, 1)


def test_the_same_trace_twice_is_asked_about_once() -> None:
    model = Model()
    done = label_molecules([TASK, LabelTask("copy", STORY, TASK.question)], complete=model, labeller="m")
    assert len(model.asked) == 1
    assert done.molecules[0].bonds == done.molecules[1].bonds


@pytest.mark.slow
def test_a_crash_between_two_calls_keeps_what_was_labelled(cache: Path) -> None:
    tasks = [LabelTask(str(n), STORY.replace("Tom", f"Tom{n}")) for n in range(70)]
    calls: list[int] = []

    def crash(conversations: Sequence[Sequence[Message]]) -> list[str]:
        calls.append(len(conversations))
        if len(calls) == 2:
            raise RuntimeError("killed")
        return [labels_for(messages[0].content, "derives") for messages in conversations]

    with pytest.raises(RuntimeError, match="killed"):
        label_molecules(tasks, complete=crash, labeller="m", cache=LabelCache(cache))
    assert len(LabelCache(cache)) == calls[0] > 0
    done = label_molecules(tasks, complete=Model(), labeller="m", cache=LabelCache(cache))
    assert (done.num_cached, done.num_asked) == (calls[0], 70 - calls[0])


def test_a_line_that_a_crash_cut_off_is_taken_away(cache: Path) -> None:
    label_molecules([TASK], complete=Model(), labeller="m", cache=LabelCache(cache))
    whole = cache.read_bytes()
    cache.write_bytes(whole + b'{"key": "cut o')
    kept = LabelCache(cache)
    assert len(kept) == 1
    kept.put("other", [None])
    assert cache.read_bytes() == whole + b'{"key":"other","kinds":[null]}\n'


@pytest.mark.parametrize("line", ["{", '{"key": "k"}', '{"key": "k", "kinds": ["covalent"]}', "[]"])
def test_other_damage_is_told(cache: Path, line: str) -> None:
    cache.parent.mkdir()
    cache.write_text(f'{{"key":"a","kinds":[]}}\n{line}\n')
    with pytest.raises(UserError, match="line 2 is damaged"):
        LabelCache(cache)


def test_a_malformed_reply_is_sent_back_with_what_is_wrong() -> None:
    asked: list[str] = []

    def answer(last: str) -> str:
        asked.append(last)
        return "I think they all derive." if len(asked) == 1 else labels_for(asked[0], "derives")

    model = Model(answer)
    done = label_molecules([TASK], complete=model, labeller="m")
    assert done.failed == {}
    assert 'the line "I think they all derive." is not of the form' in asked[1]
    assert [message.role for message in model.asked[1]] == ["user", "assistant", "user"]


def test_after_the_last_attempt_the_analyzers_bonds_stay_and_it_is_told(cache: Path) -> None:
    model = Model(lambda _: "no idea")
    done = label_molecules([TASK], complete=model, labeller="m", cache=LabelCache(cache), attempts=2)
    assert len(model.asked) == 2
    assert list(done.failed) == ["story"]
    assert done.molecules == [analyze(STORY, question=TASK.question, sample_id="story")]
    assert len(LabelCache(cache)) == 0


@pytest.mark.parametrize(
    "reply",
    [
        "1 -> 2: derives\n1 -> 3: checks",
        "<think>1 -> 2: none</think>\n\n1 -> 3: CHECKS.\n1->2 : Derives\n",
        "```\n1 -> 2: derives\n1 -> 3: checks\n```",
        "<answer>\n1 -> 2: derives\n1 -> 3: checks\n</answer>",
    ],
)
def test_well_formed_replies(reply: str) -> None:
    assert parse_labels(reply, [(0, 1), (0, 2)]) == [BondKind.STRONG_LOGIC, BondKind.REFLECTION]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("", "1 -> 2 has no label"),
        ("1 -> 2: derives", "1 -> 3 has no label"),
        ("1 -> 2: derives\n1 -> 3: checks\n2 -> 3: none", "2 -> 3 is not among the pairs"),
        ("1 -> 2: derives\n1 -> 2: checks\n1 -> 3: checks", "1 -> 2 is labelled twice"),
        ("1 -> 2: derives\n1 -> 3: covalent", "not of the form"),
        ("Sure!\n1 -> 2: derives\n1 -> 3: checks", "not of the form"),
        ("<think>1 -> 2: derives\n1 -> 3: checks", "not of the form"),
    ],
)
def test_malformed_replies(reply: str, message: str) -> None:
    with pytest.raises(MalformedReplyError, match=re.escape(message)):
        parse_labels(reply, [(0, 1), (0, 2)])


def test_replies_for_other_requests_are_an_error() -> None:
    with pytest.raises(ValueError, match="1 requests were made, 0 replies"):
        label_molecules([TASK], complete=lambda _: [], labeller="m")


def test_traces_without_bonds_ask_nothing() -> None:
    model = Model()
    done = label_molecules([LabelTask("empty", ""), LabelTask("one", "7")], complete=model, labeller="m")
    assert model.asked == []
    assert [len(m.atoms) for m in done.molecules] == [0, 1]


def test_the_cache_is_lines_of_json(cache: Path) -> None:
    label_molecules([TASK], complete=Model("none"), labeller="m", cache=LabelCache(cache))
    (row,) = [json.loads(line) for line in cache.read_text().splitlines()]
    assert set(row["kinds"]) == {None}
