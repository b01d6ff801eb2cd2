"""A completion -> its thinking, its answer and how it departs from `<think>…</think><answer>…</answer>`.

Pure, and linear in the length of the completion whatever it holds. Where the rendered prompt already opened
`<think>`, the completion begins inside the thinking.
"""

import re
from dataclasses import dataclass

OPEN_THINK = "<think>"

_TAG = re.compile(r"</?(?:think|answer)>")


@dataclass(frozen=True, slots=True)
class Parts:
    """A completion taken apart.

    `thinking` is None without a think block; `answer` is the text of the last answer block, None without one;
    `visible` is what a reader of the final answer sees: everything after the thinking. `answer_closed` says whether
    the answer block was closed.
    """

    thinking: str | None
    answer: str | None
    visible: str
    state: str
    answer_closed: bool


def parse_template(completion: str, *, prefilled_think: bool = False) -> Parts:
    """Take a completion apart.

    `state` is the first that applies of: "unclosed" (think and answer tags do not pair up), "no_answer",
    "two_answers", "text_after_answer", "empty_think", "no_think" (no think block at its beginning), "ok".
    Text between the thinking and the answer is tolerated. An answer inside the thinking is no answer.
    """
    thinking, visible, paired, begins = _split_thinking(completion, prefilled_think)
    answers, rest, answers_paired = _split_answers(visible)
    if not (paired and answers_paired):
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
        state = "ok" if begins else "no_think"
    answer = answers[-1].strip() if answers else None
    return Parts(
        thinking=thinking, answer=answer, visible=visible, state=state, answer_closed=answers_paired and bool(answers)
    )


def _split_thinking(completion: str, prefilled: bool) -> tuple[str | None, str, bool, bool]:
    """Thinking, what follows it, whether the think tags pair up, and whether the completion begins with it."""
    opening = completion.find(OPEN_THINK)
    closing = completion.find("</think>")
    if opening < 0 and closing < 0 and not prefilled:
        return None, completion, True, False
    inside = opening < 0 or 0 <= closing < opening
    start = 0 if inside else opening + len(OPEN_THINK)
    begins = inside or not completion[:opening].strip()
    if closing < 0:
        # The thinking never ends, save where an answer block shows that only its closing tag was forgotten.
        answer = completion.find("<answer>", start)
        if answer < 0:
            return completion[start:].strip(), "", False, begins
        return completion[start:answer].strip(), completion[answer:], False, begins
    visible = completion[closing + len("</think>") :]
    paired = OPEN_THINK not in visible and "</think>" not in visible
    return completion[start:closing].strip(), visible, paired, begins


def _split_answers(visible: str) -> tuple[list[str], str, bool]:
    """The texts of the answer blocks, what follows the last, and whether their tags pair up."""
    answers: list[str] = []
    opened: int | None = None
    end = 0
    paired = True
    for tag in _TAG.finditer(visible):
        if tag.group() == "<answer>":
            paired = paired and opened is None
            opened = tag.end()
        elif tag.group() == "</answer>":
            if opened is None:
                paired = False
                continue
            answers.append(visible[opened : tag.start()])
            opened, end = None, tag.end()
    if opened is not None:
        return [*answers, visible[opened:]], "", False
    return answers, visible[end:], paired
