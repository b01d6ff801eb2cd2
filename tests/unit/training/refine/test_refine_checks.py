"""Invalid refinement settings are reported by name before a refinement starts."""

from pathlib import Path
from typing import Any

import pytest

from stillery.config import RefineConfig, StopRules, TeacherConfig, load_config
from stillery.config.passthrough import check_tables
from stillery.errors import UserError
from stillery.sampling.chat.conversation import load_tokenizer
from stillery.training.refine.checks import check_counts, check_most, check_refinement, code_of


def config(**changes: Any) -> RefineConfig:
    return RefineConfig(enabled=True, **changes)


def check(config: RefineConfig, *, teacher: TeacherConfig | None = None) -> None:
    check_refinement(config, teacher=teacher or TeacherConfig(), student="embedded:student")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"method": "ppo"}, "refine.method"),
        ({"rollouts": "sglang"}, "refine.rollouts"),
        ({"num_generations": 1}, "refine.num_generations is 1"),
        ({"num_generations": 8, "trl": {"per_device_train_batch_size": 12}}, "does not divide the 12 completions"),
        ({"num_generations": 3, "num_workers": 2, "trl": {"per_device_train_batch_size": 4}}, "the 8 completions"),
        ({"trl": {"top_p": 0.9}}, "refine.trl.top_p is 0.9"),
        ({"trl": {"generation_kwargs": {"min_p": 0.1}}}, "refine.trl.min_p is 0.1"),
        ({"trl": {"top_k": 20}}, "refine.trl.top_k is 20"),
        ({"rewards": {"correctnes": 1.0}}, "did you mean correctness"),
        ({"rewards": {"correctness": 0.0}}, "no reward has a weight"),
        ({"rewards": {"no_such_module:f": 1.0}}, "no_such_module cannot be imported"),
        ({"rewards": {"support.refine_rewards:f": 1.0}}, "refine_rewards has no function f"),
        ({"rewards": {"support.refine_rewards:nan": 1.0}}, "reward nan is nan"),
        ({"rewards": {"support.refine_rewards:broken": 1.0}}, "reward broken failed: KeyError: 'solution'"),
        ({"peft": {"init_lora_weights": "pissa"}}, "refine.peft.init_lora_weights=pissa"),
        ({"steps": 0}, "refine.steps is 0"),
        ({"temperature": 0.0}, "refine.temperature is 0.0"),
        ({"stop": StopRules(patience=0)}, "refine.stop.patience"),
        ({"validation_problems": 1}, "refine.validation_problems"),
    ],
)
def test_what_cannot_work_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        check(config(**changes))


def test_the_defaults_pass_and_a_run_without_refinement_is_not_looked_at() -> None:
    check(config())
    check(config(trl={"top_p": 1.0, "top_k": -1}))
    check(RefineConfig(method="ppo"))


def test_a_teacher_is_distilled_from_only_where_the_vocabularies_are_equal(tmp_path: Path) -> None:
    check(config(method="distill"), teacher=TeacherConfig())
    with pytest.raises(UserError, match=r"teacher.kind=endpoint does not give.*train on its texts"):
        check(config(method="distill"), teacher=TeacherConfig(kind="endpoint"))
    other = load_tokenizer("embedded:student", key="model")
    other.add_tokens(["<other>"])
    other.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"differ in 1 tokens, such as '<other>': train on the teacher's texts"):
        check(config(method="distill"), teacher=TeacherConfig(model=str(tmp_path)))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["prompts.num_validation=0"], "raise prompts.num_validation"),
        (
            ["refine.num_workers=4", "refine.method=dpo", "prompts.num_train=1"],
            "4 workers takes 4 pairs, and there are 2",
        ),
        (["refine.method=dpo", "teacher.samples_per_prompt=1"], "teacher.samples_per_prompt is 1"),
        (["prompts.num_train=3", "refine.trl={per_device_train_batch_size: 32}"], "takes 4 training problems"),
    ],
)
def test_what_generated_problems_cannot_give_is_said_before_the_first_stage(overrides: list[str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        check_most(load_config(None, ["refine.enabled=true", *overrides]))
    check_most(load_config(None, ["refine.enabled=true"]))
    check_most(load_config(None, overrides))


def test_too_little_data_for_a_step() -> None:
    trl = {"per_device_train_batch_size": 16}
    with pytest.raises(UserError, match="takes 4 training problems, and there are 3"):
        check_counts(config(num_generations=8, num_workers=2, trl=trl), {"train": 3, "validation": 2})
    with pytest.raises(UserError, match="takes 8 training problems, and there are 4"):
        check_counts(config(num_generations=64, num_workers=8, trl={"per_device_train_batch_size": 8}), {"train": 4})
    with pytest.raises(UserError, match="takes 3 pairs, and there are 2"):
        check_counts(config(method="dpo", num_workers=3), {"train": 9, "pairs": 2})
    check_counts(config(num_generations=8, num_workers=2, trl=trl), {"train": 4, "validation": 2})


def test_the_trl_table_is_that_of_the_method() -> None:
    check_tables(load_config(None, ["refine.enabled=true", "refine.trl.epsilon=0.3"]))
    with pytest.raises(UserError, match=r"refine\.trl\.epsilon: .*DPOConfig has no such field"):
        check_tables(load_config(None, ["refine.enabled=true", "refine.method=dpo", "refine.trl.epsilon=0.3"]))
    with pytest.raises(UserError, match=r"refine\.trl\.max_steps: .*set refine\.steps"):
        check_tables(load_config(None, ["refine.enabled=true", "refine.trl.max_steps=3"]))


def test_the_code_of_ones_own_reward_counts() -> None:
    assert code_of(config()) == {}
    assert len(code_of(config(rewards={"support.refine_rewards:digits": 1.0}))["support.refine_rewards"]) == 64
