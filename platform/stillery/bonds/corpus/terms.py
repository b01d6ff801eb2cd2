"""Word similarity of two questions: the tf-idf cosine. English, Chinese and Japanese."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence


def words_of(text: str) -> list[str]:
    """Case-folded words, numbers as `#`; Chinese and Japanese, which have no spaces, as pairs of characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words: list[str] = []
    for token in re.findall(r"\d[\d.,]*|[぀-ヿ㐀-鿿]+|[^\W\d_぀-ヿ㐀-鿿]+(?:['’][^\W\d_]+)*", folded):
        if token[0].isdigit():
            words.append("#")
        elif "぀" <= token[0] <= "鿿":
            words += [token[i : i + 2] for i in range(max(len(token) - 1, 1))]
        else:
            words.append(token)
    return words


def terms_of(question: str) -> Counter[str]:
    """Term counts of a text."""
    return Counter(words_of(question))


def similarities(asked: Counter[str], questions: Sequence[Counter[str]]) -> list[float]:
    """The tf-idf cosine of each question to the given one."""
    documents = Counter(term for terms in questions for term in terms)
    idf = {term: math.log((1 + len(questions)) / (1 + documents[term])) for term in {*documents, *asked}}
    return [_cosine(asked, terms, idf) for terms in questions]


def _cosine(left: Counter[str], right: Counter[str], idf: Mapping[str, float]) -> float:
    dot = sum(left[t] * right[t] * idf[t] ** 2 for t in left.keys() & right.keys())
    norms = [math.sqrt(sum((count * idf[t]) ** 2 for t, count in terms.items())) for terms in (left, right)]
    return dot / (norms[0] * norms[1]) if norms[0] and norms[1] else 0.0
