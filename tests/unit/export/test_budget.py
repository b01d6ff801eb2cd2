"""The choice within a budget, the plot, the table, the candidates, the card: from invented outcomes."""

import hashlib
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from pathlib import Path

import pytest

from stillery.config import RegisterConfig
from stillery.errors import UserError
from stillery.export import candidates
from stillery.export.artifact import ArtifactOutcome
from stillery.export.budget import choose, plot, why_none
from stillery.export.card import write_card
from stillery.export.manifest import describe, license_of, tokenizer_hash, write_json
from stillery.export.parity.figures import Parity
from stillery.export.parity.gate import ParityCheck
from stillery.export.parity.speed import Speed
from stillery.export.registration import log_outcome
from stillery.export.sources import ExportSource, open_source
from stillery.metrics.accuracy import Estimate
from stillery.registry import mlflow_store
from support.export_models import STUDENT

SVG = "{http://www.w3.org/2000/svg}"


def outcome(quantization: str, *, mb: float, drop: float, speed: float, kept: bool = True) -> ArtifactOutcome:
    parity = Parity(
        num_positions=100, kl=0.001, max_kl=0.01, top_1_agreement=0.99, perplexity=2.0, reference_perplexity=2.0,
        num_answers=50, greedy_agreement=0.8, end_agreement=1.0, accuracy=Estimate(0.6 - drop, 0.07, 50),
        reference_accuracy=Estimate(0.6, 0.07, 50), accuracy_drop=Estimate(drop, 0.02, 50), stop_rate=1.0,
        reference_stop_rate=1.0, repetition_rate=0.1, reference_repetition_rate=0.1, num_texts=3000,
        tokenizer_agreement=1.0, decomposed_agreement=1.0, template_agreement=1.0,
    )  # fmt: skip
    folder = Path(f"out/m-gguf-{quantization}") if kept else None
    checks = [ParityCheck("kl", 0.001, 0.1, kept, "nats a token")]
    return ArtifactOutcome(
        "gguf", quantization, folder, checks, parity, Speed(0.1, 30.0, 500.0, speed), int(mb * 1e6), 1.0
    )


BIG = outcome("Q8_0", mb=100, drop=0.0, speed=50)
FAST = outcome("Q4_0", mb=50, drop=0.02, speed=90)
SMALL = outcome("Q4_K_M", mb=40, drop=0.02, speed=70)
REFUSED = outcome("Q2_K", mb=20, drop=0.0, speed=99, kept=False)
ALL = [BIG, FAST, SMALL, REFUSED]


@pytest.mark.parametrize(
    ("size", "drop", "expected"),
    [
        (None, None, BIG), (60, None, FAST), (45, None, SMALL), (60, 0.01, None), (30, None, None), (100, 0.01, BIG),
    ],
)  # fmt: skip
def test_the_best_within_a_budget(size: float | None, drop: float | None, expected: ArtifactOutcome | None) -> None:
    assert choose(ALL, max_size_mb=size, max_accuracy_drop=drop) is expected


def test_more_right_answers_than_the_checkpoints_are_no_merit() -> None:
    lucky = outcome("Q5_0", mb=70, drop=-0.03, speed=40)
    assert choose([lucky, BIG], max_accuracy_drop=0.01) is BIG


def test_where_nothing_fits_the_nearest_are_named() -> None:
    said = why_none(ALL, max_size_mb=30, max_accuracy_drop=0.01)
    assert "30 MB and an accuracy drop of 0.01" in said
    assert "Q4_K_M with 40.00 MB" in said
    assert why_none([REFUSED], max_size_mb=None, max_accuracy_drop=None) == "no artifact passed the gate"


def test_the_plot_has_a_point_for_each_and_refused_ones_are_hollow() -> None:
    root = ElementTree.fromstring(plot(ALL))
    # Each point is on the plot and once more in the legend.
    points = [u.get("style", "") for u in root.iter(f"{SVG}use") if "#1b6ca8" in u.get("style", "")]
    assert len(points) == 8
    assert len([style for style in points if "fill-opacity: 0;" in style]) == 2
    words = [t.text for t in root.iter(f"{SVG}text")]
    assert "gguf Q8_0: 100.00 MB, accuracy 0.600 ± 0.070, 50 tokens/s" in words
    assert "gguf Q2_K (refused): 20.00 MB, accuracy 0.600 ± 0.070, 99 tokens/s" in words
    assert {"checkpoint", "Q4_K_M", "100"} <= set(words)


def test_the_plot_is_the_same_every_time_and_says_where_nothing_ran() -> None:
    assert plot(ALL) == plot(ALL)
    assert "no artifact ran" in [t.text for t in ElementTree.fromstring(plot([])).iter(f"{SVG}text")]


def test_the_table_has_a_row_for_each_even_where_nothing_ran() -> None:
    died = ArtifactOutcome("onnx", "int4", None, [ParityCheck("runs", 0.0, 1.0, False, "crashed")], None, None, 0, 3.0)
    lines = candidates.table(candidates.summarize([BIG, died])).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "refused: runs" in lines[-1]


def test_nothing_is_logged_for_a_model_that_is_not_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(mlflow_store, "connect", lambda uri, **_: asked.append(uri))
    log_outcome(
        open_source("embedded:student", RegisterConfig()), BIG, RegisterConfig(tracking_uri="http://127.0.0.1:9")
    )
    assert asked == []


def test_candidates_are_those_that_a_format_has() -> None:
    pytest.importorskip("gguf", reason="the extra `edge` is not installed")
    named = [(f.name, q) for f, q in candidates.find_candidates(["gguf"], ["q8_0", "F32"])]
    assert named == [("gguf", "F32"), ("gguf", "Q8_0")]
    with pytest.raises(UserError, match=r"'Q9_9' isn't known \(gguf: F32"):
        candidates.find_candidates(["gguf"], ["Q9_9"])
    with pytest.raises(UserError, match="'tflite' isn't known; the formats are gguf, onnx, executorch"):
        candidates.find_candidates(["tflite"], [])
    assert next(q for _, q in candidates.find_candidates(["gguf"], [])) == "Q8_0"


def test_a_manifest_and_its_card_name_files_source_and_figures(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    parity, speed = BIG.parity, BIG.speed
    assert parity is not None
    assert speed is not None
    manifest = describe(
        tmp_path, format_name="gguf", quantization="Q8_0",
        source=ExportSource("s-v3", "models:/s/3", STUDENT, "s", "3", "abc123"), parity=parity, checks=BIG.checks,
        converter_checks=BIG.checks, speed=speed, num_calibration=0, export_s=1.5, how_to_run="llama-cli -m x",
    )  # fmt: skip
    checksum = hashlib.sha256(b"GGUF").hexdigest()
    assert manifest["files"] == [{"name": "model.gguf", "size_bytes": 4, "sha256": checksum}]
    assert manifest["source"]["run_id"] == "abc123"
    assert manifest["license"] == "apache-2.0"
    assert manifest["parity"] == asdict(parity)
    card = write_card(manifest, name="s-v3-gguf-Q8_0")
    for said in ("license: apache-2.0", "models:/s/3", "abc123", "llama-cli -m x", "| kl | 0.001 |", "0.600 ± 0.070"):
        assert said in card
    write_json(tmp_path / "manifest.json", manifest)
    assert not list(tmp_path.glob(".*"))


def test_the_tokenizers_hash_covers_the_template(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_text((STUDENT / name).read_text())
    assert tokenizer_hash(tmp_path) == tokenizer_hash(STUDENT)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert tokenizer_hash(tmp_path) != tokenizer_hash(STUDENT)


def test_a_licence_is_quoted_and_never_guessed(tmp_path: Path) -> None:
    assert license_of(tmp_path) == "not stated"
    (tmp_path / "LICENSE").write_text("MIT")
    assert license_of(tmp_path) == "see LICENSE"
    (tmp_path / "README.md").write_text("---\nlibrary_name: x\nlicense: mit\n---\n")
    assert license_of(tmp_path) == "mit"
