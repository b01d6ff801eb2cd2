"""GGUF as an edge format: writer, runtime and llama.cpp's commands."""

from collections.abc import Sequence
from pathlib import Path

from stillery.errors import UserError
from stillery.export.checkpoint import open_checkpoint
from stillery.export.formats import Runtime
from stillery.export.formats.gguf.types import MIXTURES, k_quants_available

FILE = "model.gguf"

_EXACT = ("F32", "F16", "BF16", "Q8_0")


class GgufFormat:
    """See `formats.Format`. K-quants are offered where the installed ggml makes them."""

    name = "gguf"
    packages = ("gguf", "xllamacpp")

    @property
    def quantizations(self) -> tuple[str, ...]:
        return tuple(name for name in MIXTURES if "_K" not in name or k_quants_available())

    def write(self, checkpoint: Path, out: Path, *, quantization: str, calibration: Sequence[str]) -> None:
        """Write `model.gguf` and, where Ollama can express the chat template, a `Modelfile`.

        Calibration weights the columns of tensors that are quantized to less than eight bits.
        """
        from stillery.export.formats.gguf.importance import measure_importance
        from stillery.export.formats.gguf.modelfile import write_modelfile
        from stillery.export.formats.gguf.writer import write_gguf

        checked = open_checkpoint(checkpoint)
        used = calibration and quantization not in _EXACT
        importance = measure_importance(checkpoint, calibration) if used else None
        write_gguf(checked, out / FILE, quantization=quantization, importance=importance)
        write_modelfile(checkpoint, out / FILE, end_tokens=checked.end_tokens)

    def load(self, folder: Path) -> Runtime:
        """Load a GGUF file, or a folder's `model.gguf`. Raises UserError for a missing or broken one."""
        from gguf import GGUFReader

        from stillery.export.formats.gguf.runtime import GgufRuntime

        file = folder / FILE if folder.is_dir() else folder
        if not file.is_file():
            raise UserError(f"{folder}: has no {FILE}; export the model again")
        try:
            tokens = GGUFReader(file).get_field("tokenizer.ggml.tokens")
        # Errors of numpy and of the reader itself, for a header that is truncated or of another format.
        except (ValueError, IndexError, KeyError) as error:
            raise UserError(f"{file}: is no whole GGUF file ({error})") from None
        if tokens is None:
            raise UserError(f"{file}: holds no vocabulary (tokenizer.ggml.tokens)")
        return GgufRuntime(file, vocabulary_size=len(tokens.data))

    def how_to_run(self, folder: Path) -> str:
        ollama = _OLLAMA.format(folder=folder) if (folder / "Modelfile").is_file() else ""
        return _HOW_TO_RUN.format(file=folder / FILE, name=FILE) + ollama


_HOW_TO_RUN = """\
llama.cpp, on any machine (`llama-cli` and `llama-server` of its releases):

```
llama-cli -m {file} -p "What is 12 + 30?" --jinja -st --temp 0
llama-server -m {file} --jinja --port 8080
curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{{"messages": [{{"role": "user", "content": "What is 12 + 30?"}}], "temperature": 0}}'
```

Python (`pip install xllamacpp`):

```python
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = "{file}"
server = xllamacpp.Server(params)
question = {{"messages": [{{"role": "user", "content": "What is 12 + 30?"}}], "temperature": 0}}
print(server.handle_chat_completions(question)["choices"][0]["message"]["content"])
```

Android, with the release archive of llama.cpp for Android:

```
adb push {file} llama-cli /data/local/tmp/
adb shell "cd /data/local/tmp && chmod +x llama-cli && ./llama-cli -m {name} -p 'What is 12 + 30?' --jinja -st --temp 0"
```

iOS: open `examples/llama.swiftui` of llama.cpp in Xcode, add `{name}` to the app's documents, choose it in the app.
"""

_OLLAMA = """
Ollama:

```
ollama create student -f {folder}/Modelfile
ollama run student "What is 12 + 30?"
```
"""
