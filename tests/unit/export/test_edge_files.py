"""Files beside the graphs: tokenizer files, the reduced chat template, the configuration, and early refusals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stillery
from stillery.errors import UserError
from stillery.export.checkpoint import open_checkpoint
from stillery.export.converter import require_packages, run_converter
from stillery.export.formats.executorch.format import ExecutorchFormat
from stillery.export.formats.onnx.format import OnnxFormat
from stillery.export.tokenizer_files import check_chat, write_tokenizer_files

_STUDENT = Path(stillery.__file__).parent / "tiny_models" / "models" / "student"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(_STUDENT, tmp_path / "model"))


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_the_shipped_tokenizer_neither_pads_nor_cuts_nor_adds(model: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    before = tokenizer.encode("3 * x").ids
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(2)
    template = TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)])
    tokenizer.post_processor = Sequence([ByteLevel(trim_offsets=False), template])
    tokenizer.save(str(model / "tokenizer.json"))
    _edit(model / "tokenizer_config.json", lambda config: config.pop("bos_token"))
    write_tokenizer_files(open_checkpoint(model), tmp_path)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("3 * x").ids == before
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["bos_token"] is None
    assert config["eos_token"] == "<|im_end|>"
    assert (tmp_path / "chat_template.jinja").read_text() == (model / "chat_template.jinja").read_text()


def test_a_model_that_could_not_chat_is_refused(model: Path) -> None:
    (model / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        check_chat(open_checkpoint(model))
    _edit(model / "tokenizer_config.json", lambda config: config.update(chat_template="{{ messages }}"))
    check_chat(open_checkpoint(model))
    for name in ("generation_config.json", "config.json"):
        _edit(model / name, lambda config: config.pop("eos_token_id"))
    with pytest.raises(UserError, match="no token ends an answer"):
        check_chat(open_checkpoint(model))


def test_a_failing_converter_is_named_with_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"onnx converter `json\.tool` failed \(exit code \d\)(.|\n)*No such file"):
        run_converter(["json.tool", "absent.json"], scratch=tmp_path, for_format="onnx")
    (tmp_path / "killed.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(UserError, match="killed by SIGKILL, which usually means that memory ran out"):
        run_converter(["killed"], scratch=tmp_path, for_format="onnx")


def test_a_missing_package_is_named_with_the_extra() -> None:
    with pytest.raises(UserError, match=r"needs not_a_package; .*stillery\[edge\]"):
        require_packages("json", "not_a_package", for_format="onnx")


@pytest.mark.parametrize("edge", [OnnxFormat(), ExecutorchFormat()], ids=lambda edge: edge.name)
def test_an_unknown_quantization_names_the_known_ones(model: Path, tmp_path: Path, edge: Any) -> None:
    with pytest.raises(UserError, match="no quantization 'Q4_0'; it has fp32"):
        edge.write(model, tmp_path, quantization="Q4_0", calibration=())


def test_rows_that_groups_do_not_divide_are_refused(model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    for layer in range(4):
        name = f"model.layers.{layer}.mlp.down_proj.weight"
        weights[name] = torch.zeros(128, 330, dtype=torch.bfloat16)
    save_file(weights, model / "model.safetensors")
    with pytest.raises(UserError, match=r"down_proj\.weight have 330 values, not a multiple of 32"):
        ExecutorchFormat().write(model, tmp_path, quantization="8da4w-g32", calibration=())


def test_a_template_that_changes_the_question_has_no_cut_form(model: Path, tmp_path: Path) -> None:
    template = model / "chat_template.jinja"
    template.write_text(template.read_text().replace("+ message.content +", "+ message.content | trim +"))
    with pytest.raises(UserError, match="chat template changes the question"):
        ExecutorchFormat().write(model, tmp_path, quantization="fp32", calibration=())


@pytest.mark.parametrize(
    ("edge", "needed"),
    [
        (OnnxFormat(), ['og.Model("exports/student-int4")', "SimpleGenAI(", "iOS"]),
        (ExecutorchFormat(), ["exports/student-int4/model.pte", "LlmModule(", "backend_xnnpack", "2048 tokens"]),
    ],
    ids=["onnx", "executorch"],
)
def test_the_commands_name_the_folder_and_each_device(edge: Any, needed: list[str]) -> None:
    text = edge.how_to_run(Path("exports/student-int4"))
    assert "adb push exports/student-int4/. /data/local/tmp/llm/" in text
    assert not [part for part in needed if part not in text]
