"""From the tokens of a step to the equations and comparisons that it states, each decided where possible.

An equation is one link of a chain: `3*4 = 10 + 2 = 12` holds two. Words count as relations too: "9 times 13 is 117",
"x-coordinate is -6", "Tom has 12 apples".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from stillery.bonds.claims import algebra
from stillery.bonds.claims.expressions import Expression
from stillery.bonds.claims.operands import MATHS, parse_at, parse_back
from stillery.bonds.claims.relations import NO_SUBJECT, decide, is_clean, is_clean_before, settle
from stillery.bonds.claims.tokens import ClaimToken
from stillery.bonds.claims.wording import is_denied, is_negated
from stillery.maths.quotients import Quotient

_MAX_SUBJECT_WORDS = 5
_RELATIONS = frozenset(("=", "≈", "<", ">", "≤", "≥", "≠"))
_POSSESSION = frozenset("has have had holds contains costs cost".split())


@dataclass(frozen=True, slots=True)
class StatedRelation:
    """One asserted relation between two sides; positions are characters of the trace.

    `left` is None where the left side is words, which are then `subject`: the name of what the value belongs to.
    `holds` is None where undecided, `is_whole` False where an expression may extend beyond the parsed part.
    """

    start: int
    end: int
    relation: str
    left: Expression | None
    right: Expression
    subject: str | None
    recipe: str
    holds: bool | None
    is_whole: bool = True

    @property
    def value(self) -> Quotient | None:
        return self.right.value

    def names(self) -> frozenset[str]:
        """The unknowns in it."""
        sides = (self.left, self.right)
        return frozenset(name for s in sides if s is not None and s.value is not None for name in s.value.names())

    @property
    def computes(self) -> bool:
        """Whether it is a computation: an operation on numbers on the left, a simpler number on the right."""
        left, right = self.left, self.right
        if left is None or left.value is None or right.value is None or left.num_operations == 0:
            return False
        if self.relation == "≠":
            return False
        is_simpler = right.num_operations < left.num_operations or right.num_operations == 0
        is_result = right.num_operations == 0 or (right.num_operations == 1 and is_simpler) or right.rational() is None
        return is_result and is_simpler and not left.value.names() and not right.value.names()


def find_equations(tokens: Sequence[ClaimToken], *, functions: frozenset[str] = frozenset()) -> list[StatedRelation]:
    """The equations of one step, in order."""
    found: list[StatedRelation] = []
    done = 0
    previous: Expression | None = None
    for at, token in enumerate(tokens):
        if at < done or not _is_relation(tokens, at):
            continue
        left = previous if previous is not None and previous.end == at else parse_back(tokens, at, done, functions)
        right = parse_at(tokens, at + 1, functions)
        if right is None:
            previous = None
            continue
        relation = token.text if token.kind == "rel" else "="
        is_untrue = relation == "=" and left is not None and is_denied(tokens, left.first, right.end)
        if is_untrue or (relation == "=" and is_negated(tokens, at)):
            relation = "≠"
        if left is not None:
            left, right = settle(tokens, left, right, at, relation)
        equation = _link(tokens, left, right, at, relation)
        if equation is not None:
            # The denial is not part of the claim's text, which must not read as true.
            found.append(replace(equation, holds=None) if is_untrue and equation.holds else equation)
        previous, done = right, max(right.end, at + 1)
        done = _continue(tokens, right, found, functions) or done
    return found


def _is_relation(tokens: Sequence[ClaimToken], at: int) -> bool:
    token = tokens[at]
    if token.kind == "rel":
        return token.text in _RELATIONS
    is_word = token.kind == "relword" or (token.kind == "word" and token.text.casefold() in _POSSESSION)
    if not is_word or at + 1 >= len(tokens):
        return False
    after = tokens[at + 1]
    if after.kind == "name" and after.text in ("a", "A", "I"):
        return False
    return after.kind in MATHS and after.kind not in ("close", "func", "box") and not (
        after.kind == "op" and after.text not in "+-"
    )  # fmt: skip


def _link(
    tokens: Sequence[ClaimToken], left: Expression | None, right: Expression, at: int, relation: str
) -> StatedRelation | None:
    if left is None:
        subject, first = _subject_before(tokens, at)
        if subject is None:
            return None
        if tokens[at].kind == "word":
            subject = f"{subject} {tokens[at].text.casefold()} {_noun_after(tokens, right.end)}".strip()
        return StatedRelation(
            tokens[first].start, tokens[right.end - 1].end, relation, None, right, subject, "", None
        )  # fmt: skip
    if tokens[at].kind in ("word", "relword") and left.num_operations == 0 and not _is_name(tokens, left):
        return None
    holds = decide(tokens, left, right, at, relation)
    recipe = "".join(t.text for t in tokens[left.first : left.end] if t.kind not in ("money", "word"))
    subject = recipe if _is_name(tokens, left) else None
    is_whole = is_clean_before(tokens, left.first) and is_clean(tokens, right.end)
    return StatedRelation(
        tokens[left.first].start, tokens[right.end - 1].end, relation, left, right, subject, recipe, holds, is_whole
    )


def _is_name(tokens: Sequence[ClaimToken], side: Expression) -> bool:
    """Whether a side is a single unknown: a letter, or a function of something."""
    return side.num_operations == 0 and tokens[side.first].kind == "name" and side.value is not None


def _subject_before(tokens: Sequence[ClaimToken], at: int) -> tuple[str | None, int]:
    """The words that name what a value belongs to, and the first token of them."""
    words: list[str] = []
    first = at
    while first > 0 and len(words) < _MAX_SUBJECT_WORDS:
        token = tokens[first - 1]
        if token.kind not in ("word", "name", "num") or token.text.casefold() in NO_SUBJECT:
            break
        first -= 1
        words.insert(0, token.text.casefold())
    while words and words[0] in ("the", "a", "an"):
        words.pop(0)
        first += 1
    return (" ".join(words) or None), first


def _noun_after(tokens: Sequence[ClaimToken], at: int) -> str:
    token = tokens[at] if at < len(tokens) else None
    return token.text.casefold() if token is not None and token.kind == "word" else ""


def _continue(
    tokens: Sequence[ClaimToken], right: Expression, found: list[StatedRelation], functions: frozenset[str]
) -> int | None:
    """A computation that continues from the last result: "3*(-2) is -6, minus 2 is -8". Returns where it ends."""
    at = right.end
    if at < len(tokens) and tokens[at].kind == "comma":
        at += 1
    if right.num_operations and _restated_at(tokens, at):
        return _simplify(tokens, right, at, found, functions)
    if at < len(tokens) and tokens[at].text in ("then", "and"):
        at += 1
    value = right.rational()
    if value is None or at == right.end or at + 3 >= len(tokens) or tokens[at].kind != "op":
        return None
    if tokens[at].end - tokens[at].start < 4:
        return None
    number = ClaimToken("num", str(value), tokens[at].start, tokens[at].start, value)
    stop = next((i for i in range(at, min(at + 12, len(tokens))) if tokens[i].kind in ("rel", "relword")), None)
    if stop is None or tokens[stop].text not in ("=", "is", "gives", "equals", "makes"):
        return None
    side = [number, *tokens[at:stop]]
    left, result = parse_at(side, 0, functions), parse_at(tokens, stop + 1, functions)
    if left is None or result is None or left.end != len(side) or result.value is None or left.value is None:
        return None
    holds = True if algebra.equal(left.value, result.value) else None
    if holds is None and left.num_operations == 1 and result.num_operations == 0 and is_clean(tokens, result.end):
        holds = False
    recipe = "".join(t.text for t in side)
    found.append(
        StatedRelation(tokens[at].start, tokens[result.end - 1].end, "=", left, result, None, recipe, holds)
    )  # fmt: skip
    return result.end


def _restated_at(tokens: Sequence[ClaimToken], at: int) -> bool:
    """Whether the text continues with ", which is", ", so" or the like before a number."""
    words = [t.text.casefold() for t in tokens[at : at + 2]]
    return words[:1] == ["so"] or (
        len(words) == 2 and words[0] in ("which", "that") and tokens[at + 1].kind == "relword"
    )


def _simplify(
    tokens: Sequence[ClaimToken], left: Expression, at: int, found: list[StatedRelation], functions: frozenset[str]
) -> int | None:
    """The result of an expression that is stated in a separate clause: "3 - (-6), which is 9"."""
    at += 1 if tokens[at].text.casefold() == "so" else 2
    while at < len(tokens) and tokens[at].text.casefold() in ("indeed", "also", "just", "simply"):
        at += 1
    right = parse_at(tokens, at, functions) if at < len(tokens) and tokens[at].kind in MATHS else None
    if (
        right is None
        or not is_clean(tokens, right.end)
        or (right.end < len(tokens) and tokens[right.end].kind == "rel")
    ):
        return None
    holds = True if algebra.equal(left.value, right.value) else None
    recipe = "".join(t.text for t in tokens[left.first : left.end])
    found.append(
        StatedRelation(tokens[left.first].start, tokens[right.end - 1].end, "=", left, right, None, recipe, holds)
    )  # fmt: skip
    return right.end


def operands_of(equation: StatedRelation) -> list[Fraction]:
    """The numbers that an equation starts from."""
    side = equation.left if equation.left is not None and equation.left.num_operations else None
    return list(side.operands) if side is not None else []
