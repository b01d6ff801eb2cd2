"""The program for LiteRT's own environment: a conversion, or a server that answers requests with a converted bundle.

    PYTHON -I worker.py convert CHECKPOINT OUT RECIPE CONTEXT_LENGTH
    PYTHON -I worker.py serve BUNDLE

`litert_format` and `litert_runtime` start it with another interpreter, so it imports nothing of this package. `serve`
prints {"ready": true}, then reads one JSON request per line and answers it with a line, until its input ends.

LiteRT-LM opens the bundle and gives tokens, prompts and stop tokens. It gives no logits, so LiteRT runs the bundle's
graph: signatures `prefill_N` (N tokens into the cache) and `decode` (one token, and the logits after it).
"""

import json
import os
import sys
import tempfile
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The number of tokens in one call of `prefill`.
_PREFILL_LENGTH = 128
# Added to the score of a masked position.
_MASKED = -1e4


def convert(checkpoint: str, out: str, recipe: str, context_length: int) -> None:
    """Write OUT/model.litertlm. `recipe` is one of ai-edge-quantizer's, or empty for float32."""
    module: Any = import_module("litert_torch.generative.export_hf.export")
    module.export(
        model=checkpoint,
        output_dir=out,
        prefill_lengths=[_PREFILL_LENGTH],
        cache_length=context_length,
        quantization_recipe=recipe,
    )


class ExportedGraph:
    """The bundle's graph, on one thread, with one cache that is read while another is written."""

    def __init__(self, path: str) -> None:
        lite: Any = import_module("ai_edge_litert.compiled_model")
        self._model: Any = lite.CompiledModel.from_file(path)
        inputs = self._model.get_input_tensor_details("decode")
        self._context_length = int(inputs["mask"]["shape"][-1])
        self._vocabulary_size = int(self._model.get_output_tensor_details("decode")["logits"]["shape"][-1])
        self._logits: Any = self._model.create_output_buffer_by_name("decode", "logits")
        self._buffers: dict[str, dict[str, Any]] = {}
        caches = {name: detail["shape"] for name, detail in inputs.items() if name.startswith("kv_cache")}
        self._read, self._written = self._make_cache(caches), self._make_cache(caches)

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """The next-token logits after each token: (len(tokens), vocabulary)."""
        return np.stack([self._decode(token, position) for position, token in enumerate(tokens)])

    def generate(self, tokens: list[int], max_new_tokens: int, end_tokens: frozenset[int]) -> list[int]:
        """Decode greedily; ends after an end token, or where the context is full."""
        new: list[int] = []
        limit = min(max_new_tokens, self._context_length - len(tokens))
        if limit <= 0:
            return new
        self._prefill(tokens[:-1])
        logits = self._decode(tokens[-1], len(tokens) - 1)
        while True:
            new.append(int(logits.argmax()))
            if len(new) >= limit or new[-1] in end_tokens:
                return new
            logits = self._decode(new[-1], len(tokens) + len(new) - 1)

    def _prefill(self, tokens: list[int]) -> None:
        """Put tokens into the cache. Padding of a call is masked, and later overwritten by the tokens at its
        positions."""
        start = 0
        while start < len(tokens) and start + _PREFILL_LENGTH <= self._context_length:
            part = tokens[start : start + _PREFILL_LENGTH]
            self._run(f"prefill_{_PREFILL_LENGTH}", part + [0] * (_PREFILL_LENGTH - len(part)), start)
            start += _PREFILL_LENGTH
        for position in range(start, len(tokens)):
            self._decode(tokens[position], position)

    def _decode(self, token: int, position: int) -> NDArray[np.float32]:
        self._run("decode", [token], position, logits=self._logits)
        return self._logits.read(self._vocabulary_size, np.float32)

    def _run(self, signature: str, tokens: list[int], start: int, **outputs: Any) -> None:
        positions = np.arange(start, start + len(tokens), dtype=np.int32)
        mask = np.where(np.arange(self._context_length) <= positions[:, None], 0.0, _MASKED).astype(np.float32)
        values = {"tokens": np.asarray([tokens], np.int32), "input_pos": positions, "mask": mask[None, None]}
        inputs = self._inputs(signature)
        for name, value in values.items():
            inputs[name].write(value)
        self._model.run_by_name(signature, inputs | self._read, outputs | self._written)
        self._read, self._written = self._written, self._read

    def _inputs(self, signature: str) -> dict[str, Any]:
        """The buffers of a call's own inputs, made once."""
        if signature not in self._buffers:
            make = self._model.create_input_buffer_by_name
            self._buffers[signature] = {name: make(signature, name) for name in ("tokens", "input_pos", "mask")}
        return self._buffers[signature]

    def _make_cache(self, shapes: dict[str, Any]) -> dict[str, Any]:
        # Zeros: a masked value is still multiplied, and uninitialised memory may hold NaN.
        cache = {name: self._model.create_input_buffer_by_name("decode", name) for name in shapes}
        for name, shape in shapes.items():
            cache[name].write(np.zeros([int(size) for size in shape], np.float32))
        return cache


class Bundle:
    """A .litertlm file. The files that LiteRT-LM and LiteRT write beside an opened one go into a scratch folder."""

    def __init__(self, path: str, scratch: str) -> None:
        lm: Any = import_module("litert_lm")
        self._engine: Any = lm.Engine(path, backend=lm.Backend.CPU(thread_count=1), cache_dir=scratch)
        # Stop sequences of several tokens are the end of a turn with a line break; the end token alone comes first.
        self._end_tokens = frozenset(ids[0] for ids in self._engine.eos_token_ids if len(ids) == 1)
        graph = Path(scratch) / "model.tflite"
        graph.write_bytes(_graph_section(path))
        self._graph = ExportedGraph(str(graph))

    def answer(self, request: dict[str, Any]) -> Any:
        """One request, whose operation is under `do`."""
        kind = request["do"]
        if kind == "logits":
            np.save(request["path"], self._graph.logits(request["tokens"]))
            return True
        if kind == "generate":
            return self._graph.generate(request["tokens"], request["max_new_tokens"], self._end_tokens)
        if kind == "tokenize":
            return self._engine.tokenize(request["text"])
        assert kind == "render", kind
        return self._render(request["question"])

    def _render(self, question: str) -> str:
        """A chat's first prompt. The template omits the start token; the session prepends it."""
        start = self._engine.bos_token_id
        with self._engine.create_conversation() as conversation:
            rendered = conversation.render_message_to_string({"role": "user", "content": question})
        return rendered if start is None else self._engine.detokenize([start]) + rendered


def _graph_section(path: str) -> bytes:
    """The graph inside a bundle, in TFLite's format."""
    peek: Any = import_module("litert_lm_builder.litertlm_peek")
    schema: Any = import_module("litert_lm_builder.litertlm_header_schema_py_generated")
    sections = peek.read_litertlm_header(path, StringIO()).SectionMetadata()
    objects = [sections.Objects(number) for number in range(sections.ObjectsLength())]
    (graph,) = [section for section in objects if section.DataType() == schema.AnySectionDataType.TFLiteModel]
    with Path(path).open("rb") as file:
        file.seek(graph.BeginOffset())
        return file.read(graph.EndOffset() - graph.BeginOffset())


def serve(path: str) -> None:
    """Answer requests until the input ends."""
    # The libraries print on standard output; replies go to a copy of it, and the libraries' output to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="stillery-litert-") as scratch:
        bundle = Bundle(path, scratch)
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(bundle.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "convert":
        checkpoint, out, recipe, context_length = sys.argv[2:6]
        convert(checkpoint, out, recipe, int(context_length))
    else:
        serve(sys.argv[2])
