"""bfloat16 on a CPU: only where the CPU has instructions for it."""

import logging

import pytest

from stillery.training import precision
from stillery.training.loop import trl_arguments


def _table(*, use_gpu: bool) -> dict[str, object]:
    config = {"trl": {"bf16": True}, "use_gpu": use_gpu, "seed": 0}
    return trl_arguments(config, has_validation=False)


def test_a_cpu_without_the_instructions_trains_in_float32_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert _table(use_gpu=False)["bf16"] is False
    assert "bf16 is left out" in caplog.text
    assert _table(use_gpu=True)["bf16"] is True


def test_rows_that_are_packed_for_validation_alone_keep_their_limit() -> None:
    config = {"trl": {"eval_packing": True, "max_length": 100}, "use_gpu": False, "seed": 0}
    assert trl_arguments(config, has_validation=True)["max_length"] == 100
    assert trl_arguments(config, has_validation=False)["max_length"] is None


def test_a_cpu_that_has_them_trains_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    assert _table(use_gpu=False)["bf16"] is True
