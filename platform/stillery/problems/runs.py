"""The problems of another run, and those among them that its answers failed: the input of a next round.

In: a run by its name, path or URI. Out: Prompt rows, in its order.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stillery.config import PromptsConfig
from stillery.errors import UserError
from stillery.io.run_folder import find_run, manifests_of
from stillery.io.storage import Folder
from stillery.records import FAILURES, Prompt, Split, Verdict, VerdictKind, from_table

_UNCOUNTED = (*FAILURES, VerdictKind.UNCHECKED)


def run_prompts(config: PromptsConfig) -> list[Prompt]:
    """All problems of `config.run`; with `config.failed_below` only the failed ones among the training problems. Raises
    UserError if the run has no such output, or no failed problem."""
    problems, verdicts = _outputs(config)
    prompts = from_table(_folder(config, problems).read_all(Prompt), Prompt)
    if verdicts is None or config.failed_below is None:
        return prompts
    found = _folder(config, verdicts)
    rows = (row for name in found.names(".parquet") for row in found.read_rows(name, Verdict))
    failed = failed_problems(rows, below=config.failed_below)
    kept = [p for p in prompts if p.split != Split.TRAIN or p.prompt_id in failed]
    if not any(p.split == Split.TRAIN for p in kept):
        raise UserError(
            f"prompts.run={config.run}: no training problem was solved in less than {config.failed_below:g} of its "
            "samples; raise prompts.failed_below, or stop here: there is nothing left to learn from these problems"
        )
    return kept


def run_fingerprints(config: PromptsConfig) -> dict[str, str]:
    """The contents of the other run that are read, as fingerprints. Raises UserError as `run_prompts` does."""
    return {
        f"{made['stage']}/{name}": checksum
        for made in _outputs(config)
        if made is not None
        for name, checksum in made["files"].items()
    }


def failed_problems(verdicts: Iterable[Verdict], *, below: float) -> set[str]:
    """The problems with a smaller share of right answers than this. Ungraded answers count in no share, and a problem
    without a graded answer does not count as failed."""
    right: dict[str, list[bool]] = {}
    for verdict in verdicts:
        if verdict.verdict not in _UNCOUNTED:
            right.setdefault(verdict.prompt_id, []).append(verdict.verdict == VerdictKind.CORRECT)
    return {prompt_id for prompt_id, found in right.items() if sum(found) < below * len(found)}


def _outputs(config: PromptsConfig) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The manifests of the run's problems and, with `failed_below`, of the verdicts on its samples: those of
    `config.verified`, else the latest."""
    if config.run is None:
        raise UserError("prompts.source is run, but prompts.run is not set; name a run, or its folder")
    run = find_run(config.run)
    problems = manifests_of(run, "prompts")
    if config.failed_below is None:
        if not problems:
            raise UserError(f"prompts.run={config.run}: its stage prompts has not finished")
        return problems[-1], None
    verdicts = manifests_of(run, "verify")
    if not verdicts:
        raise UserError(
            f"prompts.run={config.run}: its stage verify has not finished, so which problems were failed is not known; "
            "`stillery verify` makes it"
        )
    chosen = verdicts[-1]
    if config.verified is not None:
        found = [made for made in verdicts if made["fingerprint"] == config.verified]
        if not found:
            raise UserError(
                f"prompts.verified={config.verified}: {config.run} has no finished output of verify by that "
                f"fingerprint; there are {', '.join(made['fingerprint'] for made in verdicts)}"
            )
        chosen = found[0]
    asked = chosen["inputs"]["prompts.trained"]["fingerprint"]
    return next(made for made in problems if made["fingerprint"] == asked), chosen


def _folder(config: PromptsConfig, made: Mapping[str, Any]) -> Folder:
    return find_run(str(config.run)) / "stages" / made["stage"] / made["fingerprint"]
