"""Asking a model: what is left to make, and what is looked at again when an engine was lost. No Ray in here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from small_run import small_config
from stillery.engines import asking, log
from stillery.engines.block import Plan
from stillery.engines.sources import Source
from stillery.records import Ask, Generation, Message, Prompt
from stillery.runs import Run
from stillery.storage import Folder

PROMPTS = [Prompt(f"p{i}", "t", f"question {i}", "1", "number", [], "test", "train", 1, None) for i in range(4)]


def made(plan: Plan, ask: Ask, index: int) -> Generation:
    return Generation(
        plan.sample_id(ask, index), ask.prompt_id, index, 0, ask.rendered, "right", "stop", 1, 1, -0.5, "m", "{}", 0,
        False, None,
    )  # fmt: skip


class Engines:
    """In place of Ray: makes three samples of every prompt, of which two count, and `forgets` to tell of some prompts
    the first time, as when an engine was lost."""

    def __init__(self, forgets: Sequence[str] = ()) -> None:
        self.calls: list[list[Ask]] = []
        self._forgets = forgets

    def sample(self, asks: list[Ask], *, plan: Plan, **_: Any) -> dict[str, int]:
        self.calls.append(asks)
        known = log.logged_ids(plan.log)
        for ask in asks:
            rows = [made(plan, ask, index) for index in range(3)]
            log.append(plan.log, ask.prompt_id, [row for row in rows if row.sample_id not in known], owner=plan.owner)
        forgotten = self._forgets if len(self.calls) == 1 else ()
        return {ask.prompt_id: 2 for ask in asks if ask.prompt_id not in forgotten}


def ask(engines: Engines, folder: Path, monkeypatch: pytest.MonkeyPatch, *, wanted: int | None) -> asking.Asked:
    monkeypatch.setattr(asking, "sample", engines.sample)
    source = Source("m", lambda conversations: [turns[0].content for turns in conversations], start=lambda: None)
    return asking.ask(
        PROMPTS, [[Message("user", prompt.question)] for prompt in PROMPTS], source=source,
        engine=small_config(folder).teacher, sampling={"seed": 0}, num_samples=3, run=Run(Folder(str(folder)), "r"),
        label="test", wanted=wanted,
    )  # fmt: skip


def test_prompts_whose_engine_was_lost_are_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = Engines(forgets=["p1", "p3"])
    asked = ask(engines, tmp_path, monkeypatch, wanted=2)
    assert [[a.prompt_id for a in call] for call in engines.calls] == [["p0", "p1", "p2", "p3"], ["p1", "p3"]]
    assert all(a.files for a in engines.calls[1]), "what the lost engine had made was not found"
    assert asked.needed == dict.fromkeys(["p0", "p1", "p2", "p3"], 2)
    rows = [row for part in asked.read(rows=100) for row in part]
    assert [row.surplus for row in rows] == [False, False, True] * 4


def test_without_a_stopping_rule_every_sample_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = Engines(forgets=["p0", "p1", "p2", "p3"])
    asked = ask(engines, tmp_path, monkeypatch, wanted=None)
    assert len(engines.calls) == 1
    assert asked.needed == dict.fromkeys(["p0", "p1", "p2", "p3"], 3)


def test_what_the_log_holds_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(Engines(forgets=["p0", "p1", "p2", "p3"]), tmp_path, monkeypatch, wanted=None)
    engines = Engines()
    ask(engines, tmp_path, monkeypatch, wanted=None)
    assert engines.calls == [[]]
