"""Length checks: samples too long for training (sft.trl.max_length) or evaluation (evaluate.sampling.max_tokens).

In: the settings, and the lengths of the teacher's samples where there are any. Out: the share that would be lost, and a
UserError where it exceeds the config's limit.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillery.config import Config, SftConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.telemetry.logs import logger

LONG = "longer than sft.trl.max_length"


@dataclass(frozen=True, slots=True)
class Lengths:
    """One sample's prompt and completion, in tokens."""

    prompt: int
    completion: int


def max_length(trl: Mapping[str, Any]) -> int | None:
    """The maximum length, in tokens, of a training row; None if there is none."""
    return trl.get("max_length", 1024)


def check_dropped(config: SftConfig, dropped: Counter[str], *, num_rows: int) -> None:
    """Log how many samples are left out and why. Raises UserError if too many are too long."""
    for reason, count in dropped.most_common():
        logger.info(f"sft: left out {count:,} of {num_rows:,} samples: {reason}")
    limit = max_length(config.trl)
    if num_rows and dropped[LONG] / num_rows > config.max_long_share:
        raise UserError(
            f"sft.trl.max_length={limit}: {dropped[LONG]:,} of {num_rows:,} samples are longer and would be left out; "
            f"raise it, or allow the loss with sft.max_long_share={dropped[LONG] / num_rows:.2g}"
        )


def read_lengths(generations: Folder) -> list[Lengths]:
    """The lengths of finished samples in a folder of generations, without their texts."""
    import pyarrow.parquet as pq

    fs, path = generations.open_fs()
    found: list[Lengths] = []
    for name in generations.names(".parquet"):
        with fs.open(f"{path}/{name}", "rb") as file:
            table = pq.read_table(file, columns=["num_prompt_tokens", "num_tokens", "finish_reason", "error"])
        rows = table.to_pylist()
        found += [
            Lengths(row["num_prompt_tokens"], row["num_tokens"])
            for row in rows
            if row["error"] is None and row["finish_reason"] != "length"
        ]
    return found


def check_limits(config: Config, lengths: Sequence[Lengths] = ()) -> None:
    """Compare the limits of training and evaluation with the lengths of the teacher's samples.

    `lengths` are those of the teacher's finished samples, if there are any; without them all lengths up to its limit
    count as equally likely. Raises UserError if more would be lost than the config allows.
    """
    longest = longest_sample(config)
    trained = ("sft.trl.max_length", max_length(config.sft.trl))
    answers = [
        ("evaluate.sampling.max_tokens", config.evaluate.sampling.get("max_tokens")),
        # A context holds the prompt too, whose length is still unknown.
        ("evaluate.engine.max_model_len", config.evaluate.engine.get("max_model_len")),
    ]
    answered = min(answers, key=lambda limit: math.inf if limit[1] is None else limit[1])
    limits = [
        (*trained, [n.prompt + n.completion for n in lengths], "sft.max_long_share", config.sft.max_long_share),
        (*answered, [n.completion for n in lengths], "evaluate.max_cut_share", config.evaluate.max_cut_share),
    ]
    for key, limit, written, allowed_key, allowed in limits:
        lost = None if limit is None else _lost(limit, written, longest=longest)
        if lost is None:
            continue
        share, told = lost
        verb = "left out of training" if key.startswith("sft.") else "cut off in the evaluation"
        if share > allowed:
            raise UserError(
                f"{key}={limit}: {told} longer, and would be {verb}; raise it, lower teacher.sampling.max_tokens, or "
                f"allow the loss with {allowed_key}={min(1.0, share + 0.01):.2f}"
            )
        if lengths and share:
            logger.info(f"{key}={limit}: {told} longer, and will be {verb}")


def longest_sample(config: Config) -> int | None:
    """The maximum number of tokens in a teacher's sample; None if no setting bounds it."""
    teacher = config.teacher
    if teacher.kind == "recorded":
        return None
    tables = (teacher.sampling, teacher.resample or {})
    found = [table[key] for table in tables for key in ("max_tokens", "max_completion_tokens") if table.get(key)]
    return max(found, default=None)


def _lost(limit: int, lengths: Sequence[int], *, longest: int | None) -> tuple[float, str] | None:
    """The share of samples above a limit, with a description."""
    if lengths:
        above = sum(length > limit for length in lengths)
        return above / len(lengths), f"{above:,} of the {len(lengths):,} samples that the teacher has written are"
    if longest is None or longest <= limit:
        return None
    share = 1 - limit / longest
    return share, (
        f"the teacher may write {longest:,} tokens (teacher.sampling), so about {share:.0%} of the samples, were all "
        "lengths as likely, are"
    )
