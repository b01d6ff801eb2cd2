"""Students for tests of the conversation: the embedded tokenizer with chat templates and tokens of published models.

The templates are those shipped with TRL, of Qwen, Llama, Gemma, DeepSeek and others as published.
"""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from stillery.sampling.models import resolve_model

STUDENT = Path(resolve_model("embedded:student"))


def published_template(name: str) -> str:
    """A chat template shipped with TRL, by its file name."""
    spec = importlib.util.find_spec("trl")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def make_student(
    folder: Path,
    *,
    template: str | None = None,
    eos: str | None = None,
    stops: list[int] | int | None = None,
    tokens: dict[int, str] | None = None,
    weights: bool = False,
) -> Path:
    """A copy of the embedded student with another chat template, end of sequence (the tokenizer's `eos`; `stops` of
    generation_config.json, 0 for none), and other special tokens in place of those with these ids."""
    shutil.copytree(STUDENT, folder, ignore=None if weights else shutil.ignore_patterns("*.safetensors"))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    if tokens:
        _rename_tokens(folder / "tokenizer.json", tokens)
    if eos is not None or tokens:
        edit(folder / "tokenizer_config.json", eos_token=eos, pad_token=eos)
    if stops is not None:
        edit(folder / "generation_config.json", eos_token_id=stops or None)
        edit(folder / "config.json", eos_token_id=stops or None)
    return folder


def edit(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None removes one."""
    data = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def _rename_tokens(path: Path, tokens: dict[int, str]) -> None:
    data = json.loads(path.read_text())
    for entry in data["added_tokens"]:
        if entry["id"] in tokens:
            old, entry["content"], entry["special"] = entry["content"], tokens[entry["id"]], True
            if old in data["model"]["vocab"]:
                data["model"]["vocab"][tokens[entry["id"]]] = data["model"]["vocab"].pop(old)
    path.write_text(json.dumps(data))
