"""Low-rank adapters: settings that cannot work are refused by name, a trained adapter is stored and merged exactly, and
an adapter folder is a valid student."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from stillery.config import load_config
from stillery.config.passthrough import LORA_CONFIG, read_fields
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.pipeline.preflight import check
from stillery.sampling.models import check_model, model_id, resolve_model
from stillery.training.adapters import lora_config, whole_weights
from stillery.training.checkpoints import publish_adapted
from support.chat_models import STUDENT

REFUSED = {
    "a key that peft does not know": (["sft.peft={rang: 8}"], r"sft\.peft\.rang: peft .* no such field"),
    "a rank that is a word": (["sft.peft={r: high}"], r"sft\.peft\.r is 'high', a str; .* expects int"),
    "a rank of nothing": (["sft.peft={r: 0}"], r"sft\.peft: .*positive"),
    "a field of stillery's": (["sft.peft={task_type: CAUSAL_LM}"], r"sft\.peft\.task_type: stillery sets this field"),
    "one target of two that is not there": (
        ["sft.peft={target_modules: [q_proj, k_prj]}"],
        r"embedded:student has no module k_prj; did you mean k_proj\?",
    ),
    "a pattern that nothing matches": (["sft.peft={target_modules: '.*query'}"], r"sft\.peft: .*not found"),
    "a head that is the embedding": (["sft.peft={target_modules: [lm_head]}"], "lm_head of embedded:student shares"),
    "another start of the base": (["sft.peft={init_lora_weights: pissa}"], "changes the base's own weights"),
    "four bits of all weights": (["sft.quantize=nf4"], r"set sft\.peft=\{\}"),
    "four bits without CUDA": (["sft.quantize=nf4", "sft.peft={}"], r"needs CUDA: set sft\.use_gpu=true"),
    "a module to refine that is not there": (
        ["refine.enabled=true", "refine.peft={target_modules: [k_prj]}"],
        r"refine\.peft\.target_modules: embedded:student has no module k_prj; did you mean k_proj\?",
    ),
    "a key of refinement's adapter that peft does not know": (
        ["refine.enabled=true", "refine.peft={rang: 8}"],
        r"refine\.peft\.rang: peft .* no such field",
    ),
    "bits that nobody knows": (["sft.quantize=fp3", "sft.peft={}"], "must be null or nf4"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_cannot_work_are_refused_before_the_first_stage(name: str) -> None:
    overrides, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as error:
        check(load_config(None, overrides))
    assert "\n" not in str(error.value)


def test_an_adapter_on_all_linear_layers_is_the_default() -> None:
    check(load_config(None, ["sft.peft={}"]))
    assert lora_config({}).target_modules == "all-linear"
    assert lora_config({"r": 4, "target_modules": ["q_proj"]}).target_modules == {"q_proj"}


def test_the_fields_of_peft_are_those_of_its_class() -> None:
    from peft import LoraConfig

    fields = {f.name for f in dataclasses.fields(LoraConfig) if f.init and not f.name.startswith("_")}
    assert set(read_fields(LORA_CONFIG.sources, install=LORA_CONFIG.install)) == fields
    assert set(LORA_CONFIG.taken) <= fields


def adapted(base: str = STUDENT) -> Any:
    """The embedded student with an adapter whose weights are not zero."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), lora_config({"r": 4}))
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model


def checkpoint_of(model: Any, folder: Path) -> Path:
    """A training checkpoint, as the Trainer and the loop's callback save it."""
    from transformers import AutoTokenizer

    model.save_pretrained(folder)
    model.config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(STUDENT).save_pretrained(folder)
    return folder


def logits_of(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(5, 45)[None]).logits


def test_what_is_published_is_the_adapter_and_the_same_model_merged(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = adapted()
    out = Folder(str(tmp_path / "out"))
    config = load_config(None, ["sft.peft={r: 4}"]).sft
    source = Folder(str(checkpoint_of(model, tmp_path / "trained")))
    publish_adapted(config.student, source, out / "checkpoint", adapter=out / "adapter", describe=lambda _: None)

    check_model("student", str(out.local / "checkpoint"))
    assert not list((out.local / "checkpoint").glob("adapter*"))
    merged = AutoModelForCausalLM.from_pretrained(out.local / "checkpoint", dtype=torch.float32)
    untouched = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)
    assert (logits_of(merged) - logits_of(model)).abs().max() < 1e-4
    assert (logits_of(untouched) - logits_of(model)).abs().max() > 0.1
    settings = json.loads((out.local / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "embedded:student"
    assert {"adapter_model.safetensors", "tokenizer.json", "SHA256SUMS"} <= set((out / "adapter").names())

    # The adapter alone is a student: its base, changed by it.
    student = str(out.local / "adapter")
    check(load_config(None, [f"sft.student={student}"]))
    again = AutoModelForCausalLM.from_pretrained(resolve_model(student), dtype=torch.float32)
    assert (logits_of(again) - logits_of(model)).abs().max() < 1e-4


def test_what_an_engine_is_given_is_the_base_with_the_adapter_and_the_model_stays_as_it_is(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = adapted()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    given = dict(whole_weights(model))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    plain = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)
    assert set(given) == {name for name, _ in plain.named_parameters()}
    whole = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)
    whole.load_state_dict(given, strict=False)
    assert (logits_of(whole) - logits_of(model)).abs().max() < 1e-4
    assert (logits_of(plain) - logits_of(model)).abs().max() > 0.1
    assert all(torch.equal(weight, dict(plain.named_parameters())[name]) for name, weight in whole_weights(plain))


def test_an_adapter_is_known_by_its_weights_and_its_base(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(STUDENT, base)
    first = checkpoint_of(adapted(str(base)), tmp_path / "first")
    (first / "config.json").unlink()
    identity = model_id(str(first))
    moved = tmp_path / "moved"
    shutil.copytree(first, moved)
    assert model_id(str(moved)) == identity
    assert resolve_model(str(first)) == resolve_model(str(moved)), "merged once"
    (base / "generation_config.json").write_text("{}")
    assert model_id(str(first)) != identity


def broken(folder: Path, **settings: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **settings}))
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "names no base; set base_model_name_or_path"),
        ({"base_model_name_or_path": "/gone/model"}, "base_model_name_or_path=/gone/model: no such folder"),
        ({"base_model_name_or_path": "embedded:tutor"}, "the embedded models are"),
        ({"base_model_name_or_path": "embedded:student", "peft_type": "PREFIX_TUNING"}, "of the kind PREFIX_TUNING"),
    ],
)
def test_an_adapter_without_a_base_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    folder = broken(tmp_path / "a", **settings)
    shutil.copy(Path(STUDENT) / "model.safetensors", folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match=re.escape(message)):
        check(load_config(None, [f"sft.student={folder}"]))


def test_an_adapter_of_another_base_is_refused_by_the_module(tmp_path: Path) -> None:
    folder = checkpoint_of(adapted(), tmp_path / "a")
    (folder / "config.json").unlink()
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "embedded:teacher"}))
    with pytest.raises(UserError, match=r"has weights for model\.layers\.\d+\..* and .* has \[") as error:
        check(load_config(None, [f"sft.student={folder}"]))
    assert "\n" not in str(error.value)
