"""A generated problem: question, exact answer, and the true value of every intermediate step."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """One intermediate value: `value` is the result of `expression`, given the facts that it depends on.

    Kept for evaluation only: it is never shown to a model.
    """

    name: str
    value: str
    expression: str
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with its exact answer. `answer_kind` is one of the values of records.AnswerKind.

    `facts` are in an order in which they can be computed. Problems with equal `signature` are the same: for numeric
    tasks it is the numbers and their relations without names, for others the question.
    """

    task: str
    question: str
    answer: str
    answer_kind: str
    choices: tuple[str, ...]
    num_steps: int
    facts: tuple[Fact, ...]
    signature: str


def sign_question(task: str, question: str) -> str:
    """The signature of a problem that is defined by its wording."""
    return f"{task}:{' '.join(question.casefold().split())}"
