"""Test texts for tokenizers: many scripts, and common trouble spots.

Built in code from Unicode's ranges and a fixed seed, so it is the same everywhere and needs no download. Byte-level
tokenizers are compared on composed text (NFC), on which all runtimes agree; `decomposed` holds the same letters in
decomposed form, where a runtime without a normalizer differs from a tokenizer that has one.
"""

import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# First and last letter of each script's range, and the text between words.
_SCRIPTS: dict[str, tuple[int, int, str]] = {
    "latin": (0x61, 0x7A, " "),
    "latin accented": (0xC0, 0x24F, " "),
    "vietnamese": (0x1EA0, 0x1EF9, " "),
    "greek": (0x391, 0x3C9, " "),
    "cyrillic": (0x410, 0x44F, " "),
    "armenian": (0x531, 0x556, " "),
    "georgian": (0x10D0, 0x10F0, " "),
    "hebrew": (0x5D0, 0x5EA, " "),
    "arabic": (0x621, 0x64A, " "),
    "devanagari": (0x905, 0x94D, " "),
    "bengali": (0x985, 0x9B9, " "),
    "tamil": (0xB85, 0xBCD, " "),
    "telugu": (0xC05, 0xC4D, " "),
    "thai": (0xE01, 0xE4E, ""),
    "lao": (0xE81, 0xECD, ""),
    "tibetan": (0xF40, 0xF69, "\u0f0b"),
    "burmese": (0x1000, 0x104F, " "),
    "khmer": (0x1780, 0x17D2, ""),
    "ethiopic": (0x1200, 0x135A, "\u1361"),
    "hangul": (0xAC00, 0xD7A3, " "),
    "hiragana": (0x3041, 0x3096, ""),
    "katakana": (0x30A1, 0x30FA, "\u30fb"),
    "han": (0x4E00, 0x9FFF, ""),
    "han extension": (0x20000, 0x2A6DF, ""),
    "mathematical": (0x1D400, 0x1D7FF, " "),
    "operators": (0x2200, 0x22FF, " "),
    "currency": (0x20A0, 0x20BF, " "),
    "box drawing": (0x2500, 0x257F, ""),
    "fullwidth": (0xFF01, 0xFF5E, " "),
}
_EMOJI = (
    "\U0001f600 \U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 "
    "\U0001f1eb\U0001f1ee \u2764\ufe0f \U0001f3f4\u200d\u2620\ufe0f 1\ufe0f\u20e3 \U0001f9d1\U0001f3ff\u200d\U0001f52c"
).split(" ")
_SPACES = (" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u3000", "\u2009", "\u200b", "\ufeff", "\v", "\f")
_SENTENCES = (
    "The quick brown fox doesn't jump; it's SHE'LL we've I'D THEY'RE 'tis o'clock.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Portez ce vieux whisky au juge blond qui fume, n'est-ce pas ?",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío. ¿Qué?",
    "Törkylempijävongahdus, hyvää yötä!",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "نص حكيم له سر قاطع وذو شأن عظيم",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "いろはにほへと ちりぬるを 色は匂へど",
    "키스의 고유조건은 입술끼리 만나야 하고",
    "我能吞下玻璃而不伤身体。今天是2026年11月21日。",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İIıi",
    "Do bạch kim rất quý nên sẽ dùng để lắp vô xương.",
    "def f(x):\n    return {'a': x**2, \"b\": [1, 2.5e-3]}  # note\n\n\n",
    "\\frac{a}{b} = \\sqrt{2} \\cdot \\sum_{i=0}^{n} x_i^2, \\boxed{42}",
    "https://example.org/a/b?c=1&d=%20e#f user@example.org C:\\dir\\file.txt",
    "<think>\n12 + 30 = 42\ncheck: 42 - 30 = 12, yes\n</think>\n<answer>42</answer>",
    '{"key": [null, true, -1.5], "text": "\\u00e9\\n"}',
    "a\u0301 and \u00e1, \u1e9b\u0323, \ufb01 \u2460 \u00bd \u2167",
)


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its category."""

    kind: str
    text: str


def build_corpus(special_tokens: Sequence[str], *, seed: int = 0) -> list[Text]:
    """About 2,900 texts; those with `special_tokens` in them check that every runtime parses them."""
    rng = random.Random(seed)
    texts = [*_of_scripts(rng), *_of_digits(rng), *_of_spaces(rng), *_of_controls(rng), *_of_emoji(rng)]
    texts += [Text("sentence", f"{before}{s}{after}") for s in _SENTENCES for before in _SPACES for after in ("", "\n")]
    texts += _with_special_tokens(special_tokens, rng)
    composed = [Text(t.kind, unicodedata.normalize("NFC", t.text)) for t in texts]
    decomposed = [unicodedata.normalize("NFD", t.text) for t in composed]
    decomposed = [d for d, t in zip(decomposed, composed, strict=True) if d != t.text]
    return composed + [Text("decomposed", text) for text in rng.sample(decomposed, min(200, len(decomposed)))]


def _of_scripts(rng: random.Random) -> Iterator[Text]:
    for script, (first, last, between) in _SCRIPTS.items():
        letters = [chr(c) for c in range(first, last + 1) if unicodedata.category(chr(c)) != "Cn"]
        for _ in range(30):
            words = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(rng.randint(2, 9))]
            mark = rng.choice((".", "!?", ", ", "\u3002", "", " \u2014 ", "\n"))
            yield Text(script, between.join(words) + mark)
        # Pre-tokenizers differ at the border between characters of different kinds.
        for _ in range(10):
            word = "".join(rng.choices(letters, k=3))
            yield Text(f"{script} mixed", f"{word}{rng.randint(0, 9999)}{word.upper()} 'S{word}'s\t{word}")


def _of_digits(rng: random.Random) -> Iterator[Text]:
    for length in range(1, 25):
        digits = "".join(rng.choices("0123456789", k=length))
        forms = (digits, f" {digits}", f"-{digits}.{digits}", f"{int(digits):,}", f"x{digits}y", f"${digits}%")
        yield from (Text("digits", form) for form in forms)
    for first in (0x660, 0x966, 0xFF10, 0x1D7CE, 0x2070, 0x2160, 0x2460):
        characters = (chr(c) for c in range(first, first + 10))
        yield Text("digits", "".join(c for c in characters if unicodedata.category(c) != "Cn"))


def _of_spaces(rng: random.Random) -> Iterator[Text]:
    for _ in range(400):
        runs = ["".join(rng.choices(_SPACES, k=rng.randint(1, 6))) for _ in range(4)]
        words = rng.choices(("word", "7", "\u00e9t\u00e9", "=", "...", "\u6f22", ""), k=5)
        yield Text("spaces", "".join(w + r for w, r in zip(words, [*runs, ""], strict=True)))
    yield from (Text("spaces", character * n) for character in " \n\t" for n in range(1, 40))


def _of_controls(rng: random.Random) -> Iterator[Text]:
    """Every control and format character of the first planes, except the null, which ends a text in C."""
    marks = [chr(c) for c in range(1, 0x3000) if unicodedata.category(chr(c)) in ("Cc", "Cf")]
    yield from (Text("controls", f"a{mark}b {mark} {mark}{mark}1") for mark in marks)
    for _ in range(50):
        yield Text("controls", "".join(rng.choices([*marks, "a", "1", " "], k=12)))
    private = (0xE000, 0xF8FF, 0xFFFD, 0x10FFFD)
    yield from (Text("controls", f"x{chr(c)}y") for c in private)


def _of_emoji(rng: random.Random) -> Iterator[Text]:
    for _ in range(120):
        yield Text("emoji", "".join(rng.choice((e, f" {e}", f"{e}a", f"{e}1")) for e in rng.choices(_EMOJI, k=4)))


def _with_special_tokens(tokens: Sequence[str], rng: random.Random) -> Iterator[Text]:
    around = ("", " ", "\n", "word", "  ", "42")
    for token in tokens[:64]:
        yield from (Text("special", f"{before}{token}{after}") for before in around for after in around[:3])
        yield Text("special", f"{token[:-1]} {token[1:]} {token}{rng.choice(tokens)}{token.upper()}")
