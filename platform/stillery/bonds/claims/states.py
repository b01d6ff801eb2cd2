"""A step's claims about non-numeric states: a side of a coin, who holds what, a letter of a word.

The last state is carried from step to step; a step that names an event ("Nina flips", "swap Ann, Bob") and the state
after it is replayed, and so decided. A step that begins like an earlier one is read as a repetition of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

S = TypeVar("S")

_OPPOSITES = (("heads", "tails"), ("on", "off"), ("open", "closed"), ("正面", "反面"))
_MAX_CHARS = 400
_OTHER = {a: b for pair in _OPPOSITES for a, b in (pair, pair[::-1])}
_SIDE = re.compile(
    r"\b(?:heads|tails)\b|(?:(?<=\bis )|(?<=\bnow )|(?<=: ))(?:on|off|open|closed)\b|正面|反面", re.IGNORECASE
)
_MAY_SIDE = re.compile(r"[hH][eE][aA][dD]|[tT][aA][iI][lL]|[:sSwW] (?:[oO][nNfFpP]|[cC][lL])|[正反]")
_TURN = re.compile(r"\b(?:flip|turn|toggle|switch|revers)(?:s|e|es|ed|ped|ping|ing)?\b|翻", re.IGNORECASE)
_NO_TURN = re.compile(r"\b(?:not|n't|never|leaves?|alone|without|same)\b|n't\b|没|不", re.IGNORECASE)
_COUNT = re.compile(r"\b(\d{1,3})\s+(?:flips?|turns?|toggles?|switches)\b", re.IGNORECASE)
_SWAP = re.compile(r"\b(?:swap|trade|exchange|switch)(?:s|es|d|ed|ping|ing)?\b|交换", re.IGNORECASE)
_LIST = re.compile(r"^(?P<head>[^:\n]{0,80}):\s*(?P<body>[^:\n]{1,400})$")
_PAIR = re.compile(
    r"\s*(?:and\s+)?(\w{1,30})\s+(?:(?:has|holds|gets|got|is)\s+)?(?:(?:the|an?)\s+)?(\w{1,30}(?:\s\w{1,30})?)\s*"
)
_HAS = re.compile(r"(\w{1,30})\s+(?:now\s+)?(?P<verb>has|have|had|holds|held)\s+(?:the|an?)?\s*(\w{1,30})\b")
_SPELLED = re.compile(r"(?<!\w)((?:[a-z] ){2,20})(?:ends in |ends with |)([a-z])(?!\w)")
_ENDS = re.compile(
    r"\b(\w{2,30})[\"'”’]? (?P<which>ends|starts|begins) (?:in|with) (?:the letter )?"
    r"[\"'“‘]?(?!a\s)([a-zA-Z])\b[\"'”’]?"
)
_NTH = re.compile(
    r"\b(?P<which>first|second|third|last) letters? (?:of|in) (?:the word )?[\"'“‘]?(\w{2,30})[\"'”’]? is "
    r"[\"'“‘]?(\w)\b",
    re.IGNORECASE,
)
_MAY_SPELL = re.compile(r":|(?:nd|rt|in)s (?:in|with) |letter|[a-z] [a-z] ", re.IGNORECASE)
_POSITIONS = {"first": 0, "starts": 0, "begins": 0, "second": 1, "third": 2, "last": -1, "ends": -1}


def other_side(side: str) -> str | None:
    """The opposite of a two-sided state (heads, tails; on, off), None for any other."""
    return _OTHER.get(side)


@dataclass(frozen=True, slots=True)
class State:
    """A state that a step asserts: `subject` is what is in the state, `value` the state; `start` and `end` are
    positions in the step.

    `counted` marks a value that was found by another route than the step before it (a count instead of an event).
    """

    start: int
    end: int
    subject: str
    value: str
    holds: bool | None
    counted: bool = False


@dataclass(slots=True)
class Replay:
    """The current states of the trace."""

    side: str | None = None
    first_side: str | None = None
    holdings: dict[str, str] = field(default_factory=dict[str, str])
    former: dict[str, str] = field(default_factory=dict[str, str])
    is_redoing: bool = False
    # A side, and the number of flips since the first; None before any flip.
    num_turns: int | None = None
    sides_before: dict[str, tuple[str | None, int | None]] = field(
        default_factory=dict[str, "tuple[str | None, int | None]"]
    )
    holdings_before: dict[str, dict[str, str]] = field(default_factory=dict[str, "dict[str, str]"])

    def read(self, text: str, *, question: str = "") -> list[State]:
        """The states that a step asserts, decided against the earlier ones; they become the current ones."""
        if len(text) > _MAX_CHARS:
            return []
        body = text.strip(" \t\n,:;.")
        return [*self._read_side(text), *self._read_holdings(text, body), *_read_letters(text, body, question)]

    def _before(self, key: str, current: S, known: dict[str, S]) -> S:
        """The state that a step starts from: the current one, except that the first repeated step starts from the same
        state as the first time."""
        is_again = key in known
        before = known[key] if is_again and not self.is_redoing else current
        self.is_redoing = is_again
        known[key] = before
        return before

    def _read_side(self, text: str) -> list[State]:
        if _MAY_SIDE.search(text) is None:
            return []
        sides = [m for m in _SIDE.finditer(text) if not re.search(r"\b(?:not|had)\s*$|不是?$", text[: m.start()])]
        if not sides or text.rstrip().endswith(("?", "？")):
            return []
        last = sides[-1]
        value = last.group().casefold()
        key = " ".join(_SIDE.sub("", text[: last.start()]).casefold().strip(" :,.;\n").split())
        count, turn = _COUNT.search(text), _TURN.search(text)
        holds: bool | None = None
        if count is not None:
            if self.first_side in (value, _OTHER[value]):
                holds = value == (_OTHER[self.first_side] if int(count[1]) % 2 else self.first_side)
                holds = holds and self.num_turns in (None, int(count[1]))
                # Before the first flip there is nothing to count.
                holds = None if holds and self.num_turns is None else holds
            return [State(last.start(), last.end(), "side", value, holds, True)]
        if turn is not None or _NO_TURN.search(text):
            before, num_turns = self._before(key, (self.side, self.num_turns), self.sides_before)
            is_turned = turn is not None and not _NO_TURN.search(text[max(0, turn.start() - 20) : turn.end() + 20])
            self.num_turns = (num_turns or 0) + is_turned
            if before in (value, _OTHER[value]):
                holds = value == (_OTHER[before] if is_turned else before)
        elif self.first_side is None:
            self.first_side = value
        self.side = value
        return [State(last.start(), last.end(), key or "side", value, holds)]

    def _read_holdings(self, text: str, body: str) -> list[State]:
        listed = _LIST.match(body)
        pairs = read_pairs(listed["body"]) if listed is not None else {}
        start = text.find(listed["body"]) if listed is not None else 0
        if len(pairs) >= 2 and listed is not None:
            head = listed["head"].casefold().strip()
            before = self._before(head, dict(self.holdings), self.holdings_before)
            holds = _replay_swap(before, pairs, listed["head"])
            self.former, self.holdings = before, pairs
            return [State(start, start + len(listed["body"]), head, listed["body"].strip(), holds)]
        found: list[State] = []
        for match in _HAS.finditer(text) if self.holdings else ():
            holder, thing = match[1], match[3]
            known = self.former if match["verb"] in ("had", "held") else self.holdings
            if holder not in known and holder not in self.holdings:
                continue
            holds = None
            if match["verb"] in ("had", "held") and holder in self.former:
                holds = self.former[holder].split()[-1] == thing.split()[-1] or None
            found.append(State(match.start(), match.end(), holder, thing, holds, True))
        return found


def read_pairs(body: str) -> dict[str, str]:
    """A mapping of pairs such as "Ann cup, Bob ball"; empty if any part is not a pair."""
    pairs: dict[str, str] = {}
    for part in re.split(r"[,;]", body):
        match = _PAIR.fullmatch(part)
        if match is None or match[1].isdigit() or match[2].isdigit():
            return {}
        pairs[match[1]] = match[2]
    return pairs


def _replay_swap(before: Mapping[str, str], after: Mapping[str, str], head: str) -> bool | None:
    """Whether a swap of the two holders that the head names leads from one state to the other."""
    if not before or set(before) != set(after):
        return None
    named = [name for name in re.findall(r"\w+", head) if name in before]
    if _SWAP.search(head) is None or len(named) != 2:
        return None
    expected = dict(before)
    expected[named[0]], expected[named[1]] = before[named[1]], before[named[0]]
    return expected == dict(after)


def _read_letters(text: str, body: str, question: str) -> list[State]:
    found: list[State] = []
    if _MAY_SPELL.search(text) is None:
        return found
    for match in _ENDS.finditer(text):
        found.append(_letter(match, match[1], match["which"], match[3]))
    for match in _NTH.finditer(text):
        found.append(_letter(match, match[2], match["which"].casefold(), match[3]))
    for match in _SPELLED.finditer(text):
        letters = match[1].split()
        if "ends" in match.group() or letters[-1] == match[2]:
            word = "".join(letters)
            found.append(State(match.start(), match.end(), word, match[2], letters[-1] == match[2], True))
    listed = _LIST.match(body)
    letters = listed["body"].split() if listed is not None else []
    if listed is not None and len(letters) > 1 and all(len(c) == 1 and c.isalpha() for c in letters):
        at = text.rfind(listed["body"].strip())
        end = at + len(listed["body"].strip())
        found.append(State(at, end, listed["head"].casefold().strip(), " ".join(letters), None))
    if listed is not None and len(letters) == 1 and len(letters[0]) == 1 and letters[0].isalpha():
        value, words = listed["body"].strip(), listed["head"].split()
        which = re.search(r"\b(first|second|third|last) letters?\b", question)
        named = [word for word in words if re.search(rf"\b{re.escape(word)}\b", question) and len(word) > 1]
        is_known = which is not None and named and len(named[-1]) > 2
        holds = named[-1][_POSITIONS[which[1]]] == value if is_known and which else None
        at = text.rfind(value)
        found.append(State(at, at + 1, words[-1].casefold() if words else "", value, holds))
    return found


def _letter(match: re.Match[str], word: str, which: str, letter: str) -> State:
    return State(match.start(), match.end(), word.casefold(), letter, word[_POSITIONS[which]] == letter, True)
