"""The plan of a run: tokens, time and price by stage, unknowns, and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from plan_shapes import LARGE, MIDDLE, TINY

from stillery.cli.main import main
from stillery.cli.plan import to_data, to_text
from stillery.config import Config, load_config
from stillery.errors import UserError
from stillery.plan.estimate import Models, Plan, StagePlan, make_plan, read_models

SMALL = Models(TINY, TINY)


def planned(*overrides: str, models: Models = SMALL) -> Plan:
    return make_plan(load_config(None, overrides), models)


def stages(*overrides: str, models: Models = SMALL) -> dict[str, StagePlan]:
    return {stage.name: stage for stage in planned(*overrides, models=models).stages}


def test_tokens_and_times_are_products_of_what_was_said() -> None:
    found = stages(
        "prompts.num_train=90", "prompts.num_validation=10", "teacher.samples_per_prompt=8", "teacher.replicas=2",
        "teacher.num_gpus=1", "plan.completion_tokens=50", "plan.prompt_tokens=10", "plan.teacher_tokens_per_s=100",
        "plan.acceptance_rate=0.5", "curate.max_per_prompt=8", "sft.trl.num_train_epochs=2", "plan.answers_per_s=40",
        "plan.training_tokens_per_s=60", "sft.num_workers=2", "sft.use_gpu=true", "plan.gpu_price_per_hour=3.6",
        "evaluate.samples_per_prompt=8",
    )  # fmt: skip
    generate, sft = found["generate"], found["sft"]
    assert (generate.samples, generate.tokens) == (800, 40_000)
    assert generate.seconds == pytest.approx(40_000 / 100 / 2)
    assert (generate.gpus, generate.price) == (2, pytest.approx(2 * 3.6 * 200 / 3600))
    assert found["verify"].seconds == pytest.approx(800 / 40)
    # The ten problems for validation are sampled and not learnt from.
    assert sft.samples == pytest.approx(360)
    assert sft.tokens == pytest.approx(360 * 60 * 2)
    assert sft.seconds == pytest.approx(360 * 60 * 2 / 60 / 2)
    # 240 test problems, 60 longer and 40 held out, eight times each.
    assert found["evaluate_teacher"].samples == found["evaluate_after"].samples == 340 * 8


def test_the_cache_says_how_many_samples_are_under_way_at_once() -> None:
    settings = ("teacher.num_gpus=4", "teacher.engine.tensor_parallel_size=4", "plan.gpu_memory_gib=79.6",
                "plan.completion_tokens=5000", "plan.prompt_tokens=200")  # fmt: skip
    found = stages(*settings, models=Models(LARGE, TINY))["generate"]
    # Four GPUs keep a quarter of 256 KiB a token each.
    assert found.sequences == int(found.memory_gib["kv_cache"] * 2**30 / (64 * 2**10)) // 5200
    assert sum(found.memory_gib.values()) == pytest.approx(0.92 * 79.6)


def test_a_number_of_steps_decides_the_training_tokens() -> None:
    found = stages(
        "sft.trl.max_steps=10", "sft.trl.per_device_train_batch_size=4", "sft.trl.gradient_accumulation_steps=2",
        "plan.completion_tokens=50", "plan.prompt_tokens=10",
    )  # fmt: skip
    assert found["sft"].tokens == 10 * 4 * 2 * 60


def test_adaptive_sampling_makes_fewer_samples_and_says_so() -> None:
    settings = ("teacher.accepted_per_prompt=2", "plan.acceptance_rate=0.8")
    plan = planned(*settings)
    assert 2 < plan.expected.made < 3
    assert any("adaptive best-of-n: 2.5" in note for note in plan.notes)
    assert stages(*settings)["generate"].samples == pytest.approx(960 * plan.expected.made)


def test_what_was_not_said_is_unknown_and_named() -> None:
    config = load_config(None, ["prompts.source=file", "prompts.train=a.jsonl", "prompts.test=b.jsonl"])
    plan = make_plan(config, SMALL)
    by_name = {stage.name: stage for stage in plan.stages}
    assert by_name["generate"].tokens is by_name["generate"].seconds is plan.price is None
    text = to_text(config, plan, SMALL)
    for key in ("plan.num_prompts", "plan.completion_tokens", "plan.acceptance_rate", "plan.*_per_s"):
        assert key in text


def test_an_endpoint_is_paid_by_the_token_and_holds_no_gpu() -> None:
    settings = [
        "teacher.kind=endpoint", "teacher.model=r1", "teacher.endpoint.base_url=https://h/v1",
        "teacher.endpoint.input_price=1", "teacher.endpoint.output_price=10", "plan.prompt_tokens=100",
        "plan.completion_tokens=1000", "plan.num_prompts=1000", "teacher.samples_per_prompt=2",
    ]  # fmt: skip
    found = stages(*settings, models=Models(None, TINY))["generate"]
    assert (found.gpus, found.memory_gib) == (0, {})
    assert found.price == pytest.approx(2000 * 100 / 1e6 * 1 + 2000 * 1000 / 1e6 * 10)


def test_the_cap_is_on_what_sampling_and_measuring_the_endpoint_cost_together() -> None:
    settings = [
        "teacher.kind=endpoint", "teacher.model=r1", "teacher.endpoint.base_url=https://h/v1",
        "teacher.endpoint.output_price=10", "plan.prompt_tokens=100", "plan.completion_tokens=1000",
        "plan.num_prompts=1000", "teacher.samples_per_prompt=2", "plan.num_evaluated=50",
        "evaluate.samples_per_prompt=8",
    ]  # fmt: skip
    found = stages(*settings, models=Models(None, TINY))
    assert (found["generate"].price, found["evaluate_teacher"].price) == (pytest.approx(20), pytest.approx(4))
    (problem,) = planned(*settings, "teacher.endpoint.max_cost=23", models=Models(None, TINY)).problems
    assert problem.startswith("generate and evaluate_teacher: the endpoint's tokens cost about 24.00")
    assert "teacher.endpoint.max_cost is 23.00" in problem
    assert planned(*settings, "teacher.endpoint.max_cost=25", models=Models(None, TINY)).fits


def test_a_recorded_teacher_costs_nothing_and_is_not_measured() -> None:
    found = stages(
        "teacher.kind=recorded", "teacher.model=x", "teacher.recorded.files=[a.jsonl]", models=Models(None, TINY)
    )
    assert found["generate"].tokens is None
    assert "evaluate_teacher" not in found


def test_every_problem_of_a_plan_is_told_at_once() -> None:
    plan = planned(
        "plan.gpu_memory_gib=24", "plan.num_gpus=2", "teacher.num_gpus=1", "teacher.replicas=4", "sft.use_gpu=true",
        "sft.trl.max_length=4096", models=Models(LARGE, MIDDLE),
    )  # fmt: skip
    assert [problem.partition(":")[0] for problem in plan.problems] == [
        "teacher",
        "sft",
        "generate",
        "evaluate_teacher",
    ]


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        (["prompts.source=file", "prompts.validation_fraction=0.1"], 900),
        (["prompts.source=file", "prompts.validation=v.jsonl"], 1000),
        (["prompts.num_train=75", "prompts.num_validation=25"], 750),
    ],
)
def test_only_the_problems_of_the_training_split_are_learnt_from(settings: list[str], trained: int) -> None:
    found = stages("plan.num_prompts=1000", "teacher.samples_per_prompt=1", *settings)
    assert (found["generate"].samples, found["sft"].samples) == (1000, pytest.approx(trained))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("plan.acceptance_rate=0", "must be above 0 and at most 1"),
        ("plan.acceptance_rate=70", "must be above 0 and at most 1"),
        ("plan.teacher_tokens_per_s=0", "or null if it is not known"),
        ("plan.gpu_memory_gib=-1", "must be above 0"),
        ("plan.gpus_per_node=0", "must be above 0"),
        ("plan.gpu_price_per_hour=-2", "cannot be below 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(setting: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(setting)


def test_a_model_config_for_no_model_of_the_run_is_refused() -> None:
    with pytest.raises(UserError, match=r"--model-config other=…: neither teacher\.model nor sft\.student"):
        read_models(Config(), model_configs={"other": Path("c.json")})


def test_json_holds_what_the_table_holds() -> None:
    plan = planned("plan.teacher_tokens_per_s=10")
    data: dict[str, Any] = json.loads(json.dumps(to_data(plan, SMALL)))
    assert data["fits"] is True
    assert [stage["name"] for stage in data["stages"]] == [stage.name for stage in plan.stages]
    assert data["models"]["teacher"]["num_parameters"] == TINY.num_parameters
    assert data["stages"][0]["seconds"] == plan.stages[0].seconds


def test_the_command_prints_the_plan_before_it_refuses_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--config", "jobs/configs/demo.yaml"]) == 0
    out = capsys.readouterr().out
    assert "embedded:teacher: 3,443,520 parameters" in out
    assert "of the host: weights 0.01, kv cache 2.00; 2.01 in all" in out
    refused = ["plan", "--json", "teacher.num_gpus=16", "plan.gpus_per_node=8"]
    assert main(refused) == 2
    both = capsys.readouterr()
    assert json.loads(both.out)["fits"] is False
    assert both.err.startswith("stillery: this plan cannot work:\nteacher: one replica takes 16 GPUs")


@pytest.mark.parametrize(("limit", "sampled"), [("null", 20), ("3", 12)])
def test_rows_of_local_files_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str, sampled: int
) -> None:
    for name, rows in (("train.jsonl", 5), ("test.jsonl", 2)):
        row = json.dumps({"question": "1 + 1?", "answer": "2"}) + "\n"
        (tmp_path / name).write_text(row * rows)
    files = ["prompts.source=file", *(f"prompts.{s}={tmp_path}/{s}.jsonl" for s in ("train", "test"))]
    arguments = ["plan", "--json", *files, f"prompts.limit_train={limit}", "teacher.samples_per_prompt=4"]
    assert main([*arguments, "evaluate.samples_per_prompt=1", "evaluate.ks=[1]"]) == 0
    stages = {stage["name"]: stage for stage in json.loads(capsys.readouterr().out)["stages"]}
    assert (stages["generate"]["samples"], stages["evaluate_after"]["samples"]) == (sampled, 2)


REFINED = (
    "refine.enabled=true", "refine.steps=30", "refine.num_workers=2", "refine.validate_every=10",
    "refine.validation_problems=5", "refine.validation_samples=4", "plan.completion_tokens=50", "plan.prompt_tokens=10",
    "plan.student_tokens_per_s=100", "plan.training_tokens_per_s=60",
    "refine.trl={per_device_train_batch_size: 8, gradient_accumulation_steps: 2, beta: 0.0}",
)  # fmt: skip


def test_a_refinement_is_its_rollouts_its_validations_and_its_updates() -> None:
    found = stages(*REFINED)
    assert "refine" not in stages()
    # 30 steps of 8 x 2 x 2 completions, and five problems four times before and at steps 10, 20 and 30.
    learnt, validated = 30 * 32, 4 * 5 * 4
    refine = found["refine"]
    assert (refine.samples, refine.tokens) == (learnt + validated, (learnt + validated) * 50)
    assert refine.seconds == pytest.approx((learnt + validated) * 50 / 100 / 2 + learnt * 60 / 60 / 2)
    assert found["evaluate_sft"].samples == found["evaluate_after"].samples
    # What the student is compared with is gone through too, at a third of the time.
    compared = stages(*REFINED, "refine.trl.beta=0.001")["refine"]
    assert compared.seconds == pytest.approx((learnt + validated) * 50 / 100 / 2 + learnt * 60 / 60 / 2 * 4 / 3)
    # Pairs are not sampled, and have two rows each.
    pairs = stages(*REFINED, "refine.method=dpo")["refine"]
    assert pairs.seconds == pytest.approx(validated * 50 / 100 / 2 + 2 * learnt * 60 / 60 / 2 * 4 / 3)
    assert stages(*REFINED, "prompts.source=file", "refine.validation_problems=null")["refine"].samples is None


def test_a_worker_of_a_refinement_holds_what_it_learns_compares_and_samples_with() -> None:
    plain = stages(*REFINED)["refine"].memory_gib
    weights = 4 * TINY.num_parameters / 2**30
    assert plain["engine"] == pytest.approx(weights + 1)
    assert "reference" not in plain
    assert stages(*REFINED, "refine.trl.beta=0.1")["refine"].memory_gib["reference"] == pytest.approx(weights)
    adapted = stages(*REFINED, "refine.trl.beta=0.1", "refine.peft={}")["refine"].memory_gib
    assert adapted["reference"] == 0
    assert adapted["optimizer"] < plain["optimizer"]
    teacher = stages(*REFINED, "refine.method=distill", models=Models(LARGE, TINY))["refine"].memory_gib
    assert teacher["reference"] == pytest.approx(4 * LARGE.num_parameters / 2**30)
    assert "engine" not in stages(*REFINED, "refine.rollouts=transformers")["refine"].memory_gib


def test_a_refinement_that_does_not_fit_is_a_problem() -> None:
    on_gpu = ("refine.use_gpu=true", "plan.gpu_memory_gib=79.6", "refine.trl.beta=0.1")
    (problem,) = [p for p in planned(*REFINED, *on_gpu, models=Models(TINY, LARGE)).problems if p.startswith("refine")]
    assert "reference" in problem
    assert "refine.peft={}" in problem
    assert not [p for p in planned(*REFINED, *on_gpu).problems if p.startswith("refine")]
