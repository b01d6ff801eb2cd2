"""A runtime that is a table: the next token's logits depend only on the last token. Tokens are characters."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

END = 0
VOCABULARY = "\0 0123456789<>/abcdefghijklmnopqrstuvwxyz+=?"


@dataclass
class TableRuntime:
    """Answers `text` to every question by default; `table` (vocabulary, vocabulary) holds the logits."""

    table: NDArray[np.float32]
    renames: dict[str, str] = field(default_factory=dict[str, str])
    suffix: str = "="
    end: int = END

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        return self.table[list(tokens)]

    def generate(self, tokens: Sequence[int], *, max_new_tokens: int) -> list[int]:
        made: list[int] = []
        last = tokens[-1]
        while len(made) < max_new_tokens and (not made or last != self.end):
            last = int(self.table[last].argmax())
            made.append(last)
        return made

    def generate_batch(self, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> list[list[int]]:
        return [self.generate(prompt, max_new_tokens=max_new_tokens) for prompt in prompts]

    def tokenize(self, text: str) -> list[int]:
        for old, new in self.renames.items():
            text = text.replace(old, new)
        return [max(VOCABULARY.find(character), 1) for character in text.lower()]

    def render(self, question: str) -> str:
        return question + self.suffix

    def close(self) -> None:
        pass


def decode(tokens: Sequence[int]) -> str:
    return "".join(VOCABULARY[token] for token in tokens if token != END)


def table_for(text: str, *, noise: float = 0.0) -> NDArray[np.float32]:
    """Logits that produce `text` (each character once) after "=", then the end."""
    size = len(VOCABULARY)
    table = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    following = ["=", *text, "\0"]
    for now, then in pairwise(following):
        table[VOCABULARY.index(now), VOCABULARY.index(then)] = 12.0
    return table + noise * np.random.default_rng(1).normal(size=(size, size)).astype(np.float32)


@dataclass
class TableFormat:
    """A format whose file is the table; `fault` is raised after half of the files are written."""

    fault: BaseException | None = None
    name: str = "table"
    quantizations: tuple[str, ...] = ("fp32", "int4")

    def write(self, checkpoint: Path, out: Path, *, quantization: str, calibration: Sequence[str]) -> None:
        (out / "table.json").write_text(json.dumps([quantization, str(checkpoint), list(calibration)]))
        if self.fault is not None:
            raise self.fault
        (out / "more.json").write_text("{}")

    def load(self, folder: Path) -> TableRuntime:
        assert (folder / "more.json").is_file()
        return TableRuntime(table_for("42"))

    def how_to_run(self, folder: Path) -> str:
        return f"cat {folder}/table.json"
