"""llama.cpp's server, which closes connections idle for five seconds."""

import time
from pathlib import Path

import pytest

from stillery.export.formats.gguf.format import GgufFormat
from support.export_models import STUDENT

pytest.importorskip("xllamacpp")


def test_a_server_that_was_idle_answers(tmp_path: Path) -> None:
    gguf = GgufFormat()
    gguf.write(STUDENT, tmp_path, quantization=gguf.quantizations[0], calibration=())
    runtime = gguf.load(tmp_path)
    try:
        before = runtime.tokenize("2 + 3 = 5")
        time.sleep(6)
        assert runtime.tokenize("2 + 3 = 5") == before
    finally:
        runtime.close()
