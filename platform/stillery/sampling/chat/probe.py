"""Tests a conversation on a question and an answer with thinking, before anything is made with it.

In: a conversation. Out: the text that the model has to write and the token that ends it, or a UserError that names the
setting at fault and its fix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stillery.errors import UserError
from stillery.records import Message
from stillery.sampling.chat.conversation import Conversation, bare, continuation
from stillery.thinking import CLOSE_THINK, OPEN_THINK

QUESTION, THOUGHT, ANSWER = "Is the coin still heads up?", "It was turned over once.", "no"
PROBE = [
    Message("user", QUESTION),
    Message("assistant", f"{OPEN_THINK}\n{THOUGHT}\n{CLOSE_THINK}\n<answer>{ANSWER}</answer>"),
]

_TEMPLATE_KEY = "sft.trl.chat_template_path"


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """The token that ends an answer. `is_stop` says whether generation already stops there."""

    token: str
    token_id: int
    is_stop: bool


def render_probe(conversation: Conversation, *, name: str) -> str:
    """The text that the student has to write after the probe's question, including its end of turn.

    Raises UserError, about the student by its `name`, if the template cannot be rendered, drops a part of the
    conversation, or begins an answer differently from its generation prompt.
    """
    prompt, whole = _render(conversation, name=name)
    if bare(QUESTION) not in bare(prompt):
        raise UserError(f"{name}: its chat template leaves out the question; give another with {_TEMPLATE_KEY}")
    system = conversation.format.system_prompt
    if system is not None and bare(system) not in bare(prompt):
        raise UserError(f"{name}: its chat template leaves out sft.system_prompt; unset it, or set {_TEMPLATE_KEY}")
    if bare(PROBE[1].content) not in bare(whole):
        raise UserError(
            f"{name}: its chat template cuts {_lost(whole)} out of what the student should learn; "
            f"give one that keeps it with {_TEMPLATE_KEY}"
        )
    completion = continuation(prompt, whole)
    if completion is None:
        raise UserError(
            f"{name}: its chat template asks for an answer with {prompt[-60:]!r}, but writes one that begins "
            "otherwise, so the student would be asked as it was never trained; change sft.chat_template_kwargs or "
            f"{_TEMPLATE_KEY}"
        )
    return completion


def check_asks(conversation: Conversation, completion: str, *, name: str) -> None:
    """Raise UserError if the template has no generation prompt, so that the student itself would have to write the text
    before an answer."""
    opening = completion.partition(OPEN_THINK if OPEN_THINK in completion else THOUGHT)[0].strip()
    if opening and _render(conversation, name=name)[0] == conversation.render(PROBE[:1], ask=False):
        raise UserError(
            f"{name}: its chat template does not ask for an answer (add_generation_prompt), so the student would have "
            f"to write {opening!r} itself before each; give a template that does with {_TEMPLATE_KEY}"
        )


def find_end(conversation: Conversation, completion: str, *, stops: Sequence[int], name: str) -> EndOfTurn:
    """The first token after the probe's answer that is one of `stops`, at which generation stops, else the first that
    can be made a stop token: a special token of the vocabulary that does not occur in the answer.

    Raises UserError if there is neither: the student would write to the limit.
    """
    body, mark, after = completion.rpartition("</answer>")
    written, tail = conversation.tokenize([body + mark, after])
    tokenizer = conversation.tokenizer
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    for candidates, is_stop in ((set(stops), True), (special - set(written), False)):
        found = next((token for token in tail if token in candidates), None)
        if found is not None:
            return EndOfTurn(str(tokenizer.convert_ids_to_tokens(found)), found, is_stop)
    ends = tokenizer.convert_ids_to_tokens(list(stops))
    told = f"ends an answer with {after!r}, which is no special token of its vocabulary" if after.strip() else (
        "writes nothing at the end of an answer"
    )  # fmt: skip
    raise UserError(
        f"{name}: its chat template {told}, and generation stops at {', '.join(ends) or 'nothing'}: the student would "
        f"never stop; give a template that ends an answer with such a token with {_TEMPLATE_KEY}"
    )


def _render(conversation: Conversation, *, name: str) -> tuple[str, str]:
    import jinja2

    try:
        return conversation.render(PROBE[:1], ask=True), conversation.render(PROBE, ask=False)
    except (jinja2.TemplateError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if conversation.format.system_prompt is not None:
            reason += " (sft.system_prompt is set)"
        raise UserError(f"{name}: its chat template fails: {reason}; give another with {_TEMPLATE_KEY}") from None


def _lost(whole: str) -> str:
    """The parts of the probe's answer that a rendered conversation lacks."""
    if bare(ANSWER) not in bare(whole):
        return "the answer"
    return "the thinking" if bare(THOUGHT) not in bare(whole) else "the tags of thinking and answer"
