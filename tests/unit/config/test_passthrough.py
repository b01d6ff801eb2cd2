"""The pass-through tables against the installed versions' fields, without importing those libraries."""

import subprocess
import sys
import textwrap

import pytest

from stillery.config import Config, load_config
from stillery.config.passthrough import SFT_CONFIG, Target, check_tables, problems_of, read_fields
from stillery.errors import UserError


def _problem(key: str, value: object) -> str:
    with pytest.raises(UserError) as caught:
        check_tables(load_config(None, [f"{key}={value}"]))
    return str(caught.value)


def test_the_defaults_pass() -> None:
    assert check_tables(Config()) is None


def test_common_settings_pass() -> None:
    passed = check_tables(
        load_config(
            None,
            [
                "sft.trl.learning_rate=1e-4",
                "sft.trl.num_train_epochs=3",
                "sft.trl.max_length=4096",
                "sft.trl.lr_scheduler_type=cosine",
                "sft.trl.model_init_kwargs={dtype: bfloat16}",
                "teacher.engine.max_model_len=4096",
                "teacher.engine.tensor_parallel_size=2",
                "teacher.engine.max_num_batched_tokens=null",
                "teacher.engine.tokenizer=some/tokenizer",
                "teacher.sampling.stop=[a, b]",
                "teacher.sampling.stop=word",
                "evaluate.sampling.temperature=0",
                "evaluate.engine.gpu_memory_utilization=0.8",
            ],
        )
    )
    assert passed is None


def test_a_misspelt_key_names_the_nearest_and_the_version() -> None:
    text = _problem("sft.trl.learning_rte", 1e-4)
    assert text.startswith("sft.trl.learning_rte: trl ")
    assert text.endswith("SFTConfig has no such field; did you mean learning_rate?")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("teacher.engine.max_modellen", "max_model_len"),
        ("evaluate.engine.enforce_eagr", "enforce_eager"),
        ("teacher.sampling.temprature", "temperature"),
        ("evaluate.sampling.max_token", "max_tokens"),
    ],
)
def test_a_misspelt_key_of_vllm(key: str, near: str) -> None:
    text = _problem(key, 1)
    assert text.startswith(f"{key}: vllm")
    assert f"did you mean {near}?" in text


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("teacher.engine.model", "teacher.model"),
        ("evaluate.engine.seed", "run.seed"),
        ("teacher.sampling.n", "samples_per_prompt"),
        ("evaluate.sampling.seed", "run.seed"),
        ("sft.trl.output_dir", "run.dir"),
        ("sft.trl.seed", "run.seed"),
        ("sft.trl.use_cpu", "sft.use_gpu"),
    ],
)
def test_a_field_that_is_ours_is_refused_with_the_reason(key: str, remedy: str) -> None:
    text = _problem(key, 1)
    assert key in text
    assert remedy in text


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sft.trl.learning_rate", "fast", "expects float"),
        ("sft.trl.max_steps", 1.5, "expects int"),
        ("sft.trl.packing", 1, "expects bool"),
        ("sft.trl.gradient_accumulation_steps", "true", "expects int"),
        ("teacher.sampling.max_tokens", "many", "expects int"),
        ("teacher.sampling.stop", 3, "expects list or str"),
        ("teacher.engine.enforce_eager", "maybe", "expects bool"),
    ],
)
def test_a_wrong_plain_type_is_refused(key: str, value: object, expected: str) -> None:
    text = _problem(key, value)
    assert text.startswith(f"{key} is ")
    assert text.endswith(expected)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        check_tables(load_config(None, ["sft.trl.lerning_rate=1", "teacher.sampling.topp=1"]))
    assert len(str(caught.value).splitlines()) == 2


def test_fields_of_the_bases_are_known_and_private_ones_are_not() -> None:
    fields = read_fields(SFT_CONFIG.sources, install=SFT_CONFIG.install)
    assert {"per_device_train_batch_size", "gradient_checkpointing", "max_length"} <= set(fields)
    assert not [name for name in fields if name.startswith("_")]


def test_a_missing_package_says_what_to_install() -> None:
    target = Target("X", ("nowhere",), "install stillery[cpu]", (("no_such_package", "x.py", "X"),), {})
    with pytest.raises(UserError, match=r"no_such_package is not installed: install stillery\[cpu\]"):
        problems_of({}, target, prefix="x")


def test_an_unsupported_version_is_named() -> None:
    target = Target("X", ("pytest",), "", (("pytest", "__init__.py", "NoSuchClass"),), {})
    with pytest.raises(UserError, match="has no class NoSuchClass"):
        problems_of({}, target, prefix="x")


def test_nothing_heavy_is_imported() -> None:
    code = """
        import sys
        from stillery.config import Config
        from stillery.config.passthrough import check_tables
        check_tables(Config())
        heavy = {"vllm", "trl", "transformers", "torch", "ray"} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
