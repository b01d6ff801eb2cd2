"""From problems to requests: the chat template rendered, and one row for each sample that is wanted."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from stillery.config import TEMPLATE_INSTRUCTION
from stillery.engines.models import resolve_model
from stillery.errors import UserError
from stillery.records import Message, Prompt, Request, sample_id, seed_of, to_table


def messages_of(prompt: Prompt, *, system_prompt: str | None = None, instruction: str | None = None) -> list[Message]:
    """The conversation that asks a problem: an optional system message, then instruction and question.

    The instruction `template` stands for config.TEMPLATE_INSTRUCTION.
    """
    told = TEMPLATE_INSTRUCTION if instruction == "template" else instruction
    question = prompt.question if told is None else f"{told}\n\n{prompt.question}"
    system = [] if system_prompt is None else [Message("system", system_prompt)]
    return [*system, Message("user", question)]


def render(
    conversations: Sequence[Sequence[Message]], *, model: str, template_kwargs: Mapping[str, Any] | None = None
) -> list[str]:
    """Conversations as the model's own chat template writes them, up to where its answer begins.

    Raises UserError if the model's tokenizer has no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_model(model))
    if tokenizer.chat_template is None:
        raise UserError(f"model {model} has no chat template; save one into its tokenizer (tokenizer.chat_template)")
    dicts = [[{"role": m.role, "content": m.content} for m in conversation] for conversation in conversations]
    return [
        tokenizer.apply_chat_template(d, tokenize=False, add_generation_prompt=True, **(template_kwargs or {}))
        for d in dicts
    ]


def requests_for(
    prompts: Sequence[Prompt],
    rendered: Sequence[str],
    *,
    model_id: str,
    sampling: Mapping[str, Any],
    num_samples: int,
) -> pa.Table:
    """One row for each wanted sample, a prompt's samples together, in order of sample index.

    `sampling` holds everything that shapes a sample, the run's seed included; `num_samples` is not part of an id.
    """
    rows: list[Request] = []
    for prompt, text in zip(prompts, rendered, strict=True):
        for index in range(num_samples):
            made_of = sample_id(
                prompt_id=prompt.prompt_id, rendered=text, model=model_id, sampling=sampling, index=index
            )
            rows.append(Request(made_of, prompt.prompt_id, index, seed_of(made_of), text))
    return to_table(rows, Request)
