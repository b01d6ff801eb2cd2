"""Low-rank adapters in training: checks of `sft.peft`, `refine.peft` and `sft.quantize` before the teacher runs, the
merged weights of a model with an adapter, and a trained adapter turned into a student.

In: the tables, a student's config, a training checkpoint that holds an adapter. Out: peft's and bitsandbytes' configs;
the adapter as a folder of its own and the whole model with it merged in.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stillery.config import SftConfig, suggest
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.io.transfer import copy_files
from stillery.sampling.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, merge, quiet_peft
from stillery.sampling.models import EMBEDDED, resolve_model
from stillery.sampling.pretrained import PRETRAINED

ALL_LINEAR = "all-linear"
QUANTIZATIONS = ("nf4",)
# The others begin with changed base weights, into which the adapter would have to be merged.
INITIALIZATIONS = (True, False, "gaussian", "orthogonal")


def lora_config(table: Mapping[str, Any]) -> Any:
    """peft's LoraConfig of a `sft.peft` table."""
    quiet_peft()
    from peft import LoraConfig

    settings: dict[str, Any] = {"target_modules": ALL_LINEAR, **table}
    return LoraConfig(task_type="CAUSAL_LM", **settings)


def quantization_config(kind: str | None) -> Any:
    """The quantization of the frozen base: None for unquantized, else bitsandbytes' 4 bits as in QLoRA."""
    if kind is None:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=kind,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def check_settings(config: SftConfig) -> None:
    """Raise UserError for a setting of the fine-tuning adapter that cannot work with any student."""
    if config.quantize is not None:
        _check_quantize(config)
    check_table(config.peft, key="sft.peft")
    fsdp: Mapping[str, Any] = config.trl.get("fsdp_config") or {}
    if config.peft is not None and config.trl.get("fsdp") and "SHARDED" in str(fsdp.get("state_dict_type", "")):
        raise UserError(
            "sft.peft with sft.trl.fsdp_config.state_dict_type=SHARDED_STATE_DICT saves no adapter; set FULL_STATE_DICT"
        )


def check_table(table: Mapping[str, Any] | None, *, key: str) -> None:
    """Raise UserError for a LoRA setting that stillery does not support; `key` is the table's."""
    if table is None:
        return
    if table.get("init_lora_weights", True) not in INITIALIZATIONS:
        raise UserError(
            f"{key}.init_lora_weights={table['init_lora_weights']} changes the base's own weights, to which the "
            "adapter could not be merged; set true, false, gaussian or orthogonal"
        )
    if table.get("layer_replication") is not None:
        raise UserError(f"{key}.layer_replication makes another model of the student; repeat its layers and save it")


def _check_quantize(config: SftConfig) -> None:
    import importlib.util

    if config.quantize not in QUANTIZATIONS:
        raise UserError(f"sft.quantize is {config.quantize!r}; it must be null or {' or '.join(QUANTIZATIONS)}")
    if config.peft is None:
        raise UserError(
            "sft.quantize freezes the student's weights in 4 bits, so only an adapter trains: set sft.peft={}"
        )
    if not config.use_gpu:
        raise UserError("sft.quantize needs CUDA: set sft.use_gpu=true, or sft.quantize=null on a CPU machine")
    if config.trl.get("fsdp"):
        raise UserError("sft.quantize cannot be sharded here: unset sft.trl.fsdp or sft.quantize")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("sft.quantize needs bitsandbytes, which is not installed: pip install bitsandbytes")


def check_adapter(table: Mapping[str, Any] | None, source: str, *, key: str, student: str) -> None:
    """Raise UserError if peft cannot add the table's adapter to the student; `source` is the path or Hub name of its
    config. No weights are read."""
    if table is None:
        return
    quiet_peft()
    import warnings

    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    settings: Any = AutoConfig.from_pretrained(source)
    with torch.device("meta"), warnings.catch_warnings():
        # Where peft only warns, the check below raises.
        warnings.simplefilter("ignore")
        model: Any = AutoModelForCausalLM.from_config(settings)
        modules = [name for name, _ in model.named_modules() if name]
        is_tied = bool(settings.get_text_config().tie_word_embeddings)
        _check_names(table, modules, key=key, student=student, is_tied=is_tied)
        try:
            get_peft_model(model, lora_config(table))
        except Exception as error:
            # Boundary: peft raises all kinds of errors for incompatible settings.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"{key}: {lines[0][:300]}; correct it, or leave it out") from None


def _check_names(table: Mapping[str, Any], modules: list[str], *, key: str, student: str, is_tied: bool) -> None:
    """Raise UserError for a named module that the student lacks (peft requires only one match among all names), or one
    that shares its weights with another."""
    last = sorted({name.rpartition(".")[2] for name in modules if not name.rpartition(".")[2].isdigit()})
    for field in ("target_modules", "exclude_modules", "modules_to_save"):
        named = table.get(field)
        names = [named] if isinstance(named, str) and named in last else named if isinstance(named, list) else []
        for name in map(str, names):
            if not any(module == name or module.endswith(f".{name}") for module in modules):
                near = suggest(name, last) or f"; it has {', '.join(last)}"
                raise UserError(f"{key}.{field}: {student} has no module {name}{near}")
            if is_tied and name.rpartition(".")[2] in ("lm_head", "embed_tokens") and field != "exclude_modules":
                raise UserError(
                    f"{key}.{field}: {name} of {student} shares its weights with another module "
                    "(tie_word_embeddings), and could not be merged; leave it out"
                )


def whole_weights(model: Any) -> Iterator[tuple[str, Any]]:
    """The effective weights by name: of a model with an adapter, those of its base with the adapter merged in. The
    model itself stays unchanged, to the last bit."""
    if not hasattr(model, "get_base_model"):
        yield from ((name, tensor.detach()) for name, tensor in model.named_parameters())
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    base: Any = model.get_base_model()
    for name, layer in base.named_modules():
        if isinstance(layer, BaseTunerLayer):
            weight: Any = layer.get_base_layer().weight
            before = weight.detach().clone()
            layer.merge()
            merged = weight.detach().clone()
            layer.unmerge()
            # Subtracting the merged adapter again leaves rounding errors.
            weight.data.copy_(before)
            yield f"{name}.weight", merged
    for name, tensor in base.named_parameters():
        parts = name.split(".")
        is_merged = parts[-2:] == ["base_layer", "weight"]
        if not is_merged and "original_module" not in parts and not any(part.startswith("lora_") for part in parts):
            kept = name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
            yield kept, tensor.detach()


def keep_adapter(base: str, source: Folder, described: Folder, target: Path) -> list[str]:
    """Write a training checkpoint's adapter into a local folder, with its `base` named as in the config, and its
    tokenizer and chat format. Returns the names of the files."""
    kept = Folder(str(target))
    copy_files(source, kept, [ADAPTER_WEIGHTS, ADAPTER_CONFIG])
    speaking = [name for name in described.names() if name not in ("config.json", ADAPTER_CONFIG)]
    copy_files(described, kept, speaking)
    settings = json.loads((target / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = name_of_base(base)
    (target / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return kept.names()


def name_of_base(student: str) -> str:
    """The base as an adapter's folder names it: a name that is valid on other machines, or an absolute path."""
    if student.startswith((EMBEDDED, PRETRAINED)) or "://" in student:
        return student
    path = Path(student).expanduser()
    return str(path.absolute()) if path.exists() else student


def merge_trained(base: str, adapter: Path, out: Path, *, dtype: str) -> None:
    """A student with its trained adapter merged, as a whole model in `out`, with its weights in `dtype`."""
    merge("adapter", resolve_model(base), adapter, out, dtype=dtype)
