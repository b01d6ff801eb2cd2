"""An Ollama Modelfile beside a GGUF file: the chat template in Ollama's language, and the stop tokens.

Ollama doesn't run the file's Jinja template. Without `.Messages` its own template is rendered once per turn, so a chat
format that repeats the same text for every turn can be expressed exactly.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_QUESTION, _ANSWER, _NEXT = "QUESTION-0", "ANSWER-0", "QUESTION-1"
# Text that a Go template or a Modelfile would interpret.
_SPECIAL = ("{{", "}}", '"""')


def write_modelfile(checkpoint: Path, file: Path, *, end_tokens: Sequence[int]) -> bool:
    """Write `Modelfile` beside a GGUF file; False, and no file, for a chat template that Ollama can't express."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    if tokenizer.chat_template is None:
        return False

    def render(messages: list[dict[str, str]]) -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    template = ollama_template(render)
    stops = [tokenizer.decode([token]) for token in end_tokens]
    if template is None or any(mark in stop or '"' in stop for stop in stops for mark in _SPECIAL):
        return False
    lines = [f"FROM ./{file.name}", f'TEMPLATE """{template}"""', *(f'PARAMETER stop "{stop}"' for stop in stops)]
    file.with_name("Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return True


def ollama_template(render: Callable[[list[dict[str, str]]], str]) -> str | None:
    """The template of one turn; None where a chat is not the concatenation of its turns.

    `render` is a chat template with the generation prompt.
    """
    question, answer = {"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}
    opening, found, asking = render([question]).partition(_QUESTION)
    chat = render([question, answer, {"role": "user", "content": _NEXT}])
    first = opening + _QUESTION + asking + _ANSWER
    last = opening + _NEXT + asking
    if not found or not chat.startswith(first) or not chat.endswith(last) or len(chat) < len(first) + len(last):
        return None
    closing = chat[len(first) : len(chat) - len(last)]
    if any(mark in text for mark in _SPECIAL for text in (opening, asking, closing)):
        return None
    return f"{opening}{{{{ .Prompt }}}}{asking}{{{{ .Response }}}}{closing}"
