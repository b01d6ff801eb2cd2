"""The promises of docs/guides/security.md about models: none of their code is run, and no pickle is read without
limits."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillery.errors import UserError
from stillery.sampling.models import check_model
from stillery.serving.model_server import engine_kwargs
from stillery.serving.settings import EngineSettings
from stillery.training.loop import trl_arguments

SOURCES = sorted((Path(__file__).parents[2] / "platform" / "stillery").rglob("*.py"))


def violations(source: str) -> Iterator[str]:
    """Places where code would trust what a model's author wrote."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"imports {name}" for name in modules if name in ("pickle", "cloudpickle", "dill", "joblib"))
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            named = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
            yield from _remote_code(named)
        if isinstance(node, ast.Call):
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            yield from _remote_code(named)
            function = ast.unparse(node.func)
            if function in ("eval", "exec", "yaml.load", "pickle.loads"):
                yield f"calls {function}"
            if function == "torch.load" and ast.unparse(named.get("weights_only", ast.Constant(None))) != "True":
                yield "calls torch.load without weights_only=True"


def _remote_code(named: dict[object, ast.expr]) -> Iterator[str]:
    value = named.get("trust_remote_code")
    if value is not None and ast.unparse(value) != "False":
        yield "sets trust_remote_code"


def test_nothing_in_the_package_trusts_a_models_code() -> None:
    assert len(SOURCES) > 50
    found = {path: set(violations(path.read_text(encoding="utf-8"))) for path in SOURCES}
    # The one place that runs what a model wrote, in a process of its own.
    (sandboxed,) = (found.pop(path) for path in SOURCES if path.parts[-2:] == ("sandbox", "program.py"))
    assert sandboxed == {"calls exec", "calls eval"}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "code",
    [
        "LLM(model, trust_remote_code=True)",
        "options = {'trust_remote_code': trusted}",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "import pickle",
        "from cloudpickle import loads",
        "eval(answer)",
        "yaml.load(text)",
    ],
)
def test_a_planted_violation_is_caught(code: str) -> None:
    assert len(list(violations(code))) == 1


def test_a_local_model_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"has no \*\.safetensors"):
        check_model("teacher.model", str(tmp_path))


def test_weights_from_the_hub_are_read_from_safetensors_alone() -> None:
    assert engine_kwargs(EngineSettings())["load_format"] == "safetensors"
    for table in ({}, {"model_init_kwargs": {"dtype": "bfloat16"}}):
        arguments = trl_arguments({"use_gpu": True, "trl": table, "seed": 0}, has_validation=False)
        assert arguments["model_init_kwargs"] == {"use_safetensors": True, **table.get("model_init_kwargs", {})}
