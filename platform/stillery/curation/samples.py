"""From a kept generation to the student's training row."""

from collections.abc import Sequence

from stillery.records import Generation, Message, Prompt, Sample
from stillery.thinking import CLOSE_THINK, OPEN_THINK, opens_thinking, split_thinking


def to_sample(generation: Generation, prompt: Prompt, *, weights: Sequence[Sequence[float]] = ()) -> Sample:
    """The training row: the student sees the bare question, whatever instruction the teacher got.

    `weights` are weighted spans of the generation's completion.
    """
    whole = whole_completion(generation)
    # The completion may have been extended at the front; where it was rewritten, spans are no longer valid.
    offset = whole.find(generation.completion.lstrip("\n"))
    offset -= len(generation.completion) - len(generation.completion.lstrip("\n"))
    return Sample(
        sample_id=generation.sample_id,
        prompt_id=generation.prompt_id,
        task=prompt.task,
        split=prompt.split,
        prompt=[Message("user", prompt.question)],
        completion=[Message("assistant", whole)],
        weights=[[start + offset, end + offset, weight] for start, end, weight in weights if offset >= 0],
        part="reasoning" if prompt.answer is not None else "general",
        teacher=generation.model,
    )


def whole_completion(generation: Generation) -> str:
    """The completion in the template's form: its thinking first, between <think> and </think>.

    The opening tag may have been written by the teacher's chat template, or by a server that does not return its
    prompt; the student's template may differ, and a trace without its beginning must not be trained on. Other models'
    markers are treated alike. A text that is not one block of thinking followed by more text is unchanged.
    """
    completion = generation.completion
    split = split_thinking(completion, prefilled=opens_thinking(generation.rendered))
    if not (split.hidden and split.is_paired and split.is_first):
        return completion
    if not split.is_own:
        thinking = split.hidden[0].strip("\n")
        return f"{OPEN_THINK}\n{thinking}\n{CLOSE_THINK}\n{split.visible.lstrip()}"
    if completion.lstrip().startswith(OPEN_THINK):
        return completion
    opening = generation.rendered.rfind(OPEN_THINK)
    if opening >= 0 and not generation.rendered[opening + len(OPEN_THINK) :].strip():
        return generation.rendered[opening:] + completion
    return f"{OPEN_THINK}\n{completion.lstrip(chr(10))}"
