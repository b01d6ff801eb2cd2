"""Checks that a teacher's distributions are usable for a student: both must have the same tokens under the same ids."""

from stillery.errors import UserError
from stillery.sampling.chat.conversation import load_tokenizer


def check_vocabularies(teacher: str, student: str, *, key: str, instead: str) -> None:
    """Raise UserError if two models' vocabularies differ in a token or its id; sizes alone are no criterion. `key` is
    the setting that compares their distributions, `instead` an alternative that does not."""
    theirs, ours = (load_tokenizer(model, key="model").get_vocab() for model in (teacher, student))
    differing = {token for token in theirs.keys() | ours.keys() if theirs.get(token) != ours.get(token)}
    if differing:
        raise UserError(
            f"{key}: the vocabularies of {teacher} and {student} differ in {len(differing)} tokens, such as "
            f"{min(differing)!r}: {instead}"
        )
