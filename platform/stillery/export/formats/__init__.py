"""The interface between the export command and the edge formats, and the list of formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from stillery.errors import UserError
from stillery.export.converter import require_packages
from stillery.export.formats.litert import runtime as litert_runtime


class Runtime(Protocol):
    """An artifact loaded in its own runtime, on one thread; or the checkpoint."""

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the next-token logits after each token, teacher forced: shape (len(tokens), vocabulary).

        A runtime that reports only its likeliest tokens gives their log-probabilities, and NaN for the others.
        """
        ...

    def generate(self, tokens: Sequence[int], *, max_new_tokens: int) -> list[int]:
        """Decode greedily and return the new tokens; ends after an end token, which is then the last one."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text: special tokens in it are parsed, nothing is added."""
        ...

    def render(self, question: str) -> str:
        """Return the question as one user turn of the chat template, with the generation prompt."""
        ...

    def close(self) -> None:
        """Free the runtime's resources; it isn't used afterwards."""
        ...


class Format(Protocol):
    """One edge format: writes a checkpoint's artifact and loads it in its users' runtime."""

    name: str
    quantizations: tuple[str, ...]
    """The quantizations of `write`; the first is the unquantized form, which checks the converter."""
    packages: tuple[str, ...]
    """The modules that writing and loading import."""

    def write(self, checkpoint: Path, out: Path, *, quantization: str, calibration: Sequence[str]) -> None:
        """Write the artifact's files into the empty folder `out`; `calibration` holds texts, and may be empty."""
        ...

    def load(self, folder: Path) -> Runtime:
        """Load the output of `write` from a folder."""
        ...

    def how_to_run(self, folder: Path) -> str:
        """Return Markdown with the exact commands that run the artifact on its devices."""
        ...


def _lazily(module: str, name: str) -> Callable[[], Format]:
    """Return a maker of the named class that imports its module, and so the format's packages, on first use."""

    def make() -> Format:
        return cast(Format, getattr(import_module(module), name)())

    return make


FORMATS: dict[str, Callable[[], Format]] = {
    "gguf": _lazily("stillery.export.formats.gguf.format", "GgufFormat"),
    "onnx": _lazily("stillery.export.formats.onnx.format", "OnnxFormat"),
    "executorch": _lazily("stillery.export.formats.executorch.format", "ExecutorchFormat"),
    "litert": _lazily("stillery.export.formats.litert.format", "LitertFormat"),
    "vllm": _lazily("stillery.export.formats.vllm.format", "VllmFormat"),
}


def all_formats() -> list[str]:
    """The formats of `all`: every format for devices, LiteRT only where its own environment is set."""
    names = (name for name in FORMATS if name != "vllm")
    return [name for name in names if name != "litert" or litert_runtime.is_available()]


def format_named(name: str) -> Format:
    """Return the format of a name; a UserError lists the known ones, or names the missing package."""
    if name not in FORMATS:
        raise UserError(f"export format {name!r} isn't known; the formats are {', '.join(FORMATS)}")
    try:
        made = FORMATS[name]()
    except ModuleNotFoundError as error:
        raise UserError(f"export to {name} needs {error.name}; pip install 'stillery[edge]'") from None
    require_packages(*made.packages, for_format=name)
    return made
