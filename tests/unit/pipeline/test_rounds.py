"""The runs of a second and a third round, as configs that pass the checks."""

from pathlib import Path

import pytest

from stillery.config import Config, load_config
from stillery.errors import UserError
from stillery.io.run_folder import run_uri
from stillery.pipeline.rounds import check_rounds, round_config, teacher_config, tries_config

DEMO = Path(__file__).parents[3] / "jobs" / "configs" / "demo.yaml"


def config(*overrides: str) -> Config:
    return load_config(DEMO, ["rounds.count=2", *overrides])


def test_the_student_is_asked_its_training_problems_as_it_is_measured() -> None:
    base = config("evaluate.engine.max_num_seqs=64", "teacher.instruction=template")
    asked = tries_config(base, 2, student="/runs/one/checkpoint")
    assert (asked.teacher.kind, asked.teacher.model) == ("vllm", "/runs/one/checkpoint")
    assert asked.teacher.samples_per_prompt == 2
    assert asked.teacher.accepted_per_prompt is None
    assert asked.teacher.instruction is None
    assert asked.teacher.engine == base.evaluate.engine
    assert asked.teacher.sampling == base.evaluate.sampling
    assert (asked.prompts, asked.run.seed) == (base.prompts, base.run.seed)
    assert asked.rounds.count == 1


def test_the_teacher_is_asked_more_of_what_was_failed_with_other_samples() -> None:
    base = config("run.seed=7")
    asked = teacher_config(base, 2, tries="/runs/tries")
    assert (asked.prompts.source, asked.prompts.run, asked.prompts.failed_below) == ("run", "/runs/tries", 0.5)
    assert (asked.teacher.samples_per_prompt, asked.teacher.accepted_per_prompt) == (16, 4)
    assert asked.run.seed == 8
    assert teacher_config(base, 3, tries="/runs/tries").run.seed == 9
    assert teacher_config(config("teacher.accepted_per_prompt=null"), 2, tries="t").teacher.accepted_per_prompt is None


def test_the_next_student_learns_from_all_samples_on_the_same_problems() -> None:
    base = config()
    second = round_config(base, 2, generations=["/a", "/b"])
    assert (second.teacher.kind, second.teacher.recorded.files) == ("recorded", ["/a", "/b"])
    assert second.teacher.samples_per_prompt == 4 + 16 + 2
    assert second.curate.max_per_prompt == 1 + 4
    assert (second.prompts, second.run.seed, second.sft) == (base.prompts, base.run.seed, base.sft)
    own = round_config(config("rounds.own_traces=true"), 3, generations=["/a", "/b", "/c"])
    assert own.curate.max_per_prompt == 1 + 2 * 4 + 2


@pytest.mark.parametrize(
    ("overrides", "meant"),
    [
        (["teacher.top_logprobs=5", "sft.distill.weight=0.5"], "demo-2 could not work.*have no log-probabilities"),
        (["refine.enabled=true", "refine.method=distill"], "demo-2 could not work.*take refine.method=grpo or dpo"),
    ],
)
def test_what_a_later_round_cannot_do_is_refused_before_the_first(overrides: list[str], meant: str) -> None:
    with pytest.raises(UserError, match=meant):
        check_rounds(config("sft.answer_only_tasks=[]", *overrides))
    check_rounds(load_config(DEMO, ["sft.answer_only_tasks=[]", *overrides]))


def test_later_rounds_read_the_same_teachers_attention_and_refine_the_last_student_alone() -> None:
    base = config("sft.answer_only_tasks=[]", "attention.target=teacher", "refine.enabled=true")
    check_rounds(base)
    tried = tries_config(base, 2, student="s")
    assert (tried.attention.target, tried.refine.enabled) == (None, False)
    second = round_config(base, 2, generations=["g"])
    assert (second.attention.model, second.refine) == (base.teacher.model, base.refine)


def test_every_run_of_a_round_has_a_folder_of_its_own_beside_the_first() -> None:
    for base, folder in ((config("run.dir=/runs/mine"), "/runs/mine"), (config(), run_uri(config()))):
        made = [
            tries_config(base, 2, student="s"),
            teacher_config(base, 2, tries="t"),
            round_config(base, 2, generations=["g"]),
        ]
        assert [run_uri(one) for one in made] == [f"{folder}-2-tries", f"{folder}-2-teacher", f"{folder}-2"]
        assert [one.run.name for one in made] == ["demo-2-tries", "demo-2-teacher", "demo-2"]


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("rounds.count=0", "rounds.count is 0"),
        ("rounds.more=0", "rounds.more is 0"),
        ("rounds.failed_below=0", "rounds.failed_below is 0"),
        ("prompts.failed_below=2", "prompts.failed_below is 2"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(override: str, meant: str) -> None:
    with pytest.raises(UserError, match=meant):
        config(override)


def test_rounds_of_a_recorded_teacher_are_refused() -> None:
    with pytest.raises(UserError, match="samples nothing"):
        config(
            "teacher.kind=recorded", "teacher.recorded.files=[x]", "teacher.model=x", "teacher.accepted_per_prompt=null"
        )
