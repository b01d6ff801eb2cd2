"""Text in, mathematical tokens with their positions out: plain text, LaTeX, and words that name an operation.

Linear: one pass of one regular expression without nested repetition.
"""

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

VULGAR = frozenset("½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞")
# A number with more digits than this is not a quantity to compute with.
_MAX_DIGITS = 60


class ClaimToken(NamedTuple):
    """`kind` is num, name, op, open, close, rel, func, word, post, comma, stop or other; `text` is normalised."""

    kind: str
    text: str
    start: int
    end: int
    value: Fraction | None = None
    glued: bool = False


_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|varphi|psi|omega|zeta|eta|kappa|xi|chi"
_PATTERN = re.compile(
    r"[^\S\n]*(?:(?P<space>\s+|</?[a-zA-Z]{2,12}>|\\[,;:! ]|~"
    r"|\\(?:left|right|displaystyle|quad|qquad|big|Big|bigl|bigr|limits)(?![a-zA-Z])|\\\(|\\\)|\\\[|\\\]|\$\$|\*\*(?=[A-Z\s]|$)|&(?=[=<>])|\\(?:text|mathrm|mbox|mathbf|vec|mathit)(?=\s*\{))"
    # Most tokens are plain words, so these come early.
    r"|(?P<plain>(?!sqrt\b|pi\b)(?:[a-zA-Z]{4,}|[a-z]{2,3})(?![\w'’-]))"
    r"|(?P<literal>(?<![\w.])0(?:[xX][0-9a-fA-F]{1,20}|[bB][01]{1,64}|[oO][0-7]{1,20})(?!\w))"
    r"|(?P<vulgar>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])"
    r"|(?P<num>\d++\.\(\d{1,9}\)|(?:\d{1,3}(?:(?:,|\{,\})\d{3})++(?!\d)|\d++)(?:\.\d++)?|\.\d++)"
    r"|(?P<frac>\\[dtc]?frac(?![a-zA-Z]))|(?P<sqrt>\\sqrt(?![a-zA-Z])(?:\s?\[[^\]\n]{0,20}\])?|[√∛∜]|(?<![a-zA-Z])sqrt\b(?=\s*[(\[{])|根号)"
    r"|(?P<box>\\boxed|\\fbox)"
    r"|(?P<rel>≈|\\approx(?![a-zA-Z])|\\simeq|≠|\\neq?(?![a-zA-Z])|!=|≤|≥|<=|>=|\\(?:le|ge|leq|geq|lt|gt)(?![a-zA-Z])"
    r"|=>|⇒|\\Rightarrow|\\implies|→|->|\\to(?![a-zA-Z])|==?|＝|[<>]|≡|\\equiv(?![a-zA-Z])|~=)"
    r"|(?P<op>\*\*|\^|\+|＋|-|−|–|－|\*|×|\\times(?![a-zA-Z])|\\cdot(?![a-zA-Z])|·|⋅|∙|/|÷|\\div(?![a-zA-Z])|／|⁄|±|\\pm(?![a-zA-Z]))"
    r"|(?P<super>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)"
    r"|(?P<pi>π|\\pi(?![a-zA-Z])|(?<![a-zA-Z])pi\b)"
    r"|(?P<post>%|％|\\%|!|°|\^\\circ|\^\{\\circ\})"
    r"|(?P<money>\\?\$|€|£|¥|￥)"
    rf"|(?P<greek>\\(?:{_GREEK})(?![a-zA-Z])(?:_\w|_\{{\w+\}})?|[α-ωΑ-Ω])"
    r"|(?P<command>\\[a-zA-Z]+)"
    r"|(?P<hyphened>[a-zA-Z]+-[a-zA-Z]{3,}|[a-zA-Z]{3,}-[a-zA-Z]+)"
    r"|(?P<word>[a-zA-Z][a-zA-Z'’]*(?:_(?:\w+|\{\w+\}))?\d{0,3}'*|[₀-₉]+)"
    r"|(?P<cjk>[\u4e00-\u9fff])"
    r"|(?P<open>[(\[{（]|\\\{|\\lvert|\\langle)|(?P<close>[)\]}）]|\\\}|\\rvert|\\rangle)|(?P<bar>\|)"
    r"|(?P<comma>[,，、])|(?P<stop>[.;:?。；：？\n])|(?P<other>.))",
    re.DOTALL,
)

_OPERATORS = {
    "**": "^", "＋": "+", "−": "-", "–": "-", "－": "-", "×": "*", r"\times": "*", r"\cdot": "*", "·": "*", "⋅": "*",
    "∙": "*", "÷": "/", r"\div": "/", "／": "/", "⁄": "/", r"\pm": "±",
}  # fmt: skip
_RELATIONS = {
    "＝": "=", "==": "=", r"\approx": "≈", r"\simeq": "≈", "~=": "≈", r"\ne": "≠", r"\neq": "≠", "!=": "≠",
    "<=": "≤", ">=": "≥", r"\le": "≤", r"\leq": "≤", r"\ge": "≥", r"\geq": "≥", r"\lt": "<", r"\gt": ">",
    "=>": "⇒", r"\Rightarrow": "⇒", r"\implies": "⇒", "→": "⇒", "->": "⇒", r"\to": "⇒", r"\equiv": "≡",
}  # fmt: skip
_WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*", "over": "/"}
# "9 times 13", "117 divided by 3": the second word belongs to the operator.
_BEFORE_BY = {"divided": "/", "multiplied": "*"}
_RELATION_WORDS = frozenset("is equals equal makes gives gets leaves becomes are was totals yields".split())
# A single letter that is a word where a word or a number follows it at a distance.
_ARTICLES = frozenset("aAI")
_AFTER_ARTICLES = frozenset(("num", "money", "word", "plain"))
_NOTHING = ClaimToken("stop", "", -1, -1)
_POWER_WORDS = {"squared": "2", "cubed": "3"}
_CJK_OPERATORS = {"加": "+", "减": "-", "乘": "*", "除": "/"}
_CJK_RELATIONS = frozenset("是得为")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_FUNCTIONS = frozenset("sin cos tan log ln exp gcd lcm max min arctan arcsin arccos cot sec csc mod det deg".split())
_SPECIAL_WORDS = frozenset((*_WORD_OPERATORS, *_RELATION_WORDS, *_POWER_WORDS, *_FUNCTIONS))


def tokenize(text: str, *, start: int = 0) -> list[ClaimToken]:
    """The tokens of a text; `start` is added to their positions. White space and typesetting yield none."""
    tokens: list[ClaimToken] = []
    previous = _NOTHING
    for match in _PATTERN.finditer(text):
        kind = match.lastgroup or "other"
        raw = match[kind]
        end = start + match.end()
        begin = end - len(raw)
        if kind == "space":
            if "\n" not in raw:
                continue
            token = ClaimToken("stop", "\n", begin, end)
        else:
            token = _make(kind, raw, begin, end, previous.end == begin)
            if previous.text in _ARTICLES and previous.end != begin and kind in _AFTER_ARTICLES:
                tokens[-1] = previous._replace(kind="word")
            elif token.text in ("by", "By", "BY") and previous.kind == "word":
                operator = _BEFORE_BY.get(previous.text.casefold())
                if operator is not None:
                    token = ClaimToken("op", operator, tokens.pop().start, end)
        tokens.append(token)
        previous = token
    return tokens


def _make(kind: str, raw: str, start: int, end: int, glued: bool) -> ClaimToken:
    if kind == "plain":
        return _make_plain(raw, start, end, glued)
    if kind == "vulgar":
        top, _, bottom = unicodedata.normalize("NFKC", raw).partition("⁄")
        return ClaimToken("num", raw, start, end, Fraction(int(top), int(bottom)), glued)
    if kind == "num" and raw.endswith(")"):
        return ClaimToken("num", raw, start, end, _periodic(raw), glued)
    if kind == "num":
        digits = raw.replace("{,}", "").replace(",", "")
        if len(digits) > _MAX_DIGITS:
            return ClaimToken("other", raw[:1], start, end)
        return ClaimToken("num", digits, start, end, Fraction(digits if digits[0] != "." else "0" + digits), glued)
    if kind == "sqrt":
        return ClaimToken("sqrt", raw.replace(" ", ""), start, end, None, glued)
    if kind == "super":
        return ClaimToken("super", raw.translate(_SUPERSCRIPTS), start, end)
    if kind == "op":
        return ClaimToken("op", _OPERATORS.get(raw, raw), start, end, None, glued)
    if kind == "rel":
        return ClaimToken("rel", _RELATIONS.get(raw, raw), start, end)
    if kind == "pi":
        return ClaimToken("name", "π", start, end, None, glued)
    if kind == "greek":
        return ClaimToken("name", raw.lstrip("\\"), start, end, None, glued)
    if kind == "cjk":
        if raw in _CJK_OPERATORS:
            return ClaimToken("op", _CJK_OPERATORS[raw], start, end)
        return ClaimToken("relword" if raw in _CJK_RELATIONS else "word", raw, start, end)
    if kind == "post":
        return ClaimToken(
            "post", "%" if "%" in raw or raw == "％" else ("!" if raw == "!" else "°"), start, end, None, glued
        )
    if kind == "hyphened":
        return ClaimToken("word", raw, start, end, None, glued)
    if kind == "word":
        return _make_word(raw, start, end, glued)
    if kind in ("open", "close"):
        return ClaimToken(kind, "(" if kind == "open" else ")", start, end, None, glued)
    if kind == "command":
        return ClaimToken("func" if raw[1:] in _FUNCTIONS else "command", raw, start, end, None, glued)
    return ClaimToken(kind, raw, start, end, None, glued)


def _periodic(raw: str) -> Fraction:
    """The value of 0.(6)."""
    whole, _, period = raw.rstrip(")").partition(".(")
    return int(whole) + Fraction(int(period), 10 ** len(period) - 1)


def _make_plain(raw: str, start: int, end: int, glued: bool) -> ClaimToken:
    lower = raw.casefold()
    if lower not in _SPECIAL_WORDS:
        return ClaimToken("word", raw, start, end, None, glued)
    if lower in _WORD_OPERATORS:
        return ClaimToken("op", _WORD_OPERATORS[lower], start, end)
    if lower in _RELATION_WORDS:
        return ClaimToken("relword", lower, start, end)
    if lower in _POWER_WORDS:
        return ClaimToken("super", _POWER_WORDS[lower], start, end)
    if lower in _FUNCTIONS:
        return ClaimToken("func", lower, start, end)
    return ClaimToken("word", raw, start, end, None, glued)


def _make_word(raw: str, start: int, end: int, glued: bool) -> ClaimToken:
    if raw.casefold() in _SPECIAL_WORDS:
        return _make_plain(raw, start, end, glued)
    stem = re.sub(r"_.*|\d+'*$|'+$", "", raw)
    if len(stem) == 1 or (len(stem) <= 3 and stem.isupper() and stem not in ("AM", "PM", "OK", "A", "I")):
        return ClaimToken("name", raw.replace("{", "").replace("}", ""), start, end, None, glued)
    return ClaimToken("word", raw, start, end, None, glued)


def prepare(tokens: Sequence[ClaimToken]) -> list[ClaimToken]:
    """The tokens with the letter x read as a multiplication sign where it stands between two numbers."""
    result = list(tokens)
    for i in range(1, len(result) - 1):
        token, before, after = result[i], result[i - 1], result[i + 1]
        if token.kind == "name" and token.text in ("x", "X") and after.kind in ("num", "money"):
            is_between = before.kind in ("num", "close", "post") or (before.kind == "word" and i > 1)
            if is_between and (not token.glued or after.glued):
                result[i] = token._replace(kind="op", text="*")
    return result
