"""A checkpoint carries the conversation that it was trained in."""

import hashlib
import json
from pathlib import Path
from typing import Any

from stillery.export.checkpoint import open_checkpoint
from stillery.records import Message
from stillery.sampling.chat.checkpoint import open_student, stops_of, write_format
from stillery.sampling.chat.conversation import ChatFormat
from support.chat_models import make_student, published_template

ASKED = [Message("user", "2 + 2?")]


def write(chat: ChatFormat, checkpoint: Path) -> str:
    """Write the format into the checkpoint; the prompt as the student is trained on it."""
    conversation, end = open_student(chat)
    write_format(checkpoint, conversation, end)
    return conversation.render(ASKED, ask=True)


def load(checkpoint: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint)


def ask(checkpoint: Path, *, system: str | None = None, **arguments: Any) -> str:
    messages = [{"role": "user", "content": "2 + 2?"}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return load(checkpoint).apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **arguments)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_checkpoint_that_says_it_all_already_is_left_alone(tmp_path: Path) -> None:
    checkpoint = make_student(tmp_path / "m")
    before = digests(checkpoint)
    write(ChatFormat(str(checkpoint)), checkpoint)
    assert digests(checkpoint) == before


def test_whatever_loads_the_checkpoint_asks_it_as_it_was_trained(tmp_path: Path) -> None:
    student = make_student(tmp_path / "student", template=published_template("qwen3_5_nothink"))
    checkpoint = make_student(tmp_path / "checkpoint", template=published_template("qwen3_5_nothink"))
    chat = ChatFormat(str(student), arguments={"enable_thinking": True}, system_prompt='Say "why".')
    trained = write(chat, checkpoint)
    assert trained != ask(student)
    assert ask(checkpoint) == trained
    assert ask(checkpoint, enable_thinking=False).endswith("</think>\n\n")
    assert "why" not in ask(checkpoint, system="Mine.")
    # A student that is trained further keeps it.
    assert write(ChatFormat(str(checkpoint)), checkpoint) == trained


def test_a_base_models_checkpoint_stops_at_the_end_of_turn_wherever_it_runs(tmp_path: Path) -> None:
    from transformers import GenerationConfig

    chatml = published_template("qwen2_5")
    base = make_student(tmp_path / "base", template=chatml, eos="<|endoftext|>", stops=0)
    checkpoint = make_student(tmp_path / "c", template=chatml, eos="<|endoftext|>", stops=0, weights=True)
    write(ChatFormat(str(base)), checkpoint)
    assert load(checkpoint).eos_token == "<|im_end|>"
    assert load(checkpoint).pad_token == "<|endoftext|>"
    assert GenerationConfig.from_pretrained(checkpoint).eos_token_id == [2]
    assert stops_of(str(checkpoint), load(checkpoint)) == (2,)
    assert open_checkpoint(checkpoint).end_tokens == (2,)


def test_the_stops_that_a_model_has_are_kept(tmp_path: Path) -> None:
    base = make_student(tmp_path / "base", template=published_template("qwen2_5"), eos="<|endoftext|>", stops=[0, 1])
    assert stops_of(str(base), load(base)) == (0, 1)
    write(ChatFormat(str(base)), base)
    assert json.loads((base / "generation_config.json").read_text())["eos_token_id"] == [2, 0, 1]
    (base / "generation_config.json").unlink()
    write(ChatFormat(str(base)), base)
    assert json.loads((base / "generation_config.json").read_text())["eos_token_id"] == [2]


def test_a_tokenizer_with_several_templates_gets_a_default(tmp_path: Path) -> None:
    student = make_student(tmp_path / "m")
    (student / "chat_template.jinja").unlink()
    config = json.loads((student / "tokenizer_config.json").read_text())
    named = [{"name": "default", "template": published_template("qwen3")}, {"name": "tool_use", "template": "tools"}]
    (student / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": named}))
    trained = write(ChatFormat(str(student), system_prompt="Be brief."), student)
    assert ask(student) == trained
    assert load(student).chat_template["tool_use"] == "tools"
