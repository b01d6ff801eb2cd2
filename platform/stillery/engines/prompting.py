"""From problems to prompts: messages, and the chat template rendered."""

from collections.abc import Mapping, Sequence
from typing import Any

from stillery.config import TEMPLATE_INSTRUCTION
from stillery.engines.models import resolve_model
from stillery.engines.two_step import REASONING_TRIGGER
from stillery.errors import UserError
from stillery.records import Message, Prompt


def messages_of(prompt: Prompt, *, system_prompt: str | None = None, instruction: str | None = None) -> list[Message]:
    """The conversation that asks a problem: an optional system message, then instruction and question.

    The instruction `template` stands for config.TEMPLATE_INSTRUCTION.
    """
    told = TEMPLATE_INSTRUCTION if instruction == "template" else instruction
    question = prompt.question if told is None else f"{told}\n\n{prompt.question}"
    system = [] if system_prompt is None else [Message("system", system_prompt)]
    return [*system, Message("user", question)]


def render(
    conversations: Sequence[Sequence[Message]],
    *,
    model: str,
    template_kwargs: Mapping[str, Any] | None = None,
    two_step: bool = False,
) -> list[str]:
    """Conversations as the model's own chat template writes them, up to where its answer begins.

    `two_step` adds the reasoning trigger as the beginning of the answer; a model without a chat template is then asked
    in plain text. Otherwise raises UserError if the model's tokenizer has no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_model(model))
    if tokenizer.chat_template is None and two_step:
        plain = ["\n\n".join(message.content for message in conversation) for conversation in conversations]
        return [f"Q: {text}\nA: {REASONING_TRIGGER}" for text in plain]
    if tokenizer.chat_template is None:
        raise UserError(f"model {model} has no chat template; save one into its tokenizer (tokenizer.chat_template)")
    dicts = [[{"role": m.role, "content": m.content} for m in conversation] for conversation in conversations]
    rendered = [
        tokenizer.apply_chat_template(d, tokenize=False, add_generation_prompt=True, **(template_kwargs or {}))
        for d in dicts
    ]
    return [f"{text}{REASONING_TRIGGER}" for text in rendered] if two_step else rendered
