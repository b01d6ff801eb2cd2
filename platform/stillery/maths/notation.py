"""Normalises mathematical notation to one form: LaTeX in ASCII, without typesetting. Pure, and linear.

Unicode signs become LaTeX commands, digits of any script ASCII, `\\dfrac` becomes `\\frac`, `x²` becomes `x^{2}`, `12₅`
`12_{5}`; fonts, sizes, spacing and the delimiters of mathematics are removed.
"""

import re
import unicodedata

# A thin space after a comma: between digits it may group them ("32,\,349"), elsewhere it is white space.
THIN = "\u2009"

_GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", None, "nu",
          "xi", None, "pi", "rho", None, "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega")  # fmt: skip
_SIGNS = {
    "×": r"\times ", "÷": "/", "·": r"\cdot ", "∙": r"\cdot ", "⋅": r"\cdot ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "≡": r"\equiv ", "∧": r"\wedge ", "∨": r"\vee ", "¬": r"\neg ", "→": r"\to ", "±": r"\pm ", "∓": r"\mp ",
    "∪": r"\cup ", "∩": r"\cap ", "∖": r"\setminus ", "∅": r"\emptyset ", "⌀": r"\emptyset ", "∈": r"\in ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℕ": r"\mathbb{N}", "ℂ": r"\mathbb{C}",
    "⟨": r"\langle ", "⟩": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
    "√": r"\sqrt ", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]", "°": r"^\circ", "º": r"^\circ", "˚": r"^\circ",
    "′": "'", "″": "''", "‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "⁄": "/", "∕": "/", "￥": "¥", "∗": "*",
    "，": ",", "、": ",", "。": ".", "∣": "|", "ϕ": r"\phi ", "ϵ": r"\epsilon ", "Π": r"\Pi ", "Δ": r"\Delta ",
    "Ω": r"\Omega ", "Σ": r"\Sigma ",
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63\uff0d", "-"),
    **dict.fromkeys("\u00a0\u2005\u2006\u2007\u2008\u2009\u200a\u202f", r"\,"),
    **{chr(0x3B1 + i): rf"\{name} " for i, name in enumerate(_GREEK) if name},
}  # fmt: skip
_UNICODE = str.maketrans(_SIGNS)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT = re.compile("[₀-₉]+")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# `{,}` and a negative thin space occur between thousands, and nowhere else between digits.
_THOUSANDS = re.compile(r"(?<=\d)\s*(?:\{,\}|,?\s*\\!)\s*(?=\d{3}(?!\d))")
_THIN_COMMA = re.compile(r"(?<=\d),\s*(?:\\[,;: ]|~)+\s*(?=\d{3}(?!\d))")
# `\\\\` ends a row of a matrix and is not spacing.
_SPACING = re.compile(
    r"(?<!\\)\\(?:[,;:> ]|(?:q?quad|enspace|thinspace|displaystyle|textstyle|left|right|limits|[bB]igg?[lrm]?"
    r"|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge)"
    r"(?![a-zA-Z])|[hv]space\*?\s*\{[^{}]*\})|~"
)
_DELIMITER = re.compile(r"(?<!\\)\\[()\[\]]")
# The argument of a font or a colour, including braces in it.
_GROUP = r"\{((?:[^{}]++|\{(?:[^{}]++|\{[^{}]*+\})*+\})*+)\}"
_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|math(?:rm|bf|it|sf|tt|normal)|mbox|operatorname|bf|rm|bold|boldsymbol|bm|pmb"
    rf"|emph|underline|(?:text)?color\s*\{{[^{{}}]*\}})\s*\*?{_GROUP}"
)
_DEGREE = re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])|\\(?:text)?degrees?(?![a-zA-Z])")
_CHOOSE = re.compile(r"\{\s*([^{}\\]{1,40})\\choose(?![a-zA-Z])([^{}\\]{1,40})\}")
_COMMANDS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge",
    "neq": "ne", "varnothing": "emptyset", "dots": "ldots", "cdots": "ldots", "lbrace": "{", "rbrace": "}",
    "lvert": "vert", "rvert": "vert", "varphi": "phi", "land": "wedge", "lor": "vee",
    "lnot": "neg", "rightarrow": "to", "varepsilon": "epsilon", "backslash": "setminus", "div": "div",
}  # fmt: skip
_COMMAND = re.compile(r"\\([a-zA-Z]+)(?![a-zA-Z])")


def normalize(text: str) -> str:
    """The normalised text. A dollar sign stays only where it is a currency sign: escaped, or alone."""
    text = _fold_unicode(text)
    if "\\" in text or "{" in text or "~" in text:
        text = _fold_latex(text)
    text = re.sub(rf"[^\S{THIN}]+", " ", text)
    if "$" in text:
        if text.replace(r"\$", "").count("$") % 2 == 0:
            text = re.sub(r"(?<!\\)\$", "", text)
        text = text.replace(r"\$", "$")
    return text.strip()


def _fold_latex(text: str) -> str:
    text = _THOUSANDS.sub(",", text).replace("{,}", ",").replace("\\!", "")
    text = _DELIMITER.sub(" ", _SPACING.sub(" ", _THIN_COMMA.sub("," + THIN, text)))
    while (plain := _FONT.sub(r" \1", text)) != text:
        text = plain
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    text = _DEGREE.sub(r"^\\circ", text)
    return _COMMAND.sub(lambda m: "\\" + _COMMANDS.get(m[1], m[1]), text)


def _fold_unicode(text: str) -> str:
    if text.isascii():
        return _CONTROL.sub(" ", text)
    text = _SUPERSCRIPT.sub(lambda m: "^{" + m.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _SUBSCRIPT.sub(lambda m: "_{" + m.group().translate(_SUBSCRIPTS) + "}", text)
    text = _VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m.group()), text)
    text = unicodedata.normalize("NFKC", text.translate(_UNICODE)).translate(_UNICODE)
    # Format characters (zero-width, bidirectional controls) and lone surrogates hide or reorder text in comparisons.
    kept = (c for c in text if unicodedata.category(c) not in ("Cf", "Cs"))
    folded = (str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in kept)
    return _CONTROL.sub(" ", "".join(folded))
