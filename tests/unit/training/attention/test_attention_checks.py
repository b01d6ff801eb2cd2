"""Attention settings that are refused before the first stage."""

from pathlib import Path

import pytest

from stillery.config import Config, load_config
from stillery.errors import UserError
from stillery.training.attention.checks import check_attention, is_on, layer_of

ENDPOINT = ("teacher.kind=endpoint", "teacher.model=far/away", "teacher.endpoint.base_url=http://localhost:1/v1")
DEMO = Path(__file__).parents[4] / "jobs" / "configs" / "demo.yaml"


def config(*settings: str) -> Config:
    return load_config(DEMO, ["sft.answer_only_tasks=[]", *settings])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (["attention.target=bond"], "no target 'bond'; did you mean bonds"),
        (["attention.weight=-1"], "a weight is not negative"),
        (["attention.anneal_until=0"], "a share above 0, at most 1"),
        (["attention.num_heads=0"], "num_heads is 0; it must be at least 1"),
        (["attention.target=bonds", "attention.student_layer=9"], "has layers 0 to 3"),
        (["attention.target=bonds", "sft.completion=answer_only"], "needs whole traces"),
        (["attention.target=bonds", "sft.answer_only_tasks=[coins]"], "needs whole traces of all tasks"),
        (["attention.target=bonds", "sft.trl.packing=true", "sft.trl.packing_strategy=wrapped"], "take bfd"),
        (["attention.target=bonds", "sft.trl.loss_type=dft"], "loss_type=nll"),
        (
            ["attention.target=bonds", "sft.trl.gradient_checkpointing_kwargs={use_reentrant: true}"],
            "use_reentrant=false",
        ),
        (["attention.target=teacher", *ENDPOINT], "name a model in attention.model"),
        (["attention.target=teacher", "attention.model=/nowhere"], "attention.model=/nowhere"),
    ],
)
def test_what_cannot_work_is_refused(settings: list[str], why: str) -> None:
    with pytest.raises(UserError, match=why):
        check_attention(config(*settings))


def test_what_works_passes() -> None:
    assert not is_on(config())
    assert not is_on(config("attention.target=bonds", "attention.weight=0"))
    for settings in ([], ["attention.target=bonds"], ["attention.target=teacher"]):
        check_attention(config(*settings))
    elsewhere = config("attention.target=teacher", "attention.model=embedded:teacher", *ENDPOINT)
    check_attention(elsewhere)
    assert layer_of(elsewhere.attention, "embedded:student") == 2
