"""The problems and pairs of a refinement, as prompts for the student, in tokens.

In: the run's prompts and, for preferences, the teacher's samples with their verdicts. Out: data/train.parquet,
data/validation.parquet and data/pairs.parquet within the stage's output, which every worker reads whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby

from stillery.curation.choosing import last_tries
from stillery.curation.samples import to_sample, whole_completion
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, Split, Verdict, VerdictKind, from_table
from stillery.sampling.chat.conversation import Conversation
from stillery.training.problems import StudentProblem, is_gradable, render_problem
from stillery.training.rewards import teacher_lengths

Row = tuple[Generation, Verdict]


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """A right and a wrong completion of one prompt, in tokens, the end of the turn included."""

    prompt_id: str
    chosen_id: str
    rejected_id: str
    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]


def write_problems(
    conversation: Conversation,
    *,
    prompts: Folder,
    data: Folder,
    lengths: Mapping[str, tuple[float, int]],
    verify_function: str | None = None,
    screened: AbstractSet[str] = frozenset(),
) -> dict[str, int]:
    """Write the problems whose answer can be checked, to train and to validate on. Returns their counts by split.

    `verify_function` is the config's verifier, `lengths` are the teacher's, as `lengths_of` gives them; `screened` are
    the problems that curation has excluded. Raises UserError if there are none to train on.
    """
    rows = from_table(prompts.read_all(Prompt), Prompt)
    counts: dict[str, int] = {}
    for split in (Split.TRAIN, Split.VALIDATION):
        wanted = [row for row in rows if row.split == split and is_gradable(row) and row.prompt_id not in screened]
        problems = [
            render_problem(
                conversation, row, teacher=lengths.get(row.prompt_id, (None, 0)), verify_function=verify_function
            )
            for row in wanted
        ]
        data.write_rows(f"{split}.parquet", problems, StudentProblem)
        counts[split.value] = len(problems)
    if not counts[Split.TRAIN]:
        raise UserError(
            "refine: no training problem has an answer that rules, tests or verify.function can check, and rewards "
            "ask no judge"
        )
    if not counts[Split.VALIDATION]:
        raise UserError(
            "refine: no validation problem has an answer that rules, tests or verify.function can check, and "
            "checkpoints are chosen by accuracy on those: set prompts.num_validation, prompts.validation or "
            "prompts.validation_fraction"
        )
    return counts


def lengths_of(*, prompts: Folder, generations: Folder, verdicts: Folder) -> dict[str, tuple[float, int]]:
    """The length of the teacher's right answers, in characters and steps, by prompt, from at most two samples of
    each."""
    questions = {p.prompt_id: p.question for p in from_table(prompts.read_all(Prompt), Prompt)}
    samples: dict[str, list[str]] = {}
    for generation, verdict in _rows(generations, verdicts):
        if verdict.verdict == VerdictKind.CORRECT and len(found := samples.setdefault(generation.prompt_id, [])) < 2:
            found.append(whole_completion(generation))
    return teacher_lengths(samples, questions)


def write_pairs(
    conversation: Conversation,
    *,
    prompts: Folder,
    generations: Folder,
    verdicts: Folder,
    data: Folder,
    most: int,
    max_length: int | None,
    screened: AbstractSet[str] = frozenset(),
) -> int:
    """Write the pairs of the training prompts, at most a set number per prompt, without those that curation has
    excluded (`screened`). Returns their number.

    A pair is left out if one of its completions is longer than `max_length` tokens together with its prompt, or
    truncated by the chat template. Raises UserError if none is left.
    """
    trained = (p for p in from_table(prompts.read_all(Prompt), Prompt) if p.split == Split.TRAIN)
    by_id = {p.prompt_id: p for p in trained if p.prompt_id not in screened}
    pairs: list[PreferencePair] = []
    for prompt_id, rows in groupby(_rows(generations, verdicts), key=lambda row: row[0].prompt_id):
        if prompt_id in by_id:
            chosen = choose_pairs(rows, most=most)
            pairs += [pair for right, wrong in chosen if (pair := _pair(conversation, by_id[prompt_id], right, wrong))]
    fitting = [pair for pair in pairs if max_length is None or _length(pair) <= max_length]
    if not fitting:
        raise UserError(
            f"refine: no pair of a right and a wrong sample of one prompt ({len(pairs)} too long): raise "
            "teacher.samples_per_prompt, or unset teacher.accepted_per_prompt, which stops at the first right ones"
        )
    data.write_rows("pairs.parquet", fitting, PreferencePair)
    return len(fitting)


def choose_pairs(rows: Iterable[Row], *, most: int) -> list[tuple[Generation, Generation]]:
    """The pairs (right, wrong) of one prompt's samples: the n-th right one with the n-th wrong one, by sample index.

    A sample that was truncated, could not be read or could not be graded does not count as a wrong answer, and a right
    answer must follow the template.
    """
    samples = last_tries(rows)
    right = [g for g, v in samples if v.verdict == VerdictKind.CORRECT and v.template == "ok"]
    wrong = [g for g, v in samples if v.verdict == VerdictKind.WRONG and v.template == "ok"]
    return list(zip(right, wrong, strict=False))[:most]


def _pair(conversation: Conversation, prompt: Prompt, right: Generation, wrong: Generation) -> PreferencePair | None:
    chosen, rejected = conversation.rows([to_sample(right, prompt), to_sample(wrong, prompt)])
    if chosen.fault or rejected.fault:
        return None
    return PreferencePair(
        prompt_id=prompt.prompt_id,
        chosen_id=right.sample_id,
        rejected_id=wrong.sample_id,
        prompt_ids=chosen.prompt_ids,
        chosen_ids=chosen.completion_ids,
        rejected_ids=rejected.completion_ids,
    )


def _length(pair: PreferencePair) -> int:
    return len(pair.prompt_ids) + max(len(pair.chosen_ids), len(pair.rejected_ids))


def _rows(generations: Folder, verdicts: Folder) -> Iterator[Row]:
    """Generations with their verdicts: both are in the same order, a prompt's together."""
    checked = (row for name in verdicts.names(".parquet") for row in verdicts.read_rows(name, Verdict))
    for name in generations.names(".parquet"):
        for generation in generations.read_rows(name, Generation):
            verdict = next(checked)
            assert verdict.sample_id == generation.sample_id, f"verdicts out of order at {generation.sample_id}"
            yield generation, verdict
