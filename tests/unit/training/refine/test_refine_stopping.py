"""The step that is kept, and the histories that end a refinement."""

import json
from pathlib import Path
from typing import Any

from stillery.config import StopRules
from stillery.training.refine.loop import ended
from stillery.training.refine.stopping import ACCURACY, LENGTH, LOGPROB_DIFFERENCE, STOPPED, best_step, why_stop


def history(accuracies: list[float], **figures: tuple[float, float]) -> list[dict[str, Any]]:
    """Ten steps between validations; each figure goes evenly from its first value to its last."""
    num_steps = 10 * (len(accuracies) - 1)
    rows: list[dict[str, Any]] = [{"step": 0, ACCURACY: accuracies[0]}]
    names = {"length": LENGTH, "difference": LOGPROB_DIFFERENCE}
    for step in range(1, num_steps + 1):
        share = step / num_steps
        values = {names.get(key, key): a + (b - a) * share for key, (a, b) in figures.items()}
        rows.append({"step": step, **values})
        if step % 10 == 0:
            rows.append({"step": step, ACCURACY: accuracies[step // 10]})
    return rows


def test_the_best_step_is_the_first_of_equals_and_may_be_the_start() -> None:
    assert best_step(history([0.5, 0.7, 0.6])) == 10
    assert best_step(history([0.5, 0.4, 0.5])) == 0
    assert best_step(history([0.5, 0.6, 0.6])) == 10


def test_a_reward_that_rises_while_accuracy_falls_ends_it() -> None:
    fallen = history([0.6, 0.5, 0.4], reward=(0.1, 0.9))
    assert "while validation accuracy fell from 0.600 to 0.400" in str(why_stop(fallen, StopRules()))
    assert why_stop(history([0.6, 0.5, 0.4], reward=(0.9, 0.1)), StopRules()) is None
    assert why_stop(history([0.6, 0.65, 0.7], reward=(0.1, 0.9)), StopRules()) is None
    # Once is chance: it must last.
    assert why_stop(history([0.6, 0.62, 0.4], reward=(0.1, 0.9)), StopRules()) is None
    assert why_stop(fallen, StopRules(max_accuracy_drop=None)) is None


def test_a_checkpoint_that_stopped_or_is_the_last_is_the_end(tmp_path: Path) -> None:
    rows = history([0.5, 0.6])
    for step, extra, is_over in ((10, [], False), (20, [], True), (10, [{"step": 10, STOPPED: "why"}], True)):
        state = {"global_step": step, "log_history": rows + extra}
        (tmp_path / "trainer_state.json").write_text(json.dumps(state))
        assert ended(tmp_path, steps=20) == (rows + extra if is_over else None)


def test_length_or_entropy_running_away_ends_it_in_both_directions() -> None:
    for figures in ({"length": (100.0, 500.0)}, {"length": (400.0, 20.0)}):
        assert "mean length" in str(why_stop(history([0.5, 0.5, 0.5, 0.5], **figures), StopRules(patience=1)))
    assert "entropy" in str(why_stop(history([0.5, 0.5, 0.5], entropy=(0.5, 0.01)), StopRules(patience=1)))
    assert why_stop(history([0.5, 0.5, 0.5], length=(100.0, 120.0), entropy=(0.5, 0.4)), StopRules()) is None


def test_an_engine_that_samples_from_other_weights_ends_it() -> None:
    assert "nats a token" in str(why_stop(history([0.5, 0.5, 0.5], difference=(0.4, 0.4)), StopRules()))
    assert why_stop(history([0.5, 0.5, 0.5], difference=(1e-6, 1e-6)), StopRules()) is None
    assert why_stop(history([0.5, 0.5, 0.5]), StopRules()) is None
