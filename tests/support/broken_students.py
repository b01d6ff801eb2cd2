"""Students that cannot be trained, and some odd ones that can: the change to a copy of the embedded student, the
settings with it, and the message of a run before its first stage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.chat_models import edit, published_template
from support.export_models import edit_tensors

Break = Callable[[Path], object]


def shards(folder: Path, *, kept: int = 2, index: bool = True) -> None:
    """Split the weights into two shards, of which the first `kept` stay."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    places: dict[str, str] = {}
    for number, part in enumerate((names[:20], names[20:]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        places |= dict.fromkeys(part, file)
        if number <= kept:
            save_file({name: tensors[name] for name in part}, folder / file)
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def lose(*names: str) -> Break:
    return lambda folder: edit_tensors(folder, lambda tensors: [tensors.pop(name) for name in names])


def reshape(tensors: dict[str, Any]) -> None:
    tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.1.mlp.up_proj.weight"][:-1]


def with_head(folder: Path) -> None:
    edit_tensors(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))


def more_tokens(folder: Path) -> None:
    data = json.loads((folder / "tokenizer.json").read_text())
    data["added_tokens"].append({**data["added_tokens"][0], "id": 1024, "content": "<more>"})
    (folder / "tokenizer.json").write_text(json.dumps(data))


def trailing(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(bytes(8))


def config(**values: Any) -> Break:
    return lambda folder: edit(folder / "config.json", **values)


def generation(**values: Any) -> Break:
    return lambda folder: edit(folder / "generation_config.json", **values)


def write(name: str, text: str) -> Break:
    return lambda folder: (folder / name).write_text(text)


def template(text: str) -> Break:
    return write("chat_template.jinja", text)


def published(name: str) -> Break:
    return template("{% set bos_token = '' %}" + published_template(name))


# A broken folder, and a part of its message.
BROKEN: dict[str, tuple[Break, str]] = {
    "an adapter beside the model": (write("adapter_config.json", "{}"), "adapter_config.json beside its config.json"),
    "a first shard without its index": (lambda f: shards(f, kept=1, index=False), "has 1 of 2 weight files"),
    "all shards without their index": (lambda f: shards(f, index=False), r"without model\.safetensors\.index\.json"),
    "a shard that is missing": (lambda f: shards(f, kept=1), "weight files"),
    "an index of another model": (
        lambda f: (shards(f), edit_index(f, "model.layers.9.x")),
        r"places model\.layers\.9\.x in .*does not hold it",
    ),
    "weights of no bytes": (lambda f: (f / "model.safetensors").write_bytes(b""), "not a safetensors file"),
    "weights that are cut off": (lambda f: truncate(f, -10), "was cut off"),
    "bytes after the weights": (trailing, r"model\.safetensors is damaged"),
    "a tensor that is missing": (lose("model.norm.weight"), r"the first is model\.norm\.weight"),
    "a tensor of another shape": (
        lambda f: edit_tensors(f, reshape),
        r"has the shape \[319, 128\], and by config\.json",
    ),
    "an untied config without a head": (config(tie_word_embeddings=False), "lm_head.weight; set tie_word_embeddings"),
    "a config of a deeper model": (config(num_hidden_layers=6, layer_types=None), "tensors that config.json asks for"),
    "a config of a larger vocabulary": (config(vocab_size=2048), r"embed_tokens\.weight has the shape \[1024, 128\]"),
    "a vocabulary below the tokenizer's": (more_tokens, "tokens up to id 1024, but the model only 1024 rows"),
    "quantized weights": (config(quantization_config={"quant_method": "fp8"}), "its weights are quantized"),
    "an architecture nobody knows": (config(model_type="qwen99"), "transformers cannot read its config.json"),
    "a config of no numbers": (config(num_attention_heads="four"), "config.json"),
    "a model that writes no text": (config(architectures=["Qwen3ForSequenceClassification"]), "generates no text"),
    "a temperature without sampling": (
        generation(do_sample=False, temperature=0.6),
        "config.json cannot be saved .*temperature",
    ),
    "a generation config that is no JSON": (
        write("generation_config.json", "{"),
        "config.json cannot be saved",
    ),
    "an end of sequence that is no id": (
        generation(eos_token_id="<|im_end|>"),
        "eos_token_id of its generation_config",
    ),
    "a negative pad token": (generation(pad_token_id=-1), "generation_config.json cannot be saved .*pad_token_id"),
    "a tokenizer that is cut off": (write("tokenizer.json", '{"version"'), "its tokenizer cannot be loaded"),
    "a template that cuts the thinking (DeepSeek-R1)": (
        published("deepseek_r1_distill"),
        "cuts the thinking",
    ),
    "a template that closes the thinking (Qwen3.5, switched off)": (published("qwen3_5_nothink"), "begins otherwise"),
    "a template whose end is no token (Gemma's)": (published("gemma3"), "no special token of its vocabulary"),
    "a template without an end of turn (GLM-4's)": (published("glm4moe"), "writes nothing at the end of an answer"),
    "a template of pictures (SmolVLM's)": (published("smolvlm"), "leaves out the question"),
    "a template that is no Jinja": (template("{% for m in messages %}{{ m.content }"), "is no Jinja: line 1"),
    "a template that fails": (template("{{ messages[0].contents.strip() }}"), "its chat template fails"),
    "a template that changes the question": (
        template("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content|upper }}<|im_end|>\n{% endfor %}"),
        "leaves out the question",
    ),
    "a template that drops answers": (
        template(
            "{% for m in messages if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
        "cuts the answer out",
    ),
    "a template that never asks": (
        template("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"),
        r"does not ask for an answer \(add_generation_prompt\)",
    ),
    "a template of the last message alone": (
        template(
            "<|im_start|>{{ messages[-1].role }}\n{{ messages[-1].content }}<|im_end|>\n"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
        "begins otherwise",
    ),
    "no weights but a pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"has no \*\.safetensors",
    ),
    "weights that are a folder": (
        lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
        r"model\.safetensors is no file",
    ),
    "no tokenizer": (
        lambda f: [(f / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
        r"has no tokenizer\.json",
    ),
    "a config that is no JSON": (write("config.json", "{"), "it has no model_type"),
    "a token that the embedding does not have": (
        lambda f: edit(f / "tokenizer_config.json", pad_token="<nowhere>"),
        "tokens up to id 1024, but the model only 1024 rows",
    ),
    "no chat template": (lambda f: (f / "chat_template.jinja").unlink(), "has no chat template"),
}


# Settings that do not fit the embedded student or its teacher, and a part of their message.
SETTINGS: dict[str, tuple[list[str], str]] = {
    "an argument that the template does not read": (
        ["sft.chat_template_kwargs={enable_thinking: true}"],
        r"sft\.chat_template_kwargs\.enable_thinking: .* reads no such argument",
    ),
    "a template file that is not there": (["sft.trl.chat_template_path=gone.jinja"], r"gone\.jinja cannot be read"),
    "an end of sequence that is no token": (["sft.trl.eos_token=<eot>"], r"sft\.trl\.eos_token=<eot> is not a token"),
    "training cut far below the teacher": (
        ["teacher.sampling.max_tokens=16384", "evaluate.sampling.max_tokens=16384"],
        r"sft\.trl\.max_length=1024: .*about 94% of the samples",
    ),
    "evaluation cut far below the teacher": (
        ["teacher.sampling.max_tokens=16384", "sft.trl.max_length=16384"],
        r"evaluate\.sampling\.max_tokens=512: .*about 97% of the samples",
    ),
    "a context of the evaluation far below the teacher": (
        ["teacher.sampling.max_tokens=900", "evaluate.sampling.max_tokens=900", "evaluate.engine.max_model_len=512"],
        r"evaluate\.engine\.max_model_len=512: .*about 43% of the samples",
    ),
    "a context that the student does not have": (
        ["evaluate.engine.max_model_len=4096"],
        r"evaluate\.engine\.max_model_len=4096: sft\.student=embedded:student reads at most 2048 tokens",
    ),
    "a name that MLflow refuses": (["register.name=me/student"], "register.name='me/student': MLflow refuses it"),
    "a name that no reference can hold": (["register.name=me@home"], "@ cannot stand in models:/NAME@ALIAS"),
    "an experiment without a name": (["register.experiment=''"], "register.experiment='': MLflow refuses it"),
}


WHOLE: dict[str, Break] = {
    "as it is": Path.exists,
    "in shards": shards,
    "a tied config with a head": with_head,
    "an untied config with a head": lambda folder: (with_head(folder), config(tie_word_embeddings=False)(folder)),
    "without a generation config": lambda folder: (folder / "generation_config.json").unlink(),
    "with tensors to spare": lambda f: edit_tensors(f, lambda t: t.update({"extra": t["model.norm.weight"].clone()})),
    "with other files": write("training_args.bin", "x"),
}


def edit_index(folder: Path, name: str) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][name] = "model-00001-of-00002.safetensors"
    path.write_text(json.dumps(index))


def truncate(folder: Path, by: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:by])
