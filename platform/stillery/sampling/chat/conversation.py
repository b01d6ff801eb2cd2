"""Renders conversations to text and tokens with a model's chat template.

Sampling, training and the checks before a run share this rendering, so that a student is prompted as in training.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillery.config import SftConfig, suggest
from stillery.errors import UserError
from stillery.records import Message, Sample
from stillery.sampling.chat.template import RESERVED, is_variable, variables_of
from stillery.sampling.models import resolve_model

# Reasons for leaving out a row of training data.
CUT = "cut by the chat template"
REFUSED = "refused by the chat template"
OTHER_PROMPT = "prompt written otherwise before an answer"


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The chat format of a model, as plain data.

    `model` holds the tokenizer and the chat template, unless `template` is a template's text, or `template_model` names
    another model whose template and tokens are used. `arguments` are passed to the template; `system_prompt` begins
    every conversation without a system message; `eos_token` replaces the tokenizer's; `now` is the template's present
    time (null: the current time).
    """

    model: str
    template: str | None = None
    template_model: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    system_prompt: str | None = None
    eos_token: str | None = None
    now: datetime.datetime | None = None


def student_format(config: SftConfig, *, now: datetime.datetime | None = None) -> ChatFormat:
    """The student's format in training, evaluation and serving. Raises UserError for a template file that cannot be
    read."""
    path = config.trl.get("chat_template_path")
    is_file = isinstance(path, str) and path.endswith((".jinja", ".j2"))
    return ChatFormat(
        model=config.student,
        template=_read_template(str(path)) if is_file else None,
        template_model=None if is_file else path,
        arguments=dict(config.chat_template_kwargs),
        system_prompt=config.system_prompt,
        eos_token=config.trl.get("eos_token"),
        now=now,
    )


def _read_template(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UserError(f"sft.trl.chat_template_path={path} cannot be read: {reason}") from None


@dataclass(frozen=True, slots=True)
class ChatRow:
    """A training row in tokens: the prompt, and the target completion including its end of turn. `fault` is the reason
    why the row cannot be used; its tokens are then empty. `prompt` and `completion` are the texts."""

    prompt_ids: list[int]
    completion_ids: list[int]
    fault: str | None = None
    prompt: str = ""
    completion: str = ""

    @property
    def input_ids(self) -> list[int]:
        return self.prompt_ids + self.completion_ids

    def labels(self, *, of_prompt: bool = False) -> list[int]:
        """The labels of the loss: the completion alone, or the prompt too; -100 marks a token without loss."""
        return (self.prompt_ids if of_prompt else [-100] * len(self.prompt_ids)) + self.completion_ids


class Conversation:
    """A format with its tokenizer loaded."""

    def __init__(self, chat: ChatFormat, *, tokenizer: Any, template: str) -> None:
        self.format = chat
        self.tokenizer = tokenizer
        self.template = template
        self._arguments = dict(chat.arguments)
        if chat.now is not None:
            # A name passed to a template hides the environment's own.
            self._arguments["strftime_now"] = chat.now.strftime

    def render(self, messages: Sequence[Message], *, ask: bool) -> str:
        """The text of a conversation; with `ask`, up to the point where the model's answer begins.

        Raises the template's errors: jinja2.TemplateError, or a TypeError of its expressions.
        """
        turns = [{"role": m.role, "content": m.content} for m in messages]
        if self.format.system_prompt is not None and (not turns or turns[0]["role"] != "system"):
            turns.insert(0, {"role": "system", "content": self.format.system_prompt})
        return self.tokenizer.apply_chat_template(
            turns, chat_template=self.template, tokenize=False, add_generation_prompt=ask, **self._arguments
        )

    def rows(self, samples: Sequence[Sample]) -> list[ChatRow]:
        """Samples as training rows.

        Prompt and completion are tokenized separately, as they are when the model is prompted. The template may change
        white space; a sample from which it drops anything else has a fault.
        """
        texts = [self._texts(sample) for sample in samples]
        prompts = self.tokenize([prompt for prompt, _, _ in texts])
        completions = self.tokenize([completion for _, completion, _ in texts])
        return [
            ChatRow([], [], fault) if fault else ChatRow(prompt_ids, completion_ids, None, prompt, completion)
            for prompt_ids, completion_ids, (prompt, completion, fault) in zip(prompts, completions, texts, strict=True)
        ]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of rendered texts; the template has already written the special ones."""
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []

    def _texts(self, sample: Sample) -> tuple[str, str, str | None]:
        import jinja2

        try:
            prompt = self.render(sample.prompt, ask=True)
            whole = self.render([*sample.prompt, *sample.completion], ask=False)
        except (jinja2.TemplateError, TypeError):
            return "", "", REFUSED
        if any(bare(message.content) not in bare(whole) for message in sample.completion):
            return "", "", CUT
        completion = continuation(prompt, whole)
        return ("", "", OTHER_PROMPT) if completion is None else (prompt, completion, None)


def continuation(prompt: str, whole: str) -> str | None:
    """The text after the prompt in the whole conversation; None if that does not begin with the prompt, up to white
    space: a template may open `<think>` with a line break and leave an existing one in an answer unchanged."""
    if whole.startswith(prompt):
        return whole[len(prompt) :]
    if not bare(whole).startswith(bare(prompt)):
        return None
    num_left, end = len(bare(prompt)), 0
    while num_left:
        num_left -= 0 if whole[end].isspace() else 1
        end += 1
    return whole[end:].lstrip()


def bare(text: str) -> str:
    """A text without its white space, which templates change."""
    return "".join(text.split())


def open_conversation(chat: ChatFormat, *, key: str) -> Conversation:
    """Load the tokenizer of a format. Raises UserError, naming the config's `key`, where it cannot be used."""
    tokenizer = load_tokenizer(chat.model, key=key)
    if chat.eos_token is not None:
        if chat.eos_token not in tokenizer.get_vocab():
            raise UserError(f"sft.trl.eos_token={chat.eos_token} is not a token of {chat.model}'s vocabulary")
        tokenizer.eos_token = chat.eos_token
    template = chat.template
    if chat.template_model is not None:
        template = _take_template(tokenizer, chat.template_model)
    if template is None and tokenizer.chat_template is None:
        raise UserError(f"{key}={chat.model}: has no chat template; {_remedy(key)}")
    try:
        template = tokenizer.get_chat_template(template)
    except ValueError:
        named = ", ".join(tokenizer.chat_template)
        raise UserError(
            f"{key}={chat.model}: has several chat templates ({named}) and no default; {_remedy(key)}"
        ) from None
    _check_arguments(chat, template, key=key)
    return Conversation(chat, tokenizer=tokenizer, template=template)


def load_tokenizer(model: str, *, key: str) -> Any:
    """A model's tokenizer. Raises UserError if transformers cannot load it."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(resolve_model(model, weights=False))
    except Exception as error:
        # Boundary: transformers and tokenizers raise all kinds of errors for a damaged or missing file.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{key}={model}: its tokenizer cannot be loaded ({reason[0][:200]}); save it again") from None


def _take_template(tokenizer: Any, model: str) -> str:
    """The template of another model, with the tokens and the end of turn that TRL copies with it."""
    source = load_tokenizer(model, key="sft.trl.chat_template_path")
    if source.chat_template is None:
        raise UserError(f"sft.trl.chat_template_path={model}: that model has no chat template")
    known = tokenizer.get_vocab()
    tokenizer.add_tokens([token for token in source.added_tokens_decoder.values() if token.content not in known])
    tokenizer.eos_token = source.eos_token
    return source.get_chat_template()


def _check_arguments(chat: ChatFormat, template: str, *, key: str) -> None:
    """Raise UserError for an invalid template, or an argument that it does not read."""
    import jinja2

    try:
        read = variables_of(template)
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{key}={chat.model}: its chat template is no Jinja: line {error.lineno}: {error}") from None
    arguments = f"{key.partition('.')[0]}.chat_template_kwargs"
    for name in chat.arguments:
        if not is_variable(name):
            raise UserError(f"{arguments}.{name} is not an argument that a chat template can be given")
        if name not in read:
            known = sorted(read - RESERVED)
            told = suggest(name, known) if known else "; it reads none at all"
            raise UserError(f"{arguments}.{name}: the chat template of {chat.model} reads no such argument{told}")


def _remedy(key: str) -> str:
    if key.startswith("sft."):
        return "give one with sft.trl.chat_template_path (a .jinja file, or another model)"
    return "save one into its tokenizer (tokenizer.chat_template)"
