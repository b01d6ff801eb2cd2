"""From problems to prompts: messages, and the rendered chat template."""

from collections.abc import Sequence

from stillery.config import TEMPLATE_INSTRUCTION
from stillery.records import Message, Prompt
from stillery.sampling.chat.conversation import ChatFormat, load_tokenizer, open_conversation
from stillery.sampling.two_step import REASONING_TRIGGER


def messages_of(prompt: Prompt, *, system_prompt: str | None = None, instruction: str | None = None) -> list[Message]:
    """The conversation for a problem: an optional system message, then instruction and question.

    The instruction `template` stands for config.TEMPLATE_INSTRUCTION.
    """
    told = TEMPLATE_INSTRUCTION if instruction == "template" else instruction
    question = prompt.question if told is None else f"{told}\n\n{prompt.question}"
    system = [] if system_prompt is None else [Message("system", system_prompt)]
    return [*system, Message("user", question)]


def render(conversations: Sequence[Sequence[Message]], *, chat: ChatFormat, two_step: bool = False) -> list[str]:
    """Conversations rendered by the chat template, up to the point where the model's answer begins.

    `two_step` adds the reasoning trigger as the beginning of the answer; a model without a chat template then gets
    plain text. Otherwise raises UserError if the model's tokenizer has no chat template.
    """
    if two_step and load_tokenizer(chat.model, key="model").chat_template is None:
        plain = ["\n\n".join(message.content for message in conversation) for conversation in conversations]
        return [f"Q: {text}\nA: {REASONING_TRIGGER}" for text in plain]
    opened = open_conversation(chat, key="model")
    rendered = [opened.render(conversation, ask=True) for conversation in conversations]
    return [f"{text}{REASONING_TRIGGER}" for text in rendered] if two_step else rendered
