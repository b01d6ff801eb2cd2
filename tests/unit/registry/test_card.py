"""The model card of a version: what a reader of the card needs, and no secrets."""

import dataclasses

import yaml

from stillery.config import Config
from stillery.registry.card import write_card

METRICS = {
    "student_after/test/pass_at_1": 0.5,
    "student_after/test/pass_at_1_standard_error": 0.03,
    "student_after/test/num_problems": 180,
    "teacher/test/pass_at_1": 0.75,
    "bonds/teacher/strong_logic": 0.4,
}
TAGS = {"stillery.git_revision": "abc", "stillery.fingerprint.sft": "f00", "stillery.run_uri": "/home/ann/run"}


def card(**changes: object) -> str:
    settings = dataclasses.asdict(Config())
    for key, value in changes.items():
        section, name = key.split("__")
        settings[section][name] = value
    return write_card(name="small", version="3", settings=settings, metrics=METRICS, tags=TAGS)


def test_figures_recipe_and_lineage_are_told() -> None:
    text = card(sft__student="Qwen/Qwen3-0.6B", teacher__samples_per_prompt=16)
    front = yaml.safe_load(text.split("---")[1])
    assert front["base_model"] == "Qwen/Qwen3-0.6B"
    assert "# small, version 3" in text
    assert "| test | this model | 180 | 0.500 ± 0.030 |" in text
    assert "| test | teacher | 0 | 0.750 ± 0.000 |" in text
    assert "- `teacher.samples_per_prompt`: `16`" in text
    assert "- fingerprint.sft: `f00`" in text
    assert "/home/ann" not in text


def test_a_base_that_is_no_hub_name_is_no_base_model_there() -> None:
    assert "base_model" not in yaml.safe_load(card().split("---")[1])


def test_where_a_model_lies_is_not_told() -> None:
    text = card(sft__student="/home/ann/models/small", teacher__model="s3://secret-bucket/big")
    assert "`small`, taught by `big`" in text
    assert "ann" not in text
    assert "secret-bucket" not in text


def test_what_a_student_writes_and_how_it_was_refined() -> None:
    assert "reasons between `<think>` and `</think>`" in card()
    assert "writes no reasoning" in card(sft__completion="answer_only")
    assert "refine" not in card()
    refined = card(refine__enabled=True, refine__method="dpo")
    assert "then refinement by dpo" in refined
    assert "- `refine.method`: `dpo`" in refined
