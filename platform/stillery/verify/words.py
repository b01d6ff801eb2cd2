"""Words of an answer: whether a text is prose, and whether it says yes or no. Pure."""

import re

from stillery.verify.cleaning import clean_text

_FUNCTIONS = {"sqrt", "sinh", "cosh", "tanh", "asin", "acos", "atan", "arcsin", "arccos", "arctan", "infty", "infinity",
              "floor", "ceil", "theta", "alpha", "beta", "gamma"}  # fmt: skip
# Neither a LaTeX command nor the name of an environment.
_WORD = re.compile(
    r"(?<![\\A-Za-z])(?<!\\begin\{)(?<!\\end\{)[A-Za-z]{4,}|[\u0400-\u052f\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]+"
)
_WHOLE_CLOCK = re.compile(r"\d{1,2}(?::\d\d\s*[ap]\.*\s?m?\.*|\s*[ap]\.?\s?m\.?)", re.IGNORECASE)
# The ways to say that a result does not exist.
_PHRASES = {
    "does not exist": re.compile(
        r"dne|(?:(?:the|this|that) )?(?:limit|it|value|derivative|number|maximum|minimum)? ?(?:does not|doesn't) exist"
    ),
    "undefined": re.compile(r"(?:it is |is )?(?:undefined|not defined)"),
    "infinitely many": re.compile(r"(?:(?:there are |it has )?infinitely many|(?:an )?infinite(?: number of)?)"
                                  r"(?: (?:real )?(?:solutions|values|answers|ways|of them))?"),
}  # fmt: skip

_YES = {"yes", "true", "correct", "yeah", "yep", "y", "right"}
_NO = {"no", "false", "incorrect", "nope", "n", "wrong", "untrue"}
_ABROAD = {
    **dict.fromkeys("是 是的 对 对的 正确 真 はい 正しい 예 네 맞다 sí oui ja sim da да так".split(), True),
    **dict.fromkeys("否 不 不是 不对 不正确 错误 错 假 いいえ 아니요 아니오 non nein não nee нет ні".split(), False),
}
_HEAD = re.compile(r"[^\W\d_]+")
_SAID = re.compile(r"[a-z]+(?:'t)?|[,.;:!?()/\u2014-]+")
_FILLERS = frozenset(
    "so well then thus hence therefore indeed ok okay the answer is it s that this statement claim sentence says be "
    "must definitely clearly certainly".split()
)
_NEGATIONS = {"not", "isn't", "never", "wasn't", "cannot"}
_JOINS = {"and", "or", "but", "wait", "actually", "also", "maybe", "rather", "perhaps"}


def is_prose(text: str) -> bool:
    """Whether a cleaned text contains words (four letters or more that are not a function, or another script): maths
    contains none."""
    return any(word.lower() not in _FUNCTIONS for word in _WORD.findall(text))


def is_clock(text: str) -> bool:
    """Whether a cleaned text is a time of day with a.m. or p.m. and nothing else: words, not mathematics."""
    return _WHOLE_CLOCK.fullmatch(text) is not None


def same_words(predicted: str, gold: str) -> bool:
    """Whether two texts say the same: word for word, or as two ways to say that there is no such value."""
    mine, theirs = clean_text(predicted), clean_text(gold)
    if mine == theirs:
        return True
    return any(phrase.fullmatch(mine) and phrase.fullmatch(theirs) for phrase in _PHRASES.values())


def yes_no_of(text: str) -> bool | None:
    """True for yes, False for no, by the first word that says so; None for neither, and for a text that says both.

    An explanation may follow: in "No, that is not true." and "Yes, there is no remainder." the second such word is not
    a reply. In "yes and no", "no, yes" and "Yes. Wait, no." it is.
    """
    folded = clean_text(text)
    if (head := _HEAD.match(folded)) and (abroad := _ABROAD.get(head.group())) is not None:
        return abroad
    tokens = _SAID.findall(folded)
    first = next((i for i, token in enumerate(tokens) if token[0].isalpha() and token not in _FILLERS), None)
    if first is None:
        return None
    is_negated = tokens[first] in _NEGATIONS or tokens[first].endswith("'t")
    first += is_negated
    if is_negated and (first >= len(tokens) or not tokens[first][0].isalpha()):
        return False
    said = _meaning(tokens, first)
    if said is None or (is_negated and tokens[first] in ("yes", "no")):
        return None
    if any(_meaning(tokens, i) is (not said) and _is_reply(tokens, i) for i in range(first + 1, len(tokens))):
        return None
    return said is not is_negated


def find_replies(text: str) -> list[str]:
    """The words within a text that reply yes or no, in order, as "yes" and "no"."""
    line = text.strip().rpartition("\n")[2].strip(" .!。！")
    if (abroad := _ABROAD.get(line.casefold())) is not None:
        return ["yes" if abroad else "no"]
    tokens = _SAID.findall(text.casefold().replace("\u2019", "'"))
    found: list[str] = []
    for i, token in enumerate(tokens):
        said = _meaning(tokens, i)
        if (
            said is None
            or (token in ("right", "wrong", "correct", "y", "n"))
            or (token == "no" and not _is_reply(tokens, i))
        ):
            continue
        words = [t for t in tokens[max(0, i - 6) : i] if t[0].isalpha()]
        if words and words[-1] not in _NEGATIONS and _doubts(words):
            continue
        negated = i > 0 and tokens[i - 1] in _NEGATIONS
        found.append("yes" if said is not negated else "no")
    return found


def _doubts(words: list[str]) -> bool:
    """Whether the words before a reply take it back: "I do not think it is", "far from", "cannot be"."""
    while words and words[-1] in ("it", "is", "be", "that", "this", "think", "believe"):
        words = words[:-1]
    return bool(words) and (words[-1] in _NEGATIONS or words[-1].endswith("'t") or words[-2:] == ["far", "from"])


def _meaning(tokens: list[str], at: int) -> bool | None:
    if at >= len(tokens):
        return None
    return True if tokens[at] in _YES else False if tokens[at] in _NO else None


def _is_reply(tokens: list[str], at: int) -> bool:
    """Whether a word stands as a reply by itself: between punctuation, conjunctions and the ends of the text."""
    before = tokens[at - 1] if at else ""
    after = tokens[at + 1] if at + 1 < len(tokens) else ""
    starts = not before.isalpha() or before in _JOINS
    ends = not after.isalpha() or after in _JOINS | {"because", "since", "as", "it"}
    return starts and ends
