"""Settings that affect no output: fields that exist, and fingerprints that leave out exactly these."""

from pathlib import Path

import pytest

from stillery.config import EngineConfig, load_config
from stillery.config.passthrough import ENGINE_ARGS as VLLM
from stillery.config.passthrough import SFT_CONFIG as TRL
from stillery.config.passthrough import Target, read_fields
from stillery.pipeline.order import STAGES
from stillery.sampling.neutral import ENGINE_ARGS, LIMITS, SFT_CONFIG, engine_output_settings, output_settings


@pytest.mark.parametrize(("listed", "target"), [(ENGINE_ARGS, VLLM), (SFT_CONFIG, TRL), (dict.fromkeys(LIMITS), VLLM)])
def test_what_is_listed_is_a_field_that_a_user_may_set(listed: dict[str, str], target: Target) -> None:
    fields = set(read_fields(target.sources, install=target.install))
    assert set(listed) <= fields - set(target.taken)


SHAPED_BY = {
    "teacher.engine": ["dtype", "quantization", "load_format", "override_generation_config", "hf_overrides",
                       "tokenizer", "generation_config", "logits_processors", "speculative_config", "max_model_len",
                       "revision", "kv_cache_dtype", "trust_remote_code", "attention_backend", "logprobs_mode",
                       "not_yet_a_field"],
    "sft.trl": ["learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length", "packing",
                "bf16", "seed_of_a_later_version", "save_steps", "per_device_eval_batch_size", "chat_template_path"],
}  # fmt: skip


def test_each_listed_field_is_left_out_and_each_other_one_counts() -> None:
    for neutral, shaped in ((ENGINE_ARGS, SHAPED_BY["teacher.engine"]), (SFT_CONFIG, SHAPED_BY["sft.trl"])):
        assert output_settings(dict.fromkeys(neutral, 3), neutral=neutral) == {}
        assert set(output_settings(dict.fromkeys(shaped, "v"), neutral=neutral)) == set(shaped)


def test_a_gpu_without_a_dtype_is_told_from_a_cpu() -> None:
    assert engine_output_settings(EngineConfig()) == {}
    assert engine_output_settings(EngineConfig(num_gpus=1)) == {"dtype": "auto"}
    assert engine_output_settings(EngineConfig(num_gpus=1, engine={"dtype": "half"})) == {"dtype": "half"}


def _settings(*overrides: str) -> str:
    config = load_config(None, ["teacher.model=a/t", "sft.student=a/s", *overrides])
    names = ("generate", "sft", "evaluate_after", "evaluate_teacher")
    return str([stage.settings(config) for stage in STAGES if stage.name in names])


def test_moving_a_run_makes_nothing_again() -> None:
    moved = [f"{section}.engine.{key}" for section in ("teacher", "evaluate") for key in (
        "tensor_parallel_size=2", "gpu_memory_utilization=0.5", "enforce_eager=true", "max_num_seqs=8")]  # fmt: skip
    assert _settings(*moved, "sft.trl.logging_steps=3", "sft.trl.gradient_checkpointing=true") == _settings()


def test_the_tokenizer_of_an_endpoint_counts_by_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    overrides = ["teacher.kind=endpoint", "teacher.endpoint.api=completions", f"teacher.endpoint.tokenizer={tmp_path}"]
    before = _settings(*overrides)
    (tmp_path / "tokenizer.model").write_text("other")
    assert _settings(*overrides) != before
