"""Language mixing: the first place where a text switches its language. Pure and linear.

Scripts are distinguished by Unicode's Script property (`regex`), languages of one script by a statistical identifier
(`py3langid`, 139 languages), sentence by sentence. Mathematics, code, tags and capitalised words are ignored, and a few
foreign words count as names.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex

# Scripts without spaces: their phrases are counted in letters, those of the others in words.
_UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
_SPACED = ("Latin", "Greek", "Cyrillic", "Armenian", "Georgian", "Hebrew", "Arabic", "Hangul", "Devanagari", "Bengali",
           "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala",
           "Ethiopic")  # fmt: skip
_JAPANESE = frozenset({"Han", "Hiragana", "Katakana"})
PHRASE_LETTERS = 5
PHRASE_WORDS = 3
MAX_NAMES = 3
# A script belongs to the question if it has this share of the letters of its words.
HOME_SHARE = 0.2
MIN_WORD_LETTERS = 3

# Shorter sentences are not identified; longer ones are split. Both bounds on the probability must hold: among 13,000
# sentences of English mathematics only garbled ones pass them.
MIN_SENTENCE_WORDS = 8
MAX_SENTENCE_WORDS = 40
# This many words of two letters, with a space between them.
MIN_SENTENCE_CHARS = 3 * MIN_SENTENCE_WORDS - 1
MIN_PROBABILITY = 0.9
MAX_HOME_PROBABILITY = 0.01
_NO_LANGUAGE = "zxx"

_RUN = regex.compile(
    "|".join(rf"(?P<{name}>[\p{{Script={name}}}&&[\p{{L}}\p{{M}}]]+)" for name in (*_SPACED, *_UNSPACED)),
    regex.VERSION1,
)
# Each alternative ends at the next mark of its own kind, so that a megabyte of opening marks is scanned once.
_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$[^$]*\$\$|\$[^$\n]{1,200}\$"
    r"|\\\((?:[^\\]|\\(?![()]))*+\\\)|\\\[(?:[^\\]|\\(?![\[\]]))*+\\\]"
    r"|\\[a-zA-Z]+|</?(?:think|answer)>|https?://\S+",
    re.DOTALL,
)
_WORD = re.compile(r"(?<![^\W_])[^\W\d_]+(?:['’][^\W\d_]+)*(?![^\W_])")
_SENTENCE = re.compile(r"[^.!?:;\n]+(?:[.!?:;](?!\s)[^.!?:;\n]*)*")
# Together these make up a good part of any English sentence and are rare in the other languages of its script.
_ENGLISH = frozenset("the and that this with which from have then there they we are of to is be by".split())
_ENGLISH_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Foreign:
    """Characters `start` to `end` of a text in another script or language, with its name or ISO code."""

    name: str
    start: int
    end: int


def find_foreign(text: str, *, question: str = "") -> Foreign | None:
    """The first foreign phrase of a text, or None. Its own language is the question's; without a question, or with one
    too short to identify, the language of most of the text."""
    prose = _NOT_PROSE.sub(lambda m: " " * (m.end() - m.start()), text)
    if not (text.isascii() and question.isascii()) and (found := _foreign_script(prose, question)):
        return found
    return _foreign_language(prose, question)


def _foreign_script(prose: str, question: str) -> Foreign | None:
    """A phrase in a foreign script, or the last of more foreign words than a few names would be."""
    home = _home_scripts(_NOT_PROSE.sub(" ", question)) or _home_scripts(prose)
    names: set[str] = set()
    start = end = words = 0
    of = ""
    for run in _RUN.finditer(prose):
        script, word = str(run.lastgroup), run.group()
        if script in home or word in question or (script == "Greek" and len(word) < MIN_WORD_LETTERS):
            continue
        if script in _UNSPACED:
            if len(word) >= PHRASE_LETTERS:
                return Foreign(script, run.start(), run.end())
        elif len(word) > 1:
            follows = script == of and not prose[end : run.start()].strip()
            start, words = (start, words + 1) if follows else (run.start(), 1)
            of, end = script, run.end()
            if words == PHRASE_WORDS:
                return Foreign(script, start, end)
        else:
            continue
        names.add(word)
        if len(names) > MAX_NAMES:
            return Foreign(script, run.start(), run.end())
    return None


def _home_scripts(text: str) -> frozenset[str]:
    """The scripts that hold a good share of the letters of a text's words; a single letter is notation."""
    counts: Counter[str] = Counter()
    for run in _RUN.finditer(text):
        script = str(run.lastgroup)
        if script in _UNSPACED or len(run.group()) >= MIN_WORD_LETTERS:
            counts[script] += len(run.group())
    home = {script for script, count in counts.items() if count >= HOME_SHARE * counts.total()}
    if len(home) > 1 and not home <= _JAPANESE:
        home = {max(home, key=lambda script: counts[script])}
    return frozenset(home | _JAPANESE if home & {"Hiragana", "Katakana"} else home)


def _foreign_language(prose: str, question: str) -> Foreign | None:
    home = _language_of_question(question) or _main_language(prose)
    for start, end, words in _sentences(prose, but_english=home == "en"):
        language = _identify(words)
        if home and language not in (home, _NO_LANGUAGE) and _is_certain(words, language, home):
            return Foreign(language, start, end)
    return None


@lru_cache(maxsize=4096)
def _language_of_question(question: str) -> str | None:
    words = [word for _, _, sentence in _sentences(_NOT_PROSE.sub(" ", question)) for word in sentence]
    if not words:
        return None
    return "en" if _is_english(words) else _identify(words)


def _main_language(prose: str) -> str | None:
    """The language of most sentences, or None where none is long enough to identify."""
    votes = Counter("en" if _is_english(words) else _identify(words) for _, _, words in _sentences(prose))
    return votes.most_common(1)[0][0] if votes else None


def _sentences(prose: str, *, but_english: bool = False) -> Iterator[tuple[int, int, list[str]]]:
    """Start, end and words of each sentence that is long enough. A capitalised word within it counts as a name."""
    for sentence in _SENTENCE.finditer(prose):
        if sentence.end() - sentence.start() < MIN_SENTENCE_CHARS:
            continue
        if but_english and _is_english(sentence.group().lower().split()):
            continue
        matches = list(_WORD.finditer(sentence.group()))
        for i in range(0, len(matches), MAX_SENTENCE_WORDS):
            piece = matches[i : i + MAX_SENTENCE_WORDS]
            words = [m.group().lower() for j, m in enumerate(piece) if i + j == 0 or not m.group()[0].isupper()]
            if sum(len(word) > 1 for word in words) >= MIN_SENTENCE_WORDS and not (but_english and _is_english(words)):
                yield sentence.start() + piece[0].start(), sentence.start() + piece[-1].end(), words


def _is_english(words: list[str]) -> bool:
    """Whether a sentence is certainly English: true of most sentences of most traces, and found without the
    identifier."""
    return len(words) <= MAX_SENTENCE_WORDS and sum(map(_ENGLISH.__contains__, words)) >= _ENGLISH_SHARE * len(words)


def _identify(words: list[str]) -> str:
    return str(_identifier().classify(" ".join(words))[0])


def _is_certain(words: list[str], language: str, home: str) -> bool:
    probability_of = dict(_identifier().rank(" ".join(words)))
    return probability_of[language] >= MIN_PROBABILITY and probability_of.get(home, 0.0) <= MAX_HOME_PROBABILITY


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
