"""Words and signs around an expression that change what it says: "floor(", "4 less than", log₂, "is not".

None of them is computed: with one of them, a relation is denied, or the expression beside it is not the whole side.
"""

from collections.abc import Sequence

from stillery.bonds.claims.tokens import ClaimToken

_FUNCTION_WORDS = frozenset(
    "sqrt cbrt floor ceil ceiling abs trunc log lg negative double triple quadruple thrice twice half choose".split()
)
_FUNCTION_NOUNS = frozenset(
    "square cube root roots floor ceiling log logarithm factorial reciprocal inverse negative opposite magnitude "
    "double triple sine cosine tangent".split()
)
_MEANS = frozenset("average mean median half".split())
_COMPARATIVES = frozenset("less more fewer greater larger smaller higher lower".split())
_OPERATIONS = frozenset(
    "add adding added subtract subtracting subtracted take taking taken multiply multiplying multiplied divide "
    "dividing divided remove removing removed deduct deducting deducted".split()
)
_SECOND_OPERANDS = frozenset("from by to into".split())
_PAIRS = frozenset("sum product difference quotient average gcd lcm ratio".split())
_PLURALS = frozenset(("s", "es", "ies"))
_NEGATIONS = frozenset("not never cannot neither nor hardly fails differs".split())
_BETWEEN = frozenset("equal exactly quite simply actually even just be to".split())
_UNTRUE = frozenset("false wrong incorrect untrue impossible".split())
_TRUE = frozenset("true correct right case possible".split())
# How a statement that is called true or false may begin: "it is false that 3 + 4 = 8".
_SAYING = [ending for v in ("say", "write", "claim") for ending in (["to", v, "that"], ["to", v])] + [["that"]]
# Signs of functions and operations that are not read.
_SIGNS = frozenset("⌊⌋⌈⌉∑∏∫∂∇∘⊕⊗∧∨∩∪¬‰")
_REACH = 6


def changes_before(tokens: Sequence[ClaimToken], first: int) -> bool:
    """Whether the text before an expression makes it a part of something else: the argument of a function, or an
    index."""
    before, two_before = tokens[first - 1], tokens[first - 2] if first > 1 else None
    if tokens[first].kind == "open" and tokens[first].glued and _is_applied(before, two_before):
        return True
    if before.text == "_" and tokens[first].glued:
        return two_before is not None and before.glued and two_before.kind not in ("stop", "comma", "other")
    if before.kind == "bar" and tokens[first].kind == "op":
        return tokens[first].glued or not (first + 1 < len(tokens) and tokens[first + 1].glued)
    if before.text in _SIGNS:
        return True
    words = [token.text.casefold() for token in tokens[max(0, first - 3) : first]]
    if words[-1] == "of":
        return words[-2:-1] != [] and (words[-2] in _FUNCTION_NOUNS or words[-3:-1] == ["absolute", "value"])
    return words[-1] in _FUNCTION_WORDS and tokens[first].kind in ("num", "money", "open", "frac", "sqrt")


def _is_applied(before: ClaimToken, two_before: ClaimToken | None) -> bool:
    if before.kind == "word":
        return before.text[0].isascii()
    return before.text in ("'", "’", "′") and two_before is not None and two_before.kind in ("name", "word")


def is_operand(tokens: Sequence[ClaimToken], first: int) -> bool:
    """Whether words may make an expression an operand: "4 less than", "subtract 3 from", "the sum of 3 and"."""
    words = [token.text.casefold() for token in tokens[max(0, first - _REACH) : first]]
    if words[-1:] == ["of"]:
        return words[-2:-1] != [] and words[-2] in _MEANS
    if len(words) < 3:
        return False
    if words[-1] == "and":
        return "of" in words[:-2] and not _PAIRS.isdisjoint(words)
    at = first - 2 - (words[-1] == "than")
    while at > first - _REACH and at > 0 and tokens[at].kind == "word":
        at -= 1
    if at < 0 or tokens[at].kind not in ("num", "name"):
        return False
    if words[-1] == "than":
        return words[-2] in _COMPARATIVES
    before_number = [token.text.casefold() for token in tokens[max(0, at - 4) : at]]
    return words[-1] in _SECOND_OPERANDS and not _OPERATIONS.isdisjoint(before_number)


def changes_after(tokens: Sequence[ClaimToken], end: int) -> bool:
    """Whether the text after an expression belongs to it: a function, an index, a bar, "4 more than 11"."""
    token, after = tokens[end], tokens[end + 1] if end + 1 < len(tokens) else None
    if token.text in _SIGNS:
        return True
    if after is None:
        return False
    if token.kind == "word" and after.kind == "open" and after.glued and token.text.isascii():
        return not (end + 2 < len(tokens) and tokens[end + 2].text.casefold() in _PLURALS)
    if token.text == "_" or token.kind == "bar":
        return token.glued and after.glued and after.kind in ("num", "open", "name", "frac", "sqrt")
    if token.text.casefold() in _COMPARATIVES and after.text == "than":
        return end + 2 < len(tokens) and tokens[end + 2].kind in ("num", "name", "open", "money", "frac", "sqrt")
    return False


def is_negated(tokens: Sequence[ClaimToken], at: int) -> bool:
    """Whether the words before a relation deny it: "does not equal", "never =", "is not equal to"."""
    for token in reversed(tokens[max(0, at - 4) : at]):
        word = token.text.casefold().replace("’", "'")
        if token.kind not in ("word", "relword") or word not in _BETWEEN:
            return token.kind == "word" and (word in _NEGATIONS or word.endswith("n't"))
    return False


def is_denied(tokens: Sequence[ClaimToken], first: int, end: int) -> bool:
    """Whether the words around an equation deny it: "it is false that …", "… is not true"."""
    before = [token.text.casefold().replace("’", "'") for token in tokens[max(0, first - 7) : first]]
    says = next((ending for ending in _SAYING if before[-len(ending) :] == ending), None)
    if says is not None:
        words = before[: -len(says)]
        is_not = any(word in _NEGATIONS or word.endswith("n't") for word in words[-3:-1])
        if not _UNTRUE.isdisjoint(words[-1:]) or (is_not and not _TRUE.isdisjoint(words[-1:])):
            return True
    after = [token.text.casefold() for token in tokens[end : end + 3]]
    is_untrue = after[:1] == ["is"] and not _UNTRUE.isdisjoint(after[1:2])
    return is_untrue or (after[:2] == ["is", "not"] and not _TRUE.isdisjoint(after[2:3]))
