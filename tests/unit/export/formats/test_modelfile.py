"""Ollama's template of one turn, rendered turn by turn like Ollama, equals the checkpoint's chat template."""

from pathlib import Path

import pytest

from stillery.export.checkpoint import open_checkpoint
from stillery.export.formats.gguf.modelfile import ollama_template, write_modelfile
from stillery.sampling.models import resolve_model

STUDENT = Path(resolve_model("embedded:student"))


def ollama(template: str, turns: list[tuple[str, str]]) -> str:
    """Ollama's rendering of turns of (prompt, response), the last still without one."""
    text = ""
    for number, (prompt, response) in enumerate(turns, start=1):
        head, _, closing = template.partition("{{ .Response }}")
        text += head.replace("{{ .Prompt }}", prompt) + ("" if number == len(turns) else response + closing)
    return text


def test_a_chat_is_the_checkpoints_own(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    assert write_modelfile(STUDENT, tmp_path / "model.gguf", end_tokens=open_checkpoint(STUDENT).end_tokens)
    text = (tmp_path / "Modelfile").read_text()
    assert text.startswith("FROM ./model.gguf\n")
    assert 'PARAMETER stop "<|im_end|>"\n' in text
    template = text.split('"""')[1]
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    messages = [
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "And 4 more?"},
    ]
    expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert ollama(template, [("What is 2 + 3?", "5"), ("And 4 more?", "")]) == expected


@pytest.mark.parametrize(
    "write",
    [
        # A system prompt at the head is no part of a turn.
        lambda messages: "system\n" + "".join(f"{m['role']}:{m['content']}\n" for m in messages) + "assistant:",
        # What Ollama would take for an action of its own.
        lambda messages: "".join(f"{{{{{m['role']}}}}}{m['content']}\n" for m in messages) + "{{assistant}}",
        # A template that drops the question.
        lambda messages: f"{len(messages)} messages",
    ],
)
def test_a_chat_that_is_not_its_turns_is_not_told(write) -> None:  # type: ignore[no-untyped-def]
    assert ollama_template(write) is None
