"""What else a teacher can be asked, beside the problems: any conversations, each answered once.

`completer` puts the language model behind `stillery.bonds.label_molecules`, `check_writer` the one behind
`stillery.bonds.reinforce`. Replies lie in the run's durable log like all samples, so that nothing is asked twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stillery.bonds.claims.memory import shorten
from stillery.bonds.claims.reinforcement import CheckRequest, Write
from stillery.bonds.model.labelling import Complete
from stillery.config import EngineConfig
from stillery.engines.asking import ask
from stillery.engines.sources import Source
from stillery.records import AnswerKind, Message, Prompt, Split, digest
from stillery.runs import Run

_ROWS = 1000
_CONTEXT_CHARS = 6000
_INSTRUCTIONS = """\
Below is a reasoning trace up to a step that nothing has checked yet. Write one more step that checks the last one by \
another route: undo it, substitute the result, or count or work it out in another way. Write the computation or the \
state itself, in the trace's own form and language, on one line, and nothing else. Do not go on with the problem."""


def completer(
    *, source: Source, engine: EngineConfig, sampling: Mapping[str, Any], run: Run, label: str = "labels"
) -> Complete:
    """A function from conversations to the model's reply to each, "" where the model failed on one. Needs a running
    Ray. `sampling` holds what shapes a sample, and `seed`."""

    def complete(conversations: Sequence[Sequence[Message]]) -> list[str]:
        ids = [digest("request", [asdict(message) for message in messages]) for messages in conversations]
        once = dict(zip(ids, conversations, strict=True))
        prompts = [_prompt(prompt_id, messages) for prompt_id, messages in once.items()]
        asked = ask(
            prompts,
            list(once.values()),
            source=source,
            engine=engine,
            sampling=sampling,
            num_samples=1,
            run=run,
            label=label,
        )
        replies = {row.prompt_id: row.completion for rows in asked.read(rows=_ROWS) for row in rows}
        return [replies.get(prompt_id, "") for prompt_id in ids]

    return complete


def check_writer(complete: Complete) -> Write:
    """A function that has a model write the checks that `reinforce` asks for."""

    def write(requests: Sequence[CheckRequest]) -> list[str]:
        replies = complete([[check_prompt(request)] for request in requests]) if requests else []
        return [reply.rpartition("</think>")[2].strip() for reply in replies]

    return write


def check_prompt(request: CheckRequest) -> Message:
    """The message that asks for a check; of a long trace it shows the end."""
    problem = ["Problem:", request.question, ""] if request.question else []
    trace = request.before[-_CONTEXT_CHARS:]
    step = ["", f"The step to check: {shorten(request.step, 500)}"]
    return Message("user", "\n".join([_INSTRUCTIONS, "", *problem, "Trace:", trace.rstrip(), *step]))


def _prompt(prompt_id: str, messages: Sequence[Message]) -> Prompt:
    """A request as the engines know prompts; it is no problem of any split that is trained or measured on."""
    return Prompt(
        prompt_id=prompt_id,
        task="request",
        question=messages[-1].content,
        answer=None,
        answer_kind=AnswerKind.NONE,
        choices=[],
        source="request",
        split=Split.TRAIN,
        num_steps=None,
        facts=None,
    )
