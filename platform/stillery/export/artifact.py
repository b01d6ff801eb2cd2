"""One artifact: written, measured, judged, and kept under its name only if it passed.

    OUT/MODEL-FORMAT-QUANTIZATION/              a kept artifact: its files, README.md, and manifest.json last
    OUT/MODEL-FORMAT-QUANTIZATION.failed.json   the report of one that failed; its files are gone
    OUT/.partial-PID-*                          one being made; what a killed export left is removed by the next

The unquantized form is compared first: a difference there is the converter's fault, whatever the quantization.
"""

import os
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stillery.config import ExportConfig
from stillery.errors import UserError
from stillery.export.card import write_card
from stillery.export.checkpoint import Checkpoint
from stillery.export.formats import Format
from stillery.export.manifest import MANIFEST, describe, report_failure, write_json
from stillery.export.parity.figures import Parity, Reference, compare
from stillery.export.parity.gate import ParityCheck, judge, thresholds_for, weight_bits
from stillery.export.parity.speed import Speed, measure_speed
from stillery.export.sources import ExportSource
from stillery.io.cards import CARD

_PARTIAL = ".partial-"
# The numbers of prompts and new tokens in the speed measurement.
_NUM_SPEED_PROMPTS = 8
_NUM_SPEED_TOKENS = 64


@dataclass(frozen=True, slots=True)
class ArtifactOutcome:
    """The result of one candidate. `folder` is None where it was refused, and `report` where it was kept; `parity` is
    None where it did not run at all."""

    format: str
    quantization: str
    folder: Path | None
    checks: list[ParityCheck]
    parity: Parity | None
    speed: Speed | None
    size_bytes: int
    export_s: float
    report: Path | None = None

    @property
    def failed(self) -> list[str]:
        return [check.name for check in self.checks if not check.is_passed]


@dataclass(slots=True)
class Exporter:
    """Makes artifacts of one checkpoint. The converter check of each format is done once and cached."""

    source: ExportSource
    checkpoint: Checkpoint
    reference: Reference
    config: ExportConfig
    calibration: Sequence[str]
    out: Path
    _converters: dict[str, ArtifactOutcome] = field(default_factory=dict[str, ArtifactOutcome])

    def make(self, edge_format: Format, quantization: str) -> ArtifactOutcome:
        """Export, gate, and keep or refuse. Raises UserError for failures that need no gate: a full disk, or a
        checkpoint that the format can't express."""
        self.out.mkdir(parents=True, exist_ok=True)
        _remove_stale(self.out)
        name = f"{self.source.name}-{edge_format.name}-{quantization}"
        unquantized = edge_format.quantizations[0]
        if quantization != unquantized and edge_format.name not in self._converters:
            with _partial_folder(self.out) as folder:
                self._converters[edge_format.name] = self._try(edge_format, unquantized, folder)
        converter = self._converters.get(edge_format.name)
        if converter is not None and converter.failed and quantization != unquantized:
            return self._refuse(name, _as_converter_failure(quantization, converter))
        with _partial_folder(self.out) as folder:
            tried = self._try(edge_format, quantization, folder)
            if quantization == unquantized:
                self._converters[edge_format.name] = converter = tried
            if tried.failed or tried.parity is None or tried.speed is None:
                return self._refuse(name, tried)
            manifest = describe(
                folder,
                format_name=edge_format.name,
                quantization=quantization,
                source=self.source,
                parity=tried.parity,
                checks=tried.checks,
                converter_checks=(converter or tried).checks,
                speed=tried.speed,
                num_calibration=len(self.calibration),
                export_s=tried.export_s,
                how_to_run=edge_format.how_to_run(folder).replace(str(folder), name),
            )
            return self._keep(name, folder, manifest, tried)

    def _try(self, edge_format: Format, quantization: str, folder: Path) -> ArtifactOutcome:
        """Write into a folder and measure. A runtime that doesn't load the files is a failed check."""
        self._check_room(quantization)
        start = time.perf_counter()
        edge_format.write(self.checkpoint.folder, folder, quantization=quantization, calibration=self.calibration)
        export_s = time.perf_counter() - start
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        parity, speed = None, None
        try:
            prompts = self.reference.prompts[:_NUM_SPEED_PROMPTS]
            speed = measure_speed(edge_format.name, folder, prompts, max_new_tokens=_NUM_SPEED_TOKENS)
            parity = self._compare(edge_format, folder)
            is_unquantized = quantization == edge_format.quantizations[0]
            thresholds = thresholds_for(self.config, quantization, is_unquantized=is_unquantized)
            checks = judge(parity, thresholds, min_tokenizer_agreement=self.config.min_tokenizer_agreement)
        except UserError as error:
            checks = [ParityCheck("runs", 0.0, 1.0, False, str(error))]
        return ArtifactOutcome(edge_format.name, quantization, None, checks, parity, speed, size, export_s)

    def _compare(self, edge_format: Format, folder: Path) -> Parity:
        runtime = edge_format.load(folder)
        try:
            return compare(runtime, self.reference)
        finally:
            runtime.close()

    def _check_room(self, quantization: str) -> None:
        """One and a half times the size of the weights: no format doubles them."""
        wanted = int(self.checkpoint.num_parameters * weight_bits(quantization) / 8 * 1.5)
        free = shutil.disk_usage(self.out).free
        if free < wanted:
            raise UserError(
                f"{self.out}: {free / 1e9:.1f} GB free, and {quantization} needs about {wanted / 1e9:.1f} GB; "
                "free some space or choose another --out"
            )

    def _refuse(self, name: str, tried: ArtifactOutcome) -> ArtifactOutcome:
        report = report_failure(
            format_name=tried.format,
            quantization=tried.quantization,
            source=self.source,
            checks=tried.checks,
            parity=tried.parity,
        )
        path = self.out / f"{name}.failed.json"
        write_json(path, report)
        # An earlier export kept under this name may be of another checkpoint.
        shutil.rmtree(self.out / name, ignore_errors=True)
        return replace(tried, report=path)

    def _keep(self, name: str, folder: Path, manifest: dict[str, Any], tried: ArtifactOutcome) -> ArtifactOutcome:
        (folder / CARD).write_text(write_card(manifest, name=name), encoding="utf-8")
        write_json(folder / MANIFEST, manifest)
        final = self.out / name
        shutil.rmtree(final, ignore_errors=True)
        folder.rename(final)
        (self.out / f"{name}.failed.json").unlink(missing_ok=True)
        return replace(tried, folder=final)


def _as_converter_failure(quantization: str, converter: ArtifactOutcome) -> ArtifactOutcome:
    """A candidate that is refused because its format's unquantized form failed."""
    renamed = [ParityCheck(f"converter:{c.name}", c.measured, c.limit, c.is_passed, c.detail) for c in converter.checks]
    return ArtifactOutcome(converter.format, quantization, None, renamed, converter.parity, None, 0, 0.0)


@contextmanager
def _partial_folder(out: Path) -> Generator[Path]:
    """An empty folder that is removed at the end, unless it was renamed meanwhile."""
    with TemporaryDirectory(prefix=f"{_PARTIAL}{os.getpid()}-", dir=out, ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "artifact"
        path.mkdir()
        yield path


def _remove_stale(out: Path) -> None:
    """Remove the leftovers of killed exports: folders of processes that no longer run."""
    for folder in out.glob(f"{_PARTIAL}*"):
        process = folder.name.removeprefix(_PARTIAL).split("-")[0]
        if not Path(f"/proc/{process}").exists():
            shutil.rmtree(folder, ignore_errors=True)
