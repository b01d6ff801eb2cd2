"""How a step is worded: which kinds of word it opens with and holds, of markers as little as of what it is about.

These are signals of the step roles and decide nothing alone. Words are looked up in sets, so that a long list costs no
more than a short one; the few that need a pattern stand at the end.
"""

import re

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_MAX_OPENING = 4

# Words that another opening may stand behind: "so then if".
_LEADS = frozenset("so and then now but also or okay ok yeah yes well oh no right correct".split())
_OPENINGS = {
    "opens_but": "but however although though yet still except",
    "opens_so": "so thus hence therefore consequently",
    "opens_because": "because since as given",
    "opens_next": "now next then first second third similarly finally also",
    "opens_if": "if suppose let say when for assume take consider",
    "opens_no": "no yes yep yeah indeed nope not right correct",
    "opens_that": "that this it which they these those",
    "opens_we": "i we let let's",
}
_WORDINGS = {
    "affirms": "indeed really again confirm confirms sure exactly fact true possible sense",
    "again": "again back already earlier before previously above still",
    "careful": "careful note notice remember recall mind",
    "recalls": "remember recall formula definition defined known rule theorem",
    "modal": "could might may would possible probably likely",
    "example": "example instance like such",
    "recaps": "recap summary summarize summarizing overall total together both",
    "says": "problem question say says said asks asked given stated statement code diagram",
    "past": "was were had did got found saw used made calculated computed considered thought said tried",
    "judges": "sure certain thorough safe mistake mistakes missed missing sense reasonable valid correct right true "
    "consistent",
    "concludes": "answer final conclude conclusion result",
    "is": "is are equal equals",
    "points": "this that these those it",
    "compares": "than smaller larger greater less more fewer smallest largest least greatest most",
    "gives": "gives give get becomes equals yields makes that's which leads",
    "works": "compute calculate evaluate find determine solve simplify figure write express list count consider think",
}
_OPENING_SETS = {name: frozenset(words.split()) for name, words in _OPENINGS.items()}
_WORDING_SETS = {name: frozenset(words.split()) for name, words in _WORDINGS.items()}

WH = re.compile(
    r"^\W*(?:(?:so|then|and|but|now|next|first)\b\W*)*(?:what|which|how|where|when|who|why)\b", re.IGNORECASE
)
TAG = re.compile(r"\b(?:right|okay|ok|correct|yes)\W*$", re.IGNORECASE)
INFERS = re.compile(
    r"\b(?:so|thus|hence|therefore|then|implies|means|because|since|which is|gives?|simplif\w+|becomes)\b"
    r"|⇒|=>|所以|因此|故|则",
    re.IGNORECASE,
)
_PATTERNS = {
    "plans": re.compile(
        r"\b(?:need(?:s|ed)? to|(?:we|i) need|want to|going to|goal|let's|let (?:us|me)|(?:i|we)'ll|(?:we|i) can|"
        r"(?:we|i) have to|(?:we|i) should)\b",
        re.IGNORECASE,
    ),
    "asks_back": re.compile(
        r"\b(?:is|are|does|do|did|could|can|would|should|was|what about|why) "
        r"(?:that|this|it|there|these|those|we|they|i)\b[^.?？]*[?？]",
        re.IGNORECASE,
    ),
    "evaluates": re.compile(
        r"\b(?:match(?:es)?|consistent|agrees?|mistakes?|missed|missing|earlier|already|valid|works|holds|satisf\w+|"
        r"as (?:before|above)|mentioned|given)\b|一致|正确|成立",
        re.IGNORECASE,
    ),
    "meta": re.compile(
        r"\b(?:the (?:problem|question|phrasing|statement)|they (?:want|mean|expect|ask)|interpretation|approach|"
        r"expected)\b|题目",
        re.IGNORECASE,
    ),
    "infers": INFERS,
    "negates": re.compile(
        r"\b(?:not|no|never|cannot|can't|isn't|doesn't|don't|aren't|without)\b|n't\b|不|没", re.IGNORECASE
    ),
}


def wording_signals(text: str) -> dict[str, float]:
    """The wording signals of one step, 0 or 1 each. `text` has its markers blanked."""
    words = _WORD.findall(text.casefold())
    opening: set[str] = set()
    for word in words[:_MAX_OPENING]:
        opening.add(word)
        if word not in _LEADS:
            break
    found = {name: float(not known.isdisjoint(opening)) for name, known in _OPENING_SETS.items()}
    found |= {name: float(not known.isdisjoint(words)) for name, known in _WORDING_SETS.items()}
    return found | {name: float(pattern.search(text) is not None) for name, pattern in _PATTERNS.items()}
