"""Sampling a model on prompts: what remains to be made, what is checked again, and what must not be missing. Without
Ray."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stillery.config.passthrough import SAMPLING_PARAMS
from stillery.errors import UserError
from stillery.io.run_folder import Run
from stillery.io.storage import Folder
from stillery.records import Generation, Message, Prompt, RenderedPrompt, from_table
from stillery.sampling import sampler
from stillery.sampling.backend import Backend
from stillery.sampling.engine_actors import BatchOutcome
from stillery.sampling.inventory import VISIBLE_WITHIN_S, Inventory
from stillery.sampling.sample_log import SampleLog, next_number
from stillery.sampling.sampling_plan import DEFAULT_MAX_TOKENS, SamplingPlan
from support.small_run import small_config

PROMPTS = [Prompt(f"p{i}", "t", f"question {i}", "1", "number", [], "test", "train", 1, None) for i in range(4)]
LIMIT = 100


def made(plan: SamplingPlan, prompt: RenderedPrompt, index: int, **changes: Any) -> Generation:
    row = Generation(
        plan.sample_id(prompt, index), prompt.prompt_id, index, 0, prompt.rendered, "right", "stop", 10, 5, None, "m",
        "{}", 0, False, None,
    )  # fmt: skip
    return dataclasses.replace(row, **changes)


@dataclasses.dataclass
class Engines:
    """In place of Ray: makes what of three samples of every prompt the log lacks, as `make` says; two count
    where so many are wanted.

    `forgets` are prompts of which nothing is told the first time, as when an engine was lost; `spoil` is given each
    file that was written, and by the how-many-th call.
    """

    make: Callable[[SamplingPlan, RenderedPrompt, int], Generation] = made
    forgets: Sequence[str] = ()
    spoil: Callable[[Path, int], None] = lambda _path, _call: None
    calls: list[list[RenderedPrompt]] = dataclasses.field(default_factory=list)
    num_made: int = 0

    def run_batches(self, prompts: list[RenderedPrompt], *, plan: SamplingPlan, **_: Any) -> BatchOutcome:
        self.calls.append(prompts)
        outcome = BatchOutcome()
        for prompt in prompts:
            known = [r for t in plan.log.read(prompt.files).tables.values() for r in from_table(t, Generation)]
            rows = [self.make(plan, prompt, index) for index in range(3)]
            held = {row.sample_id for row in rows if plan.pick([k for k in known if k.sample_id == row.sample_id])}
            rows = [row for row in rows if row.sample_id not in held]
            self.num_made += len(rows)
            is_told = len(self.calls) > 1 or prompt.prompt_id not in self.forgets
            if rows:
                name = plan.log.append(prompt.prompt_id, rows, number=next_number(plan.log.files(prompt.prompt_id)))
                self.spoil(plan.log.folder.local / name, len(self.calls))
                if is_told:
                    outcome.written[name] = b"".join(bytes.fromhex(row.sample_id) for row in rows)
            if is_told:
                outcome.needed[prompt.prompt_id] = 2 if plan.target_accepted else plan.num_samples
        return outcome


def sample(
    engines: Engines,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    target_accepted: int | None = None,
    limit: int = LIMIT,
) -> sampler.SampledPrompts:
    monkeypatch.setattr(sampler, "run_batches", engines.run_batches)
    source = Backend(
        "m", lambda conversations: [turns[0].content for turns in conversations], start=lambda: None,
        max_model_len=limit,
    )  # fmt: skip
    return sampler.sample(
        PROMPTS, [[Message("user", prompt.question)] for prompt in PROMPTS], source=source,
        engine=small_config(folder).teacher, sampling={"seed": 0, "max_tokens": 512}, num_samples=3,
        run=Run(Folder(str(folder)), "r"), label="test", target_accepted=target_accepted,
    )  # fmt: skip


def rows_of(samples: sampler.SampledPrompts, *, rows: int = 100) -> list[Generation]:
    return [row for table in samples.tables(rows=rows) for row in from_table(table, Generation)]


def test_prompts_whose_engine_was_lost_are_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = Engines(forgets=["p1", "p3"])
    samples = sample(engines, tmp_path, monkeypatch, target_accepted=2)
    assert [[a.prompt_id for a in call] for call in engines.calls] == [["p0", "p1", "p2", "p3"], ["p1", "p3"]]
    assert all(prompt.files for prompt in engines.calls[1]), "what the lost engine had made was not found"
    assert engines.num_made == 12
    assert samples.needed == dict.fromkeys(["p0", "p1", "p2", "p3"], 2)
    assert [row.surplus for row in rows_of(samples)] == [False, False, True] * 4


def test_without_a_stopping_rule_every_sample_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = Engines(forgets=["p0", "p1", "p2", "p3"])
    samples = sample(engines, tmp_path, monkeypatch)
    assert len(engines.calls) == 1
    assert samples.needed == dict.fromkeys(["p0", "p1", "p2", "p3"], 3)
    assert not any(row.surplus for row in rows_of(samples))


@pytest.mark.slow
def test_what_the_log_holds_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample(Engines(), tmp_path, monkeypatch)
    engines = Engines()
    sample(engines, tmp_path, monkeypatch)
    assert engines.calls == []


@pytest.mark.parametrize("rows", [1, 4, 7, 100])
def test_samples_come_in_the_order_of_the_prompts_whatever_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    found = rows_of(sample(Engines(), tmp_path, monkeypatch), rows=rows)
    assert [(row.prompt_id, row.sample_index) for row in found] == [(p.prompt_id, i) for p in PROMPTS for i in range(3)]


def lose(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_files_that_cannot_be_read_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = Engines(spoil=lambda path, call: empty(path) if call == 1 and "/p2/" in str(path) else None)
    samples = sample(engines, tmp_path, monkeypatch)
    assert [[p.prompt_id for p in call] for call in engines.calls] == [["p0", "p1", "p2", "p3"], ["p2"]]
    assert len({row.sample_id for row in rows_of(samples)}) == 12


@pytest.mark.parametrize("target_accepted", [None, 2])
def test_samples_that_are_never_there_end_the_run_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target_accepted: int | None
) -> None:
    engines = Engines(spoil=lambda path, _: empty(path) if "/p1/" in str(path) else None)
    with pytest.raises(
        UserError, match=r"after 3 attempts [23] samples of 4 prompts are not in .*: sample 0 of prompt p1"
    ):
        sample(engines, tmp_path, monkeypatch, target_accepted=target_accepted)
    assert len(engines.calls) == 3


def test_where_a_prompt_stopped_must_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Engines):
        def run_batches(self, prompts: list[RenderedPrompt], *, plan: SamplingPlan, **_: Any) -> BatchOutcome:
            outcome = super().run_batches(prompts, plan=plan)
            outcome.needed.pop("p2", None)
            return outcome

    with pytest.raises(UserError, match=r"of 1 prompts it is not known where they stopped: where prompt p2 stopped"):
        sample(Silent(), tmp_path, monkeypatch, target_accepted=2)


def test_samples_that_vanish_after_they_were_counted_are_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = sample(Engines(), tmp_path, monkeypatch)
    lose(samples.plan.log.folder.local / samples.prompts[3].files[0])
    with pytest.raises(UserError, match="sample 0 of prompt p3 cannot be read any more; start again"):
        rows_of(samples)


def plan_in(folder: Path, **changes: Any) -> SamplingPlan:
    settings: dict[str, Any] = {"identity": "m", "sampling": {"max_tokens": 50}, "num_samples": 3, "flush_every": 4}
    return SamplingPlan(**{**settings, "log": SampleLog(Folder(str(folder))), "max_model_len": LIMIT, **changes})


ONE = RenderedPrompt("p", "question", [])


def test_a_file_that_another_machine_does_not_show_yet_is_waited_for(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    name = plan.log.append("b", [made(plan, ONE, 0)], number=1)
    hidden = (tmp_path / name).rename(tmp_path / "hidden")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            hidden.rename(tmp_path / name)

    inventory = Inventory([ONE], plan=plan)
    inventory.look({name: bytes.fromhex(plan.sample_id(ONE, 0))}, sleep=sleep)
    assert len(waits) == 3
    assert [index for _, index in inventory.missing([ONE], {}, failed=True)] == [1, 2]


def test_a_file_that_never_appears_is_named(tmp_path: Path) -> None:
    plan, waits = plan_in(tmp_path), list[float]()
    with pytest.raises(
        UserError, match=r"1 files that engines have written are not there .* first is b/000001-x\.parquet"
    ):
        Inventory([ONE], plan=plan).look({"b/000001-x.parquet": bytes(16)}, sleep=waits.append)
    assert VISIBLE_WITHIN_S <= sum(waits) < 2 * VISIBLE_WITHIN_S


def test_a_file_that_another_stands_for_is_not_waited_for(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    names = [plan.log.append("b", [made(plan, ONE, index)], number=index + 1) for index in range(3)]
    plan.log.compact("b")
    inventory = Inventory([ONE], plan=plan)
    inventory.look(
        {name: bytes.fromhex(plan.sample_id(ONE, index)) for index, name in enumerate(names)}, sleep=pytest.fail
    )
    assert inventory.missing([ONE], {}, failed=True) == []


def test_a_file_that_lacks_what_was_written_to_it_ends_the_run(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    name = plan.log.append("b", [made(plan, ONE, 0)], number=1)
    ids = bytes.fromhex(plan.sample_id(ONE, 0) + plan.sample_id(ONE, 1))
    with pytest.raises(UserError, match=f"lacks 1 of 2 samples that were written to it, .*{plan.sample_id(ONE, 1)}"):
        Inventory([ONE], plan=plan).look({name: ids})


def cut_at(total: int) -> Callable[[SamplingPlan, RenderedPrompt, int], Generation]:
    """Sample 1 ends for length at so many tokens with the prompt's, the others end by themselves."""

    def make(plan: SamplingPlan, prompt: RenderedPrompt, index: int) -> Generation:
        if index != 1:
            return made(plan, prompt, index)
        return made(plan, prompt, index, completion=f"cut at {total}", finish_reason="length", num_tokens=total - 10)

    return make


def test_what_a_smaller_context_cut_off_is_made_again_once_it_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample(Engines(cut_at(100)), tmp_path, monkeypatch)
    same = Engines(cut_at(100))
    sample(same, tmp_path, monkeypatch)
    assert same.num_made == 0, "the context is the same"
    raised = Engines(cut_at(300))
    rows = rows_of(sample(raised, tmp_path, monkeypatch, limit=300))
    assert raised.num_made == 4
    assert [row.completion for row in rows] == ["right", "cut at 300", "right"] * 4
    assert len({row.sample_id for row in rows}) == 12
    again = Engines(cut_at(300))
    assert rows_of(sample(again, tmp_path, monkeypatch, limit=300)) == rows
    assert again.num_made == 0


@pytest.mark.slow
def test_a_context_that_is_not_what_it_seems_is_believed_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample(Engines(cut_at(100)), tmp_path, monkeypatch)
    raised = Engines(cut_at(100))
    rows = rows_of(sample(raised, tmp_path, monkeypatch, limit=300))
    assert raised.num_made == 4
    assert [row.completion for row in rows] == ["right", "cut at 100", "right"] * 4
    again = Engines(cut_at(100))
    sample(again, tmp_path, monkeypatch, limit=300)
    assert again.num_made == 0


@pytest.mark.parametrize(
    ("sampling", "limit", "num_tokens", "is_cut"),
    [
        ({"max_tokens": 50}, 100, 50, False),
        ({"max_tokens": 50}, 100, 40, True),
        ({"max_tokens": None}, 100, 80, True),
        ({"max_tokens": None}, 90, 80, False),
        ({"max_tokens": None}, None, 80, False),
        ({}, 100, DEFAULT_MAX_TOKENS, False),
    ],
)
def test_only_what_the_context_cut_off_is_cut_short(
    tmp_path: Path, sampling: dict[str, Any], limit: int | None, num_tokens: int, is_cut: bool
) -> None:
    plan = plan_in(tmp_path, sampling=sampling, max_model_len=limit)
    row = made(plan, ONE, 0, finish_reason="length", num_tokens=num_tokens)
    assert plan.is_cut_short(row) is is_cut
    assert not plan.is_cut_short(dataclasses.replace(row, finish_reason="stop"))
    assert not plan.is_cut_short(dataclasses.replace(row, error="refused"))


def test_a_good_row_goes_before_a_cut_one_and_a_failed_one(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    good = made(plan, ONE, 0)
    cut = made(plan, ONE, 0, finish_reason="length", num_tokens=40)
    failed = made(plan, ONE, 0, error="refused", finish_reason=None)
    assert plan.pick([cut, failed, good]) == good
    assert plan.pick([cut, failed]) == failed
    assert plan.pick([cut]) is plan.pick([]) is None
    assert plan.pick([cut, cut]) == cut


def test_the_default_number_of_tokens_is_vllm_s() -> None:
    import ast
    import importlib.util

    ((package, file, name),) = SAMPLING_PARAMS.sources
    root = importlib.util.find_spec(package)
    assert root is not None
    assert root.submodule_search_locations
    tree = ast.parse((Path(root.submodule_search_locations[0]) / file).read_text())
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    fields = {
        n.target.id: n.value for n in found.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }
    assert ast.literal_eval(fields["max_tokens"]) == DEFAULT_MAX_TOKENS
