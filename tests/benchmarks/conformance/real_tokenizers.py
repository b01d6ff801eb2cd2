#!/usr/bin/env python3
"""The export of real vocabularies: a runtime's tokens beside those of transformers, over the gate's corpus and more.

    python tests/benchmarks/conformance/real_tokenizers.py FOLDER_OR_SDIST [--only qwen2 llama-3] [--format gguf]

FOLDER_OR_SDIST contains llama.cpp's `ggml-vocab-*.gguf` with their `.inp` and `.out`: a folder (`models/` of a
llama.cpp checkout), or the source distribution of llama-cpp-python, as a file or an https address. For each family the
published tokenizer.json of its model is rebuilt from the vocabulary and first checked against the `.out`, which the
original tokenizer wrote. Then a small random checkpoint gets it, is exported without quantization, and goes through the
gate's comparison; so does the checkpoint as resaved by transformers. Exits with status 1 if anything differs.
"""

import argparse
import json
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.errors import UserError  # noqa: E402
from stillery.export.formats import format_named  # noqa: E402
from stillery.export.parity.corpus import Text, build_corpus  # noqa: E402
from stillery.export.parity.figures import Parity, ask_reference, compare  # noqa: E402
from stillery.export.parity.reference import CheckpointRuntime  # noqa: E402
from stillery.records import Prompt  # noqa: E402
from support.export_models import edit_json, random_checkpoint  # noqa: E402
from support.published_tokenizers import FAMILIES, Family, expectations, rebuild, tokens_of  # noqa: E402

ABSENT = (
    "no ggml-vocab-*.gguf in {0}; give `models/` of a llama.cpp checkout, or the source distribution of "
    "llama-cpp-python: the address of its .tar.gz is under `urls` in https://pypi.org/pypi/llama-cpp-python/json"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a folder, a .tar.gz or its https address")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--format", default="gguf", help="an export format (default gguf)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stillery-trial-") as scratch:
        folder = vocabularies(options.source, Path(scratch))
        heads = ("rows", ".out", "texts", "equal", "decomposed", "templates", "KL")
        print(f"{'tokenizer':>28}" + "".join(f"{head:>11}" for head in heads))
        rows = [row for name in options.only for row in run(name, folder, Path(scratch), options.format)]
        if options.format == "gguf":
            print(f"Llama 2, a SentencePiece model: {sentence_piece(folder, Path(scratch))}")
    return int(not all(rows))


def vocabularies(source: str, scratch: Path) -> Path:
    """The folder of the vocabulary files; ends with what to do where there are none."""
    folder = Path(source)
    if source.startswith("https://"):
        folder = scratch / "sdist.tar.gz"
        urllib.request.urlretrieve(source, folder)
    if folder.is_file():
        with tarfile.open(folder) as archive:
            members = [m for m in archive.getmembers() if "/ggml-vocab-" in m.name and m.isfile()]
            for member in members:
                member.name = Path(member.name).name
            archive.extractall(scratch / "models", members, filter="data")
        folder = scratch / "models"
    if not any(folder.glob("ggml-vocab-*.gguf")):
        sys.exit(ABSENT.format(source))
    return folder


def run(name: str, folder: Path, scratch: Path, format_name: str) -> Iterator[bool]:
    """One family, as published and as transformers saves it again; prints its rows."""
    from transformers import AutoTokenizer

    family = FAMILIES[name]
    published = make_checkpoint(family, folder, scratch / name)
    expected = list(expectations(folder / f"ggml-vocab-{family.vocabulary}.gguf"))
    yield report(name, published, expected, format_name)
    AutoTokenizer.from_pretrained(published).save_pretrained(published)
    yield report(f"{name} saved again", published, expected, format_name)


def report(name: str, checkpoint: Path, expected: Sequence[tuple[str, list[int]]], format_name: str) -> bool:
    """Print a row; whether everything is equal."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    right = sum(tokenizer.encode(text, add_special_tokens=False).ids == tokens for text, tokens in expected)
    try:
        parity = measure(checkpoint, format_name)
    except UserError as error:
        print(f"{name:>28}  refused: {error}", flush=True)
        return False
    size = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    cells = (
        str(size), f"{right}/{len(expected)}", str(parity.num_texts), f"{parity.tokenizer_agreement:.4f}",
        f"{parity.decomposed_agreement:.4f}", f"{parity.template_agreement:.2f}", f"{parity.kl:.1e}",
    )  # fmt: skip
    print(f"{name:>28}" + "".join(f"{cell:>11}" for cell in cells), flush=True)
    for text in parity.differing:
        print(f"{'':>28} differs: {text[:150]}")
    return right == len(expected) and parity.tokenizer_agreement == parity.template_agreement == 1 and parity.kl < 1e-5


def measure(checkpoint: Path, format_name: str) -> Parity:
    """Export to float32 and compare with transformers: the gate's corpus and this repository's own texts."""
    runtime = CheckpointRuntime(checkpoint)
    problem = Prompt("1", "sum", "What is 12 + 7?", "19", "number", [], "test", "test", None, None)
    added = [token["content"] for token in runtime.checkpoint.tokenizer["added_tokens"]]
    texts = [*build_corpus(added), *repository_texts()]
    runtime.check_tokenizer([text.text for text in texts])
    reference = ask_reference(
        runtime, [problem], texts, end_tokens=runtime.checkpoint.end_tokens,
        decode=runtime.decode, max_new_tokens=2, max_positions=4, context=2000,
    )  # fmt: skip
    runtime.close()
    with tempfile.TemporaryDirectory(prefix="stillery-trial-") as out:
        edge_format = format_named(format_name)
        edge_format.write(checkpoint, Path(out), quantization=edge_format.quantizations[0], calibration=[])
        loaded = edge_format.load(Path(out))
        try:
            return compare(loaded, reference)
        finally:
            loaded.close()


def repository_texts() -> Iterator[Text]:
    """Documents and code of this repository, in pieces of 40 lines: prose and programs as people write them."""
    for path in sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("platform/**/*.py"), *ROOT.glob("tests/unit/**/*.py")]):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for start in range(0, len(lines), 40):
            yield Text("repository", "".join(lines[start : start + 40]))


def make_checkpoint(family: Family, folder: Path, out: Path) -> Path:
    """A small random checkpoint with the family's tokenizer and settings, as they are published."""
    tokenizer = rebuild(family, folder / f"ggml-vocab-{family.vocabulary}.gguf")
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    rows = max([*tokenizer["model"]["vocab"].values(), *ids.values()]) + 1
    padded = -(-rows // 64) * 64
    settings = {"vocab_size": padded, "eos_token_id": ids[family.end], "pad_token_id": None, "hidden_size": 32}
    if family.architecture == "qwen2":
        settings["head_dim"] = None
    checkpoint = random_checkpoint(out, family.architecture, tie_word_embeddings=True, **settings)
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    config = {
        "tokenizer_class": family.tokenizer_class, "eos_token": family.end, "bos_token": family.adds_bos,
        "clean_up_tokenization_spaces": False, "model_max_length": 2048,
    }  # fmt: skip
    (out / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (out / "chat_template.jinja").write_text(family.chat_template, encoding="utf-8")
    edit_json(out / "generation_config.json", lambda generation: generation.update(eos_token_id=ids[family.end]))
    return checkpoint


def sentence_piece(folder: Path, scratch: Path) -> str:
    """What the writer says of Llama 2's tokenizer. Ends the trial if it takes it: llama.cpp wants scores for it, which
    tokenizer.json doesn't hold."""
    vocab = {token: number for number, token in enumerate(tokens_of(folder / "ggml-vocab-llama-spm.gguf", "tokens"))}
    checkpoint = random_checkpoint(scratch / "llama-2", "llama", vocab_size=len(vocab), hidden_size=32)
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    model = {"type": "BPE", "byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>", "vocab": vocab, "merges": []}
    tokenizer = {"added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": [space]}, "model": model}
    (checkpoint / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    try:
        format_named("gguf").write(checkpoint, scratch, quantization="F32", calibration=[])
    except UserError as error:
        return str(error)
    sys.exit("the writer took Llama 2's tokenizer")


if __name__ == "__main__":
    sys.exit(main())
