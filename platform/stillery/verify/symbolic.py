"""Symbolic equality of two cleaned answers without list structure, by Math-Verify.

Only the worker processes run this: it may take forever, exhaust memory or crash the interpreter. Math-Verify's
own time limits (signals, main thread only) are off; the process has a deadline instead.
"""

import re
from functools import lru_cache
from typing import Any

# Things that the parser ignores (negations, dots, triangles), derivatives, integrals, numbers of another base, and the
# ambiguous 1/2x and 2^3^2, which it guesses.
_DROPPED = re.compile(
    r"\\(?:not|l?dots|cdots|triangle|angle|int(?!\s*_))(?![a-zA-Z])|\.\.\.|\\frac\s*\{\s*d[^{}]*\}\s*\{\s*d"
    r"|\^\s*(?:\w|\{[^{}]*\})\s*\^"
    r"|(?<=[\w)}])'|\d\s*_|/\s*(?:\d+|[A-Za-z](?![A-Za-z]))\s*(?:[A-Za-z(]|\\(?:pi|sqrt|frac|sum|int|prod|theta|alpha)(?![a-z]))"
)
_ANGLE = re.compile(r"(\d+(?:\.\d+)?|\\?[A-Za-z]+|\([^()]*\)|\{[^{}]*\})\s*\^\s*\\circ")
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")

# The number of digits to which two expressions must agree that computer algebra cannot simplify to equality.
NUMERIC_PRECISION = 50


def equal(predicted: str, gold: str) -> bool:
    """Whether two expressions are equal. Text that is not mathematics equals nothing but itself.

    Raises MemoryError and RecursionError; such a pair was not compared.
    """
    from math_verify import verify

    first, second = parse(predicted), parse(gold)
    if first is None or second is None:
        return False
    try:
        same = verify(
            second,
            first,
            numeric_precision=NUMERIC_PRECISION,
            allow_set_relation_comp=True,
            timeout_seconds=None,
            raise_on_error=True,
        )
    except ValueError as error:
        if "nan or zoo" not in str(error):
            raise
        # Undefined values, such as 0/0, equal nothing but themselves.
        return bool(first == second)
    return not _differ_in_magnitude(first, second) if same else _is_symbol_in_disguise(first, second)


def _differ_in_magnitude(first: Any, second: Any) -> bool:
    """Whether two numbers that Math-Verify calls equal, by their absolute difference, differ relative to their size."""
    from sympy import Expr, N, simplify

    if not (isinstance(first, Expr) and isinstance(second, Expr)) or first.free_symbols or second.free_symbols:
        return False
    # SymPy's Abs divides by zero on unevaluated sums, such as 2(0 + 0).
    values: list[Any] = [abs(N(side, NUMERIC_PRECISION + 20)) for side in (first - second, first, second)]
    if not all(value.is_Float and value.is_finite for value in values) or values[0] == 0:
        return False
    is_far = values[0] > max(values[1:]) * 10**-NUMERIC_PRECISION
    return bool(is_far) and simplify(first - second) != 0


def _is_symbol_in_disguise(first: Any, second: Any) -> bool:
    """Whether one is a symbol and the other simplifies to it; Math-Verify compares symbols only by name."""
    from sympy import Expr, Symbol, simplify

    if isinstance(first, Symbol) == isinstance(second, Symbol):
        return False
    return isinstance(first, Expr) and isinstance(second, Expr) and simplify(first - second) == 0


@lru_cache(maxsize=512)
def parse(text: str) -> Any | None:
    """The SymPy object of a whole text, with decimals as exact fractions; None if there is none.

    Math-Verify's own extraction takes any part of a text that parses (the 3 of "3 apples and a pear"): here the
    text is all or nothing.
    """
    from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
    from math_verify.grader import should_treat_as_complex
    from sympy import Basic, Float, MatrixBase, Rational

    if _DROPPED.search(text):
        return None
    config = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    )
    try:
        latex = normalize_latex(_latex_of(text), config=config)
        parsed = latex2sympy(
            latex, is_real=not should_treat_as_complex(latex), convert_degrees=False, normalization_config=None
        )
    except (MemoryError, RecursionError):
        raise
    except Exception:  # The parser raises plain Exception, and AttributeError for some unsupported input.
        return None
    if not isinstance(parsed, (Basic, MatrixBase)):
        return None
    floats = parsed.atoms(Float)
    return parsed.xreplace({f: Rational(str(f)) for f in floats}) if floats else parsed


def _latex_of(text: str) -> str:
    """Plain-text mathematics in the LaTeX parser's notation."""
    text = re.sub(r"\\?%", "", text)
    text = re.sub(
        r"(?<![\\A-Za-z])(sqrt|pi|sin|cos|tan|log|ln|infty|theta|alpha|beta|gamma)(?![A-Za-z])", r"\\\1 ", text
    )
    if _TRIGONOMETRY.search(text):
        text = _ANGLE.sub(r"{(\1 \\cdot \\frac{\\pi}{180})}", text)
    text = re.sub(r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = re.sub(r"\^\s*\(([^()]*)\)", r"^{\1}", text)
    text = re.sub(r"\^\s*(-?\d{2,})", r"^{\1}", text)
    text = re.sub(r"(?<=[\d)])\s*\*\s*(?=[\d(A-Za-z\\])", r"\\cdot ", text)
    # Without a sign the parser reads 2(3) and (2)(3) as the mixed number 2 + 3. A number after _ or ^ is an index.
    text = re.sub(r"(?<![\w.^}])(\d+(?:\.\d+)?)\s*\(", r"\1\\cdot (", text)
    text = re.sub(r"\)\s*\(", r")\\cdot (", text)
    return re.sub(r"(?<![\\A-Za-z])infinity(?![A-Za-z])", r"\\infty", text, flags=re.IGNORECASE)
