"""Problems as prompts for a student: for validation during training, and for refinement."""

from collections.abc import Sequence
from dataclasses import dataclass

from stillery.records import AnswerKind, Prompt
from stillery.sampling.chat.conversation import Conversation
from stillery.sampling.prompting import messages_of


@dataclass(frozen=True, slots=True)
class StudentProblem:
    """A problem with its `rendered` prompt, the text that the student continues. `teacher_length` and `teacher_steps`
    are the typical length, in characters and in steps, of the teacher's traces for it, where a reward needs them."""

    prompt_id: str
    task: str
    question: str
    answer: str
    answer_kind: str
    choices: list[str]
    num_steps: int | None
    rendered: str
    teacher_length: float | None = None
    teacher_steps: int = 0
    verify_function: str | None = None


def is_gradable(prompt: Prompt) -> bool:
    """Whether rules, tests or the config's verifier can check its answer: training asks no judge."""
    return bool(prompt.answer) and prompt.answer_kind not in (AnswerKind.JUDGED, AnswerKind.NONE)


def render_problem(
    conversation: Conversation,
    prompt: Prompt,
    *,
    teacher: tuple[float | None, int] = (None, 0),
    verify_function: str | None,
) -> StudentProblem:
    """A problem that has an answer, as a prompt for the student; `teacher` is the length and the steps of its traces,
    `verify_function` the config's verifier."""
    assert prompt.answer, "problems without an answer are left out"
    return StudentProblem(
        prompt_id=prompt.prompt_id,
        task=prompt.task,
        question=prompt.question,
        answer=prompt.answer,
        answer_kind=prompt.answer_kind,
        choices=prompt.choices,
        num_steps=prompt.num_steps,
        rendered=conversation.render(messages_of(prompt), ask=True),
        teacher_length=teacher[0],
        teacher_steps=teacher[1],
        verify_function=verify_function,
    )


def first_of(problems: Sequence[StudentProblem], most: int | None) -> list[StudentProblem]:
    """The validation problems: all, or this many spread evenly over them, so that every task is included."""
    if most is None or most >= len(problems):
        return list(problems)
    return [problems[number * len(problems) // most] for number in range(most)]
