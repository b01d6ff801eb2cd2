"""Announced answers of a text ("the answer is", "**Answer:**", "### Final Answer").

Pure and linear.
"""

import re
from collections.abc import Iterator

_NOTE = r"(?:\s*,?\s*[(\[][^()\[\]\n]{1,80}[)\]])?"
_ASIDE = r"(?:\s+(?:to|for|of|in|as)\s+[^.:\n]{1,80}?|,[^.:,\n]{1,60},)?"
_VERB = (
    r"(?:(?:is|are|was|equals?|becomes|will\s+be|would\s+be|should\s+be|must\s+be|has\s+to\s+be|comes\s+(?:out\s+)?to)\b(?!\s+not\b)"
    r"(?:\s+(?:therefore|thus|hence|then|so|simply|just|indeed|clearly|now|also|equal\s+to|given\s+by|that)\b)?|[:=]|\u2192|\s[–—-]\s(?=[^\s-]))"
)
_ANSWER_IS = re.compile(
    rf"\b(?:answers?|(?:final|correct)\s+(?:result|solution|value|option|choice)){_NOTE}{_ASIDE}{_NOTE}\s*{_VERB}\s*[:,]?\s*",
    re.IGNORECASE,
)
# The same in other languages, including the choice of a letter in Chinese.
_ANSWER_ABROAD = re.compile(
    r"(?:答案|答え|解答|正解)\s*(?:[是为為はが]|[:：=]|应为|應為)+\s*|(?:정답|답)\s*(?:[은는]|[:：])+\s*"
    r"|[故以则此应選选]\s*[选選](?:择|擇|项|項)?\s*[:：]?\s*(?=[(（]?[A-J](?![a-z]))"
    r"|\b(?:respuesta|r[ée]ponse|antwort|resposta|risposta|l[öo]sung|cevap|odpowiedź|đáp án|ответ|antwoord|svar|उत्तर)"
    r"(?:\s+(?:final|finale|correcta|correcte|correta|corretta|bonne))?\s*(?:(?:es|est|ist|lautet|é|è|là|is|är|это|jest)\b|[:：=]|\s[–—-]\s(?=\S))\s*[:：]?\s*"
    r"|(?:الجواب|الإجابة)\s*(?:هو|هي|[:：])\s*",
    re.IGNORECASE,
)
_PARTS_ABROAD = ("ntwort", "espuesta", "ponse", "esposta", "isposta", "ntwoord", "evap", "sung")
_HEADING = re.compile(
    r"^[ \t]*(?:the\s+)?(?:final\s+)?(?:answer|result|solution)[ \t]*[:.]?[ \t]*\n\s*", re.IGNORECASE | re.MULTILINE
)
# The full stop after a choice's letter does not end a sentence.
_SENTENCE_END = re.compile(
    r"\n|(?:[!?;]|(?<!\b[A-J])\.)(?:\s|$)|,?\s\(?(?:because|since|as|which|so|where)\s"
    r"|,\s(?:not|rather than|instead of)\s|[。！？；]|[，,]\s*(?:因为|因為|不是|而|所以|其中|即|共)|입니다|です"
)
_QUOTED = re.compile(
    r"\"([^\"\n]{1,100})\"|'([^'\n]{2,100})'(?!\w)|\u201c([^\u201d\n]{1,100})\u201d|«\s?([^»\n]{1,100}?)\s?»|「([^」\n]{1,100})」"
)
# An announcement may stand in a font of its own: \\text{The answer is }5.
_FONT = re.compile(r"\\(?:text|textbf|textit|mathbf|mathrm|mbox)\s?\{([^{}]{0,200})\}")
MAX_CHARS = 200
# The maximum number of announcements searched, from the last one back.
_MAX_PLACES = 20


def after_hashes(text: str) -> str | None:
    """The content of a last line `#### …`, searched before markdown is stripped, which would take it for a heading."""
    last_line = text.rstrip().rpartition("\n")[2].strip()
    return (last_line.strip("# ") or None) if last_line.startswith("####") else None


def announced(text: str) -> Iterator[str]:
    """The text after each announcement of an answer, from the last to the first."""
    text = _FONT.sub(r"\1", text)
    places = [*_ANSWER_IS.finditer(text), *_HEADING.finditer(text)]
    if not text.isascii() or any(part in text for part in _PARTS_ABROAD):
        places += _ANSWER_ABROAD.finditer(text)
    for place in sorted(places, key=re.Match.end, reverse=True)[:_MAX_PLACES]:
        rest = text[place.end() :].lstrip()[:MAX_CHARS]
        quoted = _QUOTED.match(rest)
        said = next(filter(None, quoted.groups())) if quoted else _SENTENCE_END.split(rest, maxsplit=1)[0]
        if said.strip():
            yield said.strip()
