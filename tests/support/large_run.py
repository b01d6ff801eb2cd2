"""A run folder with very many samples, made without engines: texts, verdicts, molecules and choices that repeat those
of a few real traces, with ids and numbers of their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stillery.bonds import analyze
from stillery.config import Config, to_yaml
from stillery.io.storage import Folder
from stillery.records import Choice, Generation, Molecule, Prompt, Verdict, digest, schema_of, to_table
from support.score_rows import RIGHT, WRONG

PER_PROMPT = 4
ROWS_PER_FILE = 20_000
_FILLER = "\nso we hold {n} and go on: {n} + {n} = {m}, then {m} - {n} = {n}, ok"


def make_large_run(root: Path, *, num_samples: int, seed: int = 0) -> Folder:
    """Write the finished stages prompts, generate, verify, bonds and curate for `num_samples` samples, four per
    prompt."""
    rng = np.random.default_rng(seed)
    run = Folder(str(root))
    config = Config()
    config.run.name, config.bonds.enabled = root.name, True
    run.write_bytes("run.yaml", to_yaml(config).encode())
    traces = [_trace(n) for n in range(2, 18)]
    molecules = to_table([analyze(t, sample_id="") for t in traces], Molecule)
    folders = {
        stage: run / "stages" / stage / f"{stage}1" for stage in ("prompts", "generate", "verify", "bonds", "curate")
    }
    for number, start in enumerate(range(0, num_samples, ROWS_PER_FILE)):
        count = min(ROWS_PER_FILE, num_samples - start)
        kinds = rng.integers(0, len(traces), count)
        samples = [digest("sample", start + i) for i in range(count)]
        prompts = [digest("prompt", (start + i) // PER_PROMPT) for i in range(count)]
        verdicts = rng.choice(["correct", "wrong", "unparsed", "truncated"], count, p=[0.55, 0.38, 0.04, 0.03])
        tokens = rng.integers(40, 4000, count)
        flags = [["repetition"] if lucky < 0.02 else [] for lucky in rng.random(count)]
        reasons = [
            None if v == "correct" and lucky < 0.8 else "beyond max_per_prompt" if v == "correct" else str(v)
            for v, lucky in zip(verdicts, rng.random(count), strict=True)
        ]
        ids = {"sample_id": samples, "prompt_id": prompts}
        name = f"{number:05d}.parquet"
        folders["generate"].write_table(
            f"generations-{name}",
            _table(
                Generation,
                count,
                ids
                | {
                    "sample_index": [(start + i) % PER_PROMPT for i in range(count)],
                    "completion": [
                        traces[k].replace("<think>", f"<think>\nsample {start + i}") for i, k in enumerate(kinds)
                    ],
                    "finish_reason": "stop",
                    "num_tokens": tokens,
                    "model": "teacher",
                    "rendered": "q",
                    "sampling": "{}",
                },
            ),
        )
        folders["verify"].write_table(
            f"verdicts-{name}",
            _table(
                Verdict,
                count,
                ids
                | {
                    "verdict": verdicts,
                    "template": "ok",
                    "flags": flags,
                    "predicted": [str(t) for t in tokens],
                    "flag_evidence": [["'ok' thrice"] if f else [] for f in flags],
                },
            ),
        )
        rows = molecules.take(pa.array(kinds)).set_column(0, "sample_id", pa.array(samples, pa.large_string()))
        stability = pa.array(np.round(rng.random(count), 4))
        rows = rows.set_column(rows.column_names.index("stability"), "stability", stability)
        folders["bonds"].write_table(f"molecules-{name}", rows.cast(schema_of(Molecule)))
        (folders["curate"] / "choices").write_table(f"choices-{name}", _table(Choice, count, ids | {"reason": reasons}))
    num_prompts = -(-num_samples // PER_PROMPT)
    folders["prompts"].write_rows(
        "prompts.parquet",
        [
            Prompt(
                digest("prompt", n),
                ("coins", "equations", "dates")[n % 3],
                f"Problem {n}: what is {n} + 1?",
                str(n + 1),
                "number",
                [],
                "tasks",
                "train",
                2,
                None,
            )
            for n in range(num_prompts)
        ],
        Prompt,
    )
    needs = {
        "generate": ["prompts"],
        "verify": ["prompts", "generate"],
        "bonds": ["prompts", "generate", "verify"],
        "curate": ["prompts", "generate", "verify"],
    }
    for stage, folder in folders.items():
        folder.write_bytes(
            "manifest.json",
            json.dumps(
                {
                    "stage": stage,
                    "version": 1,
                    "fingerprint": f"{stage}1",
                    "settings": {},
                    "git_revision": "0" * 40,
                    "inputs": {need: {"fingerprint": f"{need}1", "content": need} for need in needs.get(stage, [])},
                    "finished": "2026-11-27T10:00:00Z",
                    "files": {},
                    "summary": {"seconds": 1.0, "num_samples": num_samples},
                }
            ).encode(),
        )
    return run


def _trace(number: int) -> str:
    steps = "".join(_FILLER.format(n=n, m=2 * n) for n in range(number, number + number))
    return f"<think>\nstart{steps}\n</think>\n<answer>{number}</answer>" if number % 2 else RIGHT + WRONG


def _table(record: type[Any], count: int, columns: dict[str, Any]) -> pa.Table:
    """A record's table: columns as given, one value for all rows, or empty values of the column's type."""
    schema = schema_of(record)
    empty: dict[Any, Any] = {pa.int64(): 0, pa.bool_(): False, pa.large_string(): ""}
    made: list[pa.Array] = []
    for field in schema:
        value = columns.get(field.name, None if field.nullable else empty.get(field.type, []))
        repeated = value is None or not hasattr(value, "__len__") or isinstance(value, str)
        made.append(pa.array([value] * count if repeated else value, field.type))
    return pa.table(made, schema=schema)
