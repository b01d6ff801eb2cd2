"""Reads a step's text: what it computes, from which numbers, what it names, doubts or withdraws.

All later decisions use these readings and never the text, so that a step's wording, and the names of its people and
variables, make no difference.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from stillery.bonds.claims.equations import StatedRelation, find_equations, operands_of
from stillery.bonds.claims.expressions import NoExpressionError, parse
from stillery.bonds.claims.states import Replay, State
from stillery.bonds.claims.tokens import ClaimToken, prepare, tokenize
from stillery.bonds.steps.markers import mask
from stillery.bonds.steps.segmentation import Span

# A known value: a number, the key of a polynomial, or a state in words.
Key = Fraction | tuple[object, ...] | str

STOP_WORDS = frozenset(
    "a an the this that these those it its is are was were be been being am do does did has have had i we you he she "
    "they me us him her them my our your his their so then thus hence therefore because since but and or if of to in "
    "on at by for with from as into out up down just also too very here there what which who when where how why not "
    "no yes can will would should could may might must shall let lets get gets got need needs now first next step "
    "okay well right correct sure same other only still even all each some any one both than about over again more "
    "most such own s t re ve ll don doesn isn aren think know see look seems seem means mean going want make makes "
    "use using used given say says said".split()
)
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}(?:'[a-z]+)?|[\u4e00-\u9fff]{2}")
_TENTATIVE = re.compile(
    r"\b(?:what if|suppose|assum(?:e|ing)|could|might|may|imagine|consider|tr(?:y|ying)|another|different(?:ly)?|"
    r"either|instead|other (?:way|method|approach|possibilit)\w*|interpretation|expects?|wonder(?:ing)?|trick|catch)\b"
    r"|假设|如果|可能|另一|换(?:一)?种|考虑",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:if|unless|suppose|assum(?:e|ing)|whether|would|could|might|wrongly|mistakenly|take|let|when|for|say|try)\b"
    r"|设|若|如果|假设|当",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"\b(?:wrong|incorrect|mistakes?|mistaken|error|contradict\w*|impossible|doesn't (?:match|work|hold|fit)|"
    r"does not (?:match|work|hold|fit)|can't be|cannot be|not (?:right|possible|valid|true))\b|错|矛盾|不成立",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"\\boxed|\\fbox|####|\b(?:final )?answer\b[^.\n]{0,40}?(?:\bis\b|\bare\b|:|=)|<answer>|答案(?:是|为|:|：)",
    re.IGNORECASE,
)
_FAILS = re.compile(r"[,;]\s*(?:no|wrong|incorrect|fails?|false|✗|✘|错)\s*[.!。]?\s*$", re.IGNORECASE)
_HAD = re.compile(r"\bhad (\w+)[,;]\s*(?:no|wrong|incorrect|fails?|false)\s*[.!]?\s*$", re.IGNORECASE)
_VALUE = r"[-−]?\$?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?|[^\W\d_]+"
# "54, had 54": the value that a step finds, beside the one it expected.
_COMPARED = re.compile(
    rf"(?<![\w.])(?P<found>{_VALUE})\s*[,;]\s*(?:but\s+|and\s+)?(?:(?:I|we)\s+)?(?:had|expected|wanted)\s+(?P<had>{_VALUE})"
    r"(?![\w/]|\.\d)"
)
_MAY_COMPARE = re.compile(r"[,;][^,;\d]{0,12}\b(?:had|expected|wanted) ")
_MAY_REFUTE = re.compile(r"n[o']t|≠|\\ne|!=|instead|rather|had ", re.IGNORECASE)
_YES_NO = re.compile(r"(?:<answer>|\banswer(?: is|:))\s*(?:yes|no|true|false|是|否)\b", re.IGNORECASE)
_NAME = r"[a-zA-Z](?:_\w{1,8}|_\{\w{1,8}\})?"
_APPLIED = re.compile(rf"(?<![a-zA-Z\\])({_NAME})\(")
_BARE_BEFORE = re.compile(rf"(?<![a-zA-Z\\])({_NAME})\s*[-+*/^=](?!=)")
_BARE_AFTER = re.compile(rf"(?:[-+*/^=]\s*|\d)({_NAME})(?![a-zA-Z(])")
_NO_BRACES = str.maketrans("", "", "{}")
# A step that matches none of these computes and compares nothing.
_SIGNS = re.compile(r"[\d=+*/^≈≠<>≤≥√π∞%$×÷·\\½⅓¼¾²³零一二三四五六七八九十百千万两半-]")
_NUMBER_WORDS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve hundred thousand million dozen dozens half "
    "third quarter twice thrice double triple plus minus times equal equals".split()
)
# Words of which the pattern needs one in ASCII text: looking words up is much quicker than searching.
_TENTATIVE_CUES = frozenset(
    "what suppose assume assuming could might may imagine consider try trying another different differently either "
    "instead other interpretation expect expects wonder wondering trick catch".split()
)
_CONDITION_CUES = frozenset(
    "if unless suppose assume assuming whether would could might wrongly mistakenly take let when for say try".split()
)
_WRONG_CUES = frozenset(
    "wrong incorrect mistake mistakes mistaken error impossible doesn does can cannot not contradict contradicts "
    "contradicted contradicting contradiction contradictions contradictory".split()
)
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_QUESTION_END = re.compile(r"[?？](?:[\"'”’)\]*]|\s)*$")
_TRIVIAL = frozenset((Fraction(0), Fraction(1), Fraction(2), Fraction(-1)))


@dataclass(slots=True)
class Step:
    """One atom as it is read. Values are numbers that it names; results are those that it computes; `compared` are
    pairs of a found and an expected value, as they are written."""

    index: int
    start: int
    end: int
    text: str
    equations: list[StatedRelation]
    states: list[State]
    words: frozenset[str]
    values: frozenset[Fraction]
    results: dict[Key, StatedRelation]
    assigned: dict[str, Key]
    names: frozenset[str]
    sides: frozenset[Key]
    refuted: list[Key]
    compared: list[tuple[str, str]]
    fails: bool
    is_question: bool
    is_tentative: bool
    is_conditional: bool
    says_wrong: bool
    is_answer: bool
    is_yes_no: bool
    tokens: list[ClaimToken] = field(repr=False, default_factory=list[ClaimToken])

    def operands(self) -> set[Fraction]:
        """The numbers that its computations start from."""
        return {operand for equation in self.equations for operand in operands_of(equation)}

    def rejects(self) -> bool:
        """Whether it denies an earlier statement."""
        return self.fails or bool(self.refuted)

    def works_out(self) -> bool:
        """Whether it contains a computation of its own."""
        return any(equation.computes for equation in self.equations)


def specificity(key: Key) -> float:
    """How significant it is that two steps share a value: nearly nothing for 1 and 2, all for 117 or 14/3."""
    if not isinstance(key, Fraction):
        return 1.0
    if key in _TRIVIAL:
        return 0.2
    return 0.6 if key.denominator == 1 and abs(key) < 10 else 1.0


def read_steps(text: str, spans: Sequence[Span], *, question: str = "") -> list[Step]:
    """The steps of a trace, markers blanked, with the states replayed from the first to the last."""
    replay = Replay()
    functions = find_functions(text)
    return [_read(i, text, span, functions, replay, question) for i, span in enumerate(spans)]


def find_functions(text: str) -> frozenset[str]:
    """The letters that a text only ever applies, as f in f(2), and never adds or multiplies."""
    applied = {m[1].translate(_NO_BRACES) for m in _APPLIED.finditer(text)}
    bare = {m[1].translate(_NO_BRACES) for pattern in (_BARE_BEFORE, _BARE_AFTER) for m in pattern.finditer(text)}
    return frozenset(applied - bare)


def _read(index: int, text: str, span: Span, functions: frozenset[str], replay: Replay, question: str) -> Step:
    body = mask(text[span.start : span.end])
    said = [word.casefold() for word in _WORD.findall(body)]
    cues = {*said, *(word.partition("'")[0] for word in said if "'" in word)}
    is_wide = not body.isascii()

    def matches(pattern: re.Pattern[str], needed: frozenset[str]) -> bool:
        return (is_wide or not needed.isdisjoint(cues)) and pattern.search(body) is not None

    is_read = span.kind != "code" and _LETTER_OR_DIGIT.search(body) is not None
    tokens = prepare(tokenize(body, start=span.start)) if is_read and _has_maths(body, cues) else []
    equations = find_equations(tokens, functions=functions)
    states = replay.read(body.replace("<answer>", "        "), question=question) if is_read else []
    results, assigned, sides = _outcomes(equations)
    assigned |= {state.subject: state.value for state in states}
    _label(tokens, assigned)
    return Step(
        index, span.start, span.end, body, equations, states,
        frozenset(stem(word) for word in said if word not in STOP_WORDS), _values(tokens, equations),
        results, assigned,
        frozenset(t.text for t in tokens if t.kind == "name"), sides, _refuted(tokens, body, states),
        [(m["found"], m["had"]) for m in _COMPARED.finditer(body)] if is_read and _MAY_COMPARE.search(body) else [],
        fails=bool(equations or states) and _FAILS.search(body) is not None,
        is_question=_QUESTION_END.search(body) is not None,
        is_tentative=matches(_TENTATIVE, _TENTATIVE_CUES),
        is_conditional=matches(_CONDITION, _CONDITION_CUES),
        says_wrong=matches(_WRONG, _WRONG_CUES),
        is_answer=_ANSWER.search(body) is not None,
        is_yes_no="answer" in cues and _YES_NO.search(body) is not None,
        tokens=tokens,
    )  # fmt: skip


def _has_maths(body: str, cues: set[str]) -> bool:
    is_number = not _NUMBER_WORDS.isdisjoint(cues) or any(word.endswith(("ty", "teen")) for word in cues)
    return is_number or _SIGNS.search(body) is not None


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    for ending in ("'s", "ing", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def key_of(equation: StatedRelation) -> Key | None:
    """The result of an equation, as a key."""
    value = equation.value
    if value is None:
        return None
    constant = value.rational()
    return constant if constant is not None else value.key()


def _outcomes(equations: Sequence[StatedRelation]) -> tuple[dict[Key, StatedRelation], dict[str, Key], frozenset[Key]]:
    """The results of equations, the values that they assign to names, and their sides with unknowns."""
    results: dict[Key, StatedRelation] = {}
    assigned: dict[str, Key] = {}
    sides: set[Key] = set()
    subject: tuple[str, int] | None = None
    for equation in equations:
        key = key_of(equation)
        if key is None or equation.relation not in ("=", "≈"):
            continue
        if equation.computes:
            results[key] = equation
        continued = subject is not None and equation.left is not None and equation.left.first == subject[1]
        name = equation.subject or (subject[0] if continued and subject is not None else None)
        if name is not None:
            assigned[name] = key
            subject = (name, equation.right.first)
        else:
            subject = None
        for side in (equation.left, equation.right):
            if side is not None and side.value is not None and side.num_operations and side.value.names():
                sides.add(side.value.key())
    return results, assigned, frozenset(sides)


def _label(tokens: Sequence[ClaimToken], assigned: dict[str, Key]) -> None:
    """A line that is just words and a number ("start 7", "total: 12") assigns the number to the words."""
    content = [t for t in tokens if t.kind not in ("stop", "comma", "money")]
    if 2 <= len(content) <= 5 and content[-1].kind == "num" and all(t.kind == "word" for t in content[:-1]):
        value = content[-1].value
        if value is not None:
            assigned.setdefault(" ".join(t.text.casefold() for t in content[:-1]), value)


def _values(tokens: Sequence[ClaimToken], equations: Sequence[StatedRelation]) -> frozenset[Fraction]:
    """The numbers that a step names, and the values of its sides."""
    named = {t.value for t in tokens if t.value is not None}
    for i in range(1, len(tokens)):
        value, is_signed = tokens[i].value, tokens[i - 1].text == "-" and tokens[i].glued
        if value is not None and is_signed and (i < 2 or tokens[i - 2].kind not in ("num", "name", "close", "super")):
            named.discard(value)
            named.add(-value)
    for equation in equations:
        for side in (equation.left, equation.right):
            constant = side.rational() if side is not None else None
            if constant is not None:
                named.add(constant)
    return frozenset(named)


def _refuted(tokens: Sequence[ClaimToken], text: str, states: Sequence[State]) -> list[Key]:
    """The values that a step negates: "not 49", "≠ 3", "instead of 12", "not heads"."""
    if _MAY_REFUTE.search(text) is None:
        return []
    found: list[Key] = []
    for i, token in enumerate(tokens):
        is_not = token.kind == "word" and (token.text.casefold() == "not" or token.text.casefold().endswith("n't"))
        is_instead = token.text == "of" and i and tokens[i - 1].text.casefold() == "instead"
        is_than = token.text == "than" and i and tokens[i - 1].text.casefold() == "rather"
        if (is_not or is_instead or is_than or token.text == "≠") and i + 1 < len(tokens):
            constant = _number_at(tokens, i + 1)
            if constant is not None:
                found.append(constant)
    stated = {state.value.casefold() for state in states}
    endings = [*re.finditer(r"\bnot (\w+)[.,;!]?\s*$", text), *_HAD.finditer(text)]
    words = [m[1].casefold() for m in endings]
    return [*found, *(word for word in words if word not in stated and not word.isdigit())]


def _number_at(tokens: Sequence[ClaimToken], at: int) -> Fraction | None:
    if tokens[at].kind not in ("num", "money", "op", "frac"):
        return None
    try:
        return parse(tokens, at).rational()
    except NoExpressionError:
        return None
