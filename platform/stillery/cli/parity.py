"""`stillery parity CHECKPOINT ARTIFACT`: whether any artifact answers like its checkpoint."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from stillery.cli.export import problems_of
from stillery.config import Config
from stillery.export.candidates import ask, check_split
from stillery.export.parity.artifact import check_artifact, open_artifact, quantization_of
from stillery.export.parity.gate import ParityCheck
from stillery.export.parity.reference import CheckpointRuntime
from stillery.export.sources import open_source


def check_parity(checkpoint: str, artifact: Path, config: Config, *, quantization: str | None, as_json: bool) -> int:
    """Print the gate's checks; the exit code is 0 where all passed, else 1.

    Raises UserError for a missing checkpoint or artifact, or one of unknown format.
    """
    check_split(config.export)
    edge_format, path = open_artifact(artifact)
    named = quantization or quantization_of(edge_format, path)
    source = open_source(checkpoint, config.register)
    with closing(CheckpointRuntime(source.folder)) as runtime:
        reference = ask(runtime, source, problems_of(config), config.export)
    checks, parity = check_artifact(edge_format, path, reference, config.export, quantization=named)
    is_alike = all(check.is_passed for check in checks)
    if as_json:
        figures = {"format": edge_format.name, "quantization": named, "passed": is_alike}
        print(json.dumps({**figures, "checks": [asdict(c) for c in checks], "parity": parity and asdict(parity)}))
    else:
        print(f"{artifact}: {edge_format.name} {named} against {source.model}\n\n{_table(checks)}")
        failed = ", ".join(check.name for check in checks if not check.is_passed)
        print("\nit answers like its checkpoint" if is_alike else f"\nit does not answer like its checkpoint: {failed}")
    return 0 if is_alike else 1


def _table(checks: Sequence[ParityCheck]) -> str:
    lines = [f"{'check':<15}{'measured':>12}{'limit':>12}"]
    for check in checks:
        mark = "" if check.is_passed else "FAILED  "
        lines.append(f"{check.name:<15}{check.measured:>12.5g}{check.limit:>12.5g}  {mark}{check.detail}".rstrip())
    return "\n".join(lines)
