"""The model card of an artifact: its manifest as Markdown with the Hub's front matter."""

from collections.abc import Mapping
from typing import Any

from stillery.io.cards import SEE_TEXT, license_lines

_TITLES = {
    "gguf": "GGUF",
    "onnx": "ONNX Runtime GenAI",
    "executorch": "ExecuTorch",
    "litert": "LiteRT-LM",
    "vllm": "vLLM",
}


def write_card(manifest: Mapping[str, Any], *, name: str) -> str:
    """The card of the artifact called `name`."""
    m, source, speed = manifest, manifest["source"], manifest["speed"]
    origin = f"`{source['model']}`" + (f" (run `{source['run_id']}`)" if source["run_id"] else "")
    lines = [
        *_front_matter(m),
        f"# {name}",
        "",
        f"{_TITLES[m['format']]} with quantization {m['quantization']}, exported from {origin} by Stillery. It was "
        "compared with its checkpoint in its own runtime and passed every check below.",
        "",
        f"- **Size**: {m['size_bytes'] / 1e6:.2f} MB in {len(m['files'])} file(s); checksums in `manifest.json`",
        f"- **Licence**: {m['license']}",
        f"- **Tokenizer**: SHA-256 `{source['tokenizer_sha256']}`",
        f"- **Calibration**: {m['num_calibration_texts'] or 'no'} texts",
        "",
        "## Compared with the checkpoint",
        "",
        *_parity_rows(m["parity"]),
        "",
        "| check | measured | limit | of what |",
        "|---|---|---|---|",
        *(f"| {c['name']} | {c['measured']:.4g} | {c['limit']:.4g} | {c['detail']} |" for c in m["checks"]),
        "",
        "## Speed",
        "",
        f"One thread of {m['machine']['processor']}: prompt {speed['prompt_tokens_per_second']:.0f} tokens/s, decoding "
        f"{speed['decode_tokens_per_second']:.0f} tokens/s, loaded in {speed['load_s']:.1f} s, "
        f"{speed['memory_mib']:.0f} MiB above the process without it.",
        "",
        "## How to run it",
        "",
        m["how_to_run"].strip(),
        "",
    ]
    return "\n".join(lines)


def _front_matter(m: Mapping[str, Any]) -> list[str]:
    known = [] if m["license"] in ("not stated", SEE_TEXT) else license_lines(m["license"].split(", "))
    return ["---", *known, f"tags: [{m['format']}, {m['quantization'].lower()}]", "---", ""]


def _parity_rows(p: Mapping[str, Any]) -> list[str]:
    def accuracy(estimate: Mapping[str, Any]) -> str:
        error = estimate["standard_error"]
        return f"{estimate['mean']:.3f}" + (f" ± {error:.3f}" if error is not None else "")

    rows = [
        ("KL divergence, nats a token", f"{p['kl']:.2e} (largest {p['max_kl']:.2e})", ""),
        ("same most likely token", f"{p['top_1_agreement']:.4f}", f"of {p['num_positions']} positions"),
        ("same greedy answer", f"{p['greedy_agreement']:.3f}", f"of {p['num_answers']} problems"),
        ("perplexity", f"{p['perplexity']:.4f}", f"checkpoint {p['reference_perplexity']:.4f}"),
        ("task accuracy", accuracy(p["accuracy"]), f"checkpoint {accuracy(p['reference_accuracy'])}"),
        ("answers that end", f"{p['stop_rate']:.3f}", f"checkpoint {p['reference_stop_rate']:.3f}"),
        ("repeated 4-grams", f"{p['repetition_rate']:.3f}", f"checkpoint {p['reference_repetition_rate']:.3f}"),
        ("same tokens", f"{p['tokenizer_agreement']:.4f}", f"of {p['num_texts']} texts"),
        ("same tokens, decomposed Unicode", f"{p['decomposed_agreement']:.4f}", "not judged: normalize to NFC first"),
    ]
    return ["| measure | artifact | |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
