"""Entries in MLflow: within its limits, and without secrets."""

import json

from stillery.config import Config, settings_of
from stillery.io.run_folder import Output
from stillery.io.storage import Folder
from stillery.registry.lineage import losses_of, metrics_of, params_of, redact, stage_metrics

MEASURES = {
    "num_problems": 4,
    "pass@1": {"mean": 0.5, "standard_error": 0.1},
    "pass@4": {"mean": 0.75, "standard_error": None},
    "verdicts": {"correct": 2, "wrong": 2},
}


def test_a_whole_config_becomes_params() -> None:
    params = params_of(settings_of(Config()))
    assert params["teacher.sampling.temperature"] == "1.0"
    assert params["prompts.source"] == "tasks"
    assert params["run.dir"] == "null"
    assert json.loads(params["evaluate.ks"]) == [1, 4, 8]
    assert params["sft.trl"] == "{}"


def test_params_keep_to_the_limits() -> None:
    params = params_of({"a": {"b:c@d": "x" * 10_000}})
    assert list(params) == ["a.b_c_d"]
    assert len(params["a.b_c_d"]) == 6000


def test_secrets_are_struck_out_wherever_they_are() -> None:
    config = {
        "teacher": {"engine": {"hf_token": "hf_abc", "tokenizer": "x"}},
        "sft": {"trl": {"hub_token": "hf_abc", "eos_token": "<e>"}},
        "register": {"tracking_uri": "https://ann:pw@mlflow.example/x"},
        "list": [{"api_key": "k"}],
    }
    text = json.dumps(redact(config))
    assert "hf_abc" not in text
    assert "pw" not in text
    assert '"k"' not in text
    assert redact(config)["register"]["tracking_uri"] == "https://***@mlflow.example/x"
    assert redact(config)["sft"]["trl"]["eos_token"] == "<e>"
    assert redact({"hf_token": None}) == {"hf_token": None}


def test_metrics_of_every_model_and_split() -> None:
    summary = {"ks": [1, 4], "splits": {"test": {"overall": MEASURES, "by_task": {}}}}
    outputs = {"evaluate_after": Output("evaluate_after", "f", Folder("/x"), summary, {})}
    assert metrics_of(outputs) == {
        "student_after/test/num_problems": 4,
        "student_after/test/pass_at_1": 0.5,
        "student_after/test/pass_at_1_standard_error": 0.1,
        "student_after/test/pass_at_4": 0.75,
        "student_after/test/verdicts/correct": 2,
        "student_after/test/verdicts/wrong": 2,
    }


def test_losses_have_steps_and_leave_out_what_is_not_finite() -> None:
    history = [{"step": 1, "loss": 2.0, "eval_loss": None}, {"step": 2, "loss": float("nan"), "eval_loss": 1.5}]
    assert losses_of(history) == [("train/loss", 2.0, 1), ("train/eval_loss", 1.5, 2)]


def test_stage_metrics_are_the_plain_numbers() -> None:
    assert stage_metrics({"kept": 3, "dropped": {"x": 1}, "path": "p"}) == {"kept": 3.0}


def test_bonds_become_metrics_where_they_were_looked_at() -> None:
    shares = {"strong_logic": [0.7, 0.6, 0.8], "reflection_verification": [0.3, 0.2, 0.4]}
    summary = {
        "models": {
            "teacher": {"shares": shares, "mean_stability": 0.9},
            "student_before": {"shares": {}, "mean_stability": None},
        },
        "divergence": {"student_after": {"marginal": {"value": 0.01}, "transitions": {"value": 0.02}}},
    }
    assert metrics_of({"compare_bonds": Output("compare_bonds", "f", Folder("/x"), summary, {})}) == {
        "bonds/teacher/strong_logic": 0.7,
        "bonds/teacher/reflection_verification": 0.3,
        "bonds/teacher/mean_stability": 0.9,
        "bonds/student_after/marginal_divergence": 0.01,
        "bonds/student_after/transitions_divergence": 0.02,
    }
