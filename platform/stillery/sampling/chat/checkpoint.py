"""The chat format in a model's folder: stop tokens and chat template, read and written.

In: a model, and the conversation format of its training. Out: its stop tokens, and a checkpoint that vLLM, transformers
and exporters use with the same format as in training.
"""

import json
from pathlib import Path
from typing import Any, cast

from stillery.sampling.chat.conversation import ChatFormat, Conversation, load_tokenizer, open_conversation
from stillery.sampling.chat.probe import EndOfTurn, check_asks, find_end, render_probe
from stillery.sampling.chat.template import with_defaults
from stillery.sampling.models import resolve_model


def stops_of(model: str, tokenizer: Any) -> tuple[int, ...]:
    """The tokens at which vLLM stops: the tokenizer's end of sequence, and those of generation_config.json or, without
    it, of config.json."""
    from transformers import AutoConfig, GenerationConfig

    source = resolve_model(model, weights=False)
    try:
        generation = GenerationConfig.from_pretrained(source)
    except OSError:
        generation = GenerationConfig.from_model_config(AutoConfig.from_pretrained(source))
    own: int | None = tokenizer.eos_token_id
    return tuple(dict.fromkeys([*_ids(own), *_ids(generation.eos_token_id)]))


def open_student(chat: ChatFormat, *, key: str = "sft.student") -> tuple[Conversation, EndOfTurn]:
    """A student's conversation and the token that ends its turns. Raises UserError if the student cannot be trained in
    that format."""
    conversation = open_conversation(chat, key=key)
    name = f"{key}={chat.model}"
    completion = render_probe(conversation, name=name)
    stops = stops_of(chat.model, conversation.tokenizer)
    end = find_end(conversation, completion, stops=stops, name=name)
    check_asks(conversation, completion, name=name)
    return conversation, end


def missing_stops(model: str, chat: ChatFormat) -> tuple[int, ...]:
    """The end-of-turn token, if it is a token of the model at which generation would not stop by default."""
    _, end = open_student(chat)
    tokenizer = load_tokenizer(model, key="model")
    is_known = tokenizer.get_vocab().get(end.token) == end.token_id
    return (end.token_id,) if is_known and end.token_id not in stops_of(model, tokenizer) else ()


def write_format(folder: Path, conversation: Conversation, end: EndOfTurn) -> None:
    """Write the training format into a checkpoint folder: the chat template with the format's arguments and system
    prompt as defaults, and the end of a turn among the tokens that end a generation.

    Settings that the folder already has stay as they are.
    """
    tokenizer = load_tokenizer(str(folder), key="checkpoint")
    chat = conversation.format
    template = with_defaults(conversation.template, arguments=chat.arguments, system_prompt=chat.system_prompt)
    is_stop = end.token_id in stops_of(str(folder), tokenizer)
    named: Any = tokenizer.chat_template
    if not is_stop or (named["default"] if isinstance(named, dict) else named) != template:
        tokenizer.chat_template = {**named, "default": template} if isinstance(named, dict) else template
        if not is_stop:
            tokenizer.eos_token = end.token
        tokenizer.save_pretrained(str(folder))
    # transformers itself stops at these alone.
    path = folder / "generation_config.json"
    settings = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    ids = _ids(settings.get("eos_token_id"))
    if end.token_id not in ids:
        path.write_text(json.dumps(settings | {"eos_token_id": [end.token_id, *ids]}, indent=2) + "\n")


def _ids(found: Any) -> list[int]:
    """A token id, a list of them or None as a list."""
    if found is None:
        return []
    return [int(number) for number in cast(list[int], found)] if isinstance(found, list) else [int(found)]
