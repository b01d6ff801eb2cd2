"""The output of a benchmark: table, metrics, what was forgotten; and the command's refusals."""

from pathlib import Path

import pytest

from stillery.benchmark.forgetting import compare, record_of
from stillery.benchmark.table import changes_table, table
from stillery.cli.main import main
from stillery.registry.benchmarks import losses_in, metrics_of_receipt
from support.receipts import receipt_of
from support.registered_models import scores_at


def test_the_table_has_a_line_a_task() -> None:
    lines = table(receipt_of(0.6)).splitlines()
    assert lines[0].split() == "task problems k avg@k pass@k majority@k cut off tokens".split()
    assert lines[1].split() == "t 12 5 0.600 ± 0.000 1.000 1.000 0.0% 5".split()
    receipt = receipt_of(0.6)
    receipt["tasks"]["t"]["result"] = None
    assert "every sample failed" in table(receipt)


def test_metrics_carry_their_errors_and_k() -> None:
    assert metrics_of_receipt(receipt_of(0.4)) == pytest.approx(
        {
            "benchmark/t/avg_at_5": 0.4,
            "benchmark/t/avg_at_5_standard_error": 0.0,
            "benchmark/t/pass_at_5": 1.0,
            "benchmark/t/pass_at_5_standard_error": 0.0,
            "benchmark/t/majority_at_5": 1.0,
            "benchmark/t/majority_at_5_standard_error": 0.0,
        }
    )
    assert set(metrics_of_receipt(receipt_of(1.0, samples=1))) == {
        "benchmark/t/avg_at_1",
        "benchmark/t/avg_at_1_standard_error",
    }


def test_a_task_is_lost_kept_or_unclear() -> None:
    high, low = {"t": scores_at(0.8)}, {"t": scores_at(0.4)}
    (lost,) = compare(high, low, max_loss=0.02)
    (kept,) = compare(low, high, max_loss=0.02)
    assert (lost.verdict, kept.verdict) == ("lost", "kept")
    # Six problems lost and six gained: the interval holds both.
    mixed = [*scores_at(1.0)[:30], *scores_at(0.0)[30:]]
    swapped = [*scores_at(0.0)[:30], *scores_at(1.0)[30:]]
    (unclear,) = compare({"t": mixed}, {"t": swapped}, max_loss=0.02)
    assert unclear.verdict == "unclear"
    record = record_of([lost], against="base", max_loss=0.02)
    assert losses_in(record) == "forgot more than 2 points against base: t -40.0 points [-40.0, -40.0]"
    assert losses_in(record_of([kept, unclear], against="base", max_loss=0.02)) is None
    assert changes_table([lost], against="base", max_loss=0.02).splitlines()[1].split()[-1] == "lost"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "gsm9k"], "no task 'gsm9k'; did you mean gsm8k"),
        (["--tasks", "gsm8k", "--limit", "0"], "--limit is 0; it must be 1 or more"),
        (["--tasks", "gsm8k", "--greedy", "--samples", "4"], "leave out --samples"),
        (["--tasks", "gsm8k", "--max-loss", "-1"], "it must be 0 or more"),
        (["--tasks", "gsm8k", "--data", "/nowhere"], "no such folder"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "embedded:teacher", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_server_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    command = ["benchmark", "http://127.0.0.1:9/v1", "--tasks", "mine", "--data", str(tmp_path)]
    assert main(command) == 2
    assert "http://127.0.0.1:9/v1/models does not list models" in capsys.readouterr().err
