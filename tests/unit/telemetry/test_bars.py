"""Progress: a bar on a terminal, occasional lines elsewhere, and workers' lines printed like the driver's."""

import io
import logging

import pytest

from stillery.pipeline.runner import describe_kept
from stillery.telemetry.bars import QUIET_S, LineThrottle, ProgressBar
from stillery.telemetry.marked import mark, unmark
from stillery.telemetry.terminal import Printer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_says_how_far_how_fast_how_long_and_at_what_cost() -> None:
    bar = ProgressBar("generate", 50, 200, 30.0, "900 tokens/s, cost 0.50")
    assert str(bar) == "generate: 50/200 prompts, 900 tokens/s, cost 0.50, 90 s left"
    drawn = bar.draw(columns=120)
    assert drawn.startswith("generate:  25%|")
    assert "50/200 prompts [00:30<01:30, 900 tokens/s, cost 0.50]" in drawn
    assert len(bar.draw(columns=40)) < 40


def test_time_left_counts_only_what_this_start_has_done() -> None:
    assert ProgressBar("sft", 60, 100, 10.0, first=50).seconds_left == pytest.approx(40)
    assert ProgressBar("sft", 50, 100, 10.0, first=50).seconds_left is None
    assert str(ProgressBar("sft", 50, 100, 10.0, first=50, unit="steps")) == "sft: 50/100 steps"


def test_lines_stand_above_the_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    printer = Printer()
    printer.write("", terminal, bar=ProgressBar("sft", 1, 2, 1.0))
    printer.write("an engine broke", terminal)
    printer.write("", terminal, bar=ProgressBar("sft", 2, 2, 2.0))
    printer.write("sft: finished", terminal)
    screen = [part.rpartition("\x1b[K")[2] for part in terminal.getvalue().split("\n")]
    assert screen[0] == "an engine broke"
    assert screen[1].startswith("sft: 100%|")
    assert screen[2:] == ["sft: finished", ""]


def test_where_nobody_watches_few_lines_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = io.StringIO(), [100.0]
    monkeypatch.setattr("stillery.telemetry.bars.time.monotonic", lambda: now[0])
    printer = Printer()
    for done in range(1, 101):
        now[0] += QUIET_S / 40
        bar = ProgressBar("generate", done, 100, 1.0)
        printer.write(str(bar), out, bar=bar)
    shown = out.getvalue().splitlines()
    assert [line.split("/")[0] for line in shown] == ["generate: 41", "generate: 81", "generate: 100"]
    assert LineThrottle().is_due(ProgressBar("generate", 4, 4, 1.0)), "the end is always told"


def test_a_workers_record_is_whole_again_at_its_driver() -> None:
    record = logging.LogRecord("n", logging.INFO, "", 0, "sft: %d", (3,), None)
    record.fields = {"run": "demo"}
    record.bar = ProgressBar("sft", 3, 9, 1.0, numbers={"loss": 2.0})
    found = unmark(mark(record), name="n")
    assert found is not None
    assert (found.getMessage(), found.__dict__["fields"], found.__dict__["bar"]) == (
        "sft: 3",
        record.fields,
        record.bar,
    )
    assert unmark("loading weights", name="n") is None
    assert unmark(mark(record)[:-4], name="n") is None


def test_what_is_kept_of_a_run_that_was_stopped() -> None:
    assert describe_kept("generate", ["prompts"]) == (
        "generate was stopped: the samples that it has finished are in the run's log and are not made again; "
        "finished and kept: prompts"
    )
    assert "last checkpoint" in describe_kept("sft", ["prompts"])
    assert describe_kept("prompts", []).endswith("no stage was finished")
