"""Parses `<think>…</think><answer>…</answer>`: thinking, answer, and departures from the template.

Pure, and linear in the length of any completion. Thinking is found by the markers of any model (`stillery.thinking`);
only `<think>` is part of the template. Where the rendered prompt already opened it, the completion begins inside the
thinking.
"""

import re
from dataclasses import dataclass

from stillery.thinking import split_thinking

_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_LAST_ANSWER = re.compile(r"<answer>(?:(?!</?answer>).)*</answer>\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TemplateParts:
    """The parts of a completion.

    `thinking` is None without a think block; `answer` is the text of the last answer block, None without one; `visible`
    is the text that a reader of the final answer sees: everything after the thinking. `answer_closed` says whether the
    answer block was closed.
    """

    thinking: str | None
    answer: str | None
    visible: str
    state: str
    answer_closed: bool


def parse_template(completion: str, *, prefilled_think: bool = False) -> TemplateParts:
    """Split a completion into its parts.

    `state` is the first that applies of: "unclosed" (think and answer tags do not pair up), "no_answer", "two_answers",
    "text_after_answer", "empty_think", "no_think" (no think block at its beginning), "ok". Text between the thinking
    and the answer is tolerated. An answer inside the thinking does not count.
    """
    split = split_thinking(completion, prefilled=prefilled_think)
    hidden, visible = split.hidden, split.visible
    if split.unclosed is not None:
        # The thinking never ends, unless an answer block at the very end shows that only its closing tag was forgotten.
        forgotten = _LAST_ANSWER.search(split.unclosed)
        end = len(split.unclosed) if forgotten is None else forgotten.start()
        hidden, visible = [*hidden, split.unclosed[:end]], visible + split.unclosed[end:]
    thinking = hidden[0].strip() if hidden else None
    answers, rest, answers_paired = _split_answers(visible)
    if not (split.is_paired and answers_paired):
        state = "unclosed"
    elif not answers:
        state = "no_answer"
    elif len(answers) > 1:
        state = "two_answers"
    elif rest.strip():
        state = "text_after_answer"
    elif thinking is not None and not thinking.strip():
        state = "empty_think"
    else:
        state = "ok" if hidden and split.is_first and split.is_own else "no_think"
    answer = answers[-1].strip() if answers else None
    return TemplateParts(
        thinking=thinking, answer=answer, visible=visible, state=state, answer_closed=answers_paired and bool(answers)
    )


def _split_answers(visible: str) -> tuple[list[str], str, bool]:
    """The texts of the answer blocks, the text after the last, and whether their tags pair up."""
    answers: list[str] = []
    opened: int | None = None
    end = 0
    paired = True
    for tag in _TAG.finditer(visible):
        if tag.group()[1] != "/":
            paired = paired and opened is None
            opened = tag.end()
        elif opened is None:
            paired = False
        else:
            answers.append(visible[opened : tag.start()])
            opened, end = None, tag.end()
    if opened is not None:
        return [*answers, visible[opened:]], "", False
    return answers, visible[end:], paired
