"""Runs a LiteRT-LM bundle in an environment of its own: a child process that exchanges JSON lines.

LiteRT's packages bring TensorFlow, JAX and their own version of transformers, which conflict with this project's
environment. $STILLERY_LITERT_PYTHON names their interpreter.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillery.errors import UserError

VARIABLE = "STILLERY_LITERT_PYTHON"
WORKER = Path(__file__).with_name("worker.py")
# litert-torch imports TensorFlow without declaring it.
PACKAGES = "litert-torch==0.10.0 litert-lm-api==0.18.1 tensorflow-cpu==2.21.0 torch==2.13.0 --torch-backend cpu"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
_KEPT_CHARACTERS = 2000
_NAMES = ("litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "litert-lm-api")


def litert_python() -> str:
    """The interpreter of LiteRT's environment. Raises UserError, with instructions to make one, where there is none."""
    python = os.environ.get(VARIABLE)
    if not python or not os.access(python, os.X_OK):
        stated = f"{VARIABLE}={python} is no interpreter" if python else f"${VARIABLE} is not set"
        raise UserError(
            f"export to litert needs an environment of its own, and {stated}: `uv venv DIR && uv pip install "
            f"--python DIR/bin/python {PACKAGES}`, then {VARIABLE}=DIR/bin/python"
        )
    return python


def is_available() -> bool:
    """Whether an interpreter is set."""
    return bool(os.environ.get(VARIABLE))


def litert_versions() -> dict[str, str]:
    """The versions of LiteRT's packages in its environment."""
    code = "import json, sys; from importlib.metadata import version as v"
    code += "; print(json.dumps({name: v(name) for name in sys.argv[1:]}))"
    done = subprocess.run([litert_python(), "-I", "-c", code, *_NAMES], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class LitertRuntime:
    """See `formats.Runtime`. Raises UserError if the runtime refuses the bundle."""

    def __init__(self, bundle: Path) -> None:
        self._name = str(bundle)
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [litert_python(), "-I", str(WORKER), "serve", str(bundle.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=os.environ | _ONE_THREAD,
        )
        self._read_answer()

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the next-token logits after each token, fed one by one as in decoding."""
        with tempfile.TemporaryDirectory(prefix="stillery-litert-") as folder:
            path = Path(folder) / "logits.npy"
            self._ask("logits", tokens=list(tokens), path=str(path))
            return np.load(path)

    def generate(self, tokens: Sequence[int], *, max_new_tokens: int) -> list[int]:
        """Decode greedily; ends after one of the bundle's stop tokens."""
        return self._ask("generate", tokens=list(tokens), max_new_tokens=max_new_tokens)

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text; special tokens in it are parsed, nothing is added."""
        return self._ask("tokenize", text=text) if text else []

    def render(self, question: str) -> str:
        """Return the question as one user turn, by LiteRT-LM's template engine."""
        return self._ask("render", question=question)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _ask(self, kind: str, **request: Any) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": kind, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # The process has ended; reading its reply gives the reason.
        return self._read_answer()

    def _read_answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        end = self._errors.read()[-_KEPT_CHARACTERS:].strip()
        raise UserError(f"{self._name}: LiteRT-LM ended with exit code {code}; the end of its output:\n{end}")
