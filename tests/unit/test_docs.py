"""The documentation matches the code: keys, types, defaults, examples, stages, the effects of a change."""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillery.config import Config, CurateConfig, load_config
from stillery.config.passthrough import (
    DISTILLATION_CONFIG,
    DPO_CONFIG,
    ENGINE_ARGS,
    GRPO_CONFIG,
    SAMPLING_PARAMS,
    SFT_CONFIG,
    check_tables,
)
from stillery.io.run_folder import Output, fingerprint_of
from stillery.io.storage import Folder
from stillery.pipeline.order import STAGES
from stillery.pipeline.runner import input_key, stages_of
from stillery.records import VerdictKind
from stillery.sampling.neutral import ENGINE_ARGS as NEUTRAL_ENGINE_ARGS
from stillery.sampling.neutral import ENGINE_SECTION, REFINE_SECTION
from stillery.sampling.neutral import SFT_CONFIG as NEUTRAL_SFT_CONFIG
from stillery.stages.prompts import draw_prompts, summarize_prompts
from stillery.verify import grade
from stillery.verify.acceptance import Acceptance

DOCS = Path(__file__).parents[2] / "docs"
CONFIGURATION = (DOCS / "guides" / "configuration.md").read_text(encoding="utf-8")
PROBLEMS_AND_MODELS = (DOCS / "guides" / "problems-and-models.md").read_text(encoding="utf-8")
DATA_FLOW = (DOCS / "concepts" / "data-flow.md").read_text(encoding="utf-8")
SECTIONS = [field.name for field in dataclasses.fields(Config)]
# Names of files that look like keys.
FILES = {"prompts.parquet", "report.html", "run.yaml"}


def _rows(text: str) -> list[list[str]]:
    """The cells of every row of every table whose first cell is a key in backticks."""
    rows = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def _generator() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "reference" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date() -> None:
    for path, text in _generator().pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: run make docs"


def test_a_field_without_a_description_is_named() -> None:
    @dataclasses.dataclass
    class Section:
        told: int = 1
        """What it is."""
        untold: int = 2

    with pytest.raises(KeyError, match=r"Section\.untold has no docstring"):
        _generator().descriptions(Section)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed: pip install stillery[docs]"
)
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    # Without --quiet: what it hides it does not count as a warning.
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=DOCS.parent,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "reference" / "configuration.html").is_file()


def test_no_page_names_an_unknown_key() -> None:
    known = set(_keys(Config()))
    for page in (CONFIGURATION, DATA_FLOW, PROBLEMS_AND_MODELS):
        named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})\.\w[\w.]*)`", page))
        unknown = {key for key in named if key not in known and not any(key.startswith(f"{k}.") for k in known)}
        assert not unknown - FILES


def _keys(section: Any, *, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys and sections."""
    for field in dataclasses.fields(section):
        yield f"{prefix}{field.name}"
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _keys(value, prefix=f"{prefix}{field.name}.")


@pytest.mark.parametrize(
    ("tables", "target"),
    [
        ("`teacher.engine`, `evaluate.engine`", ENGINE_ARGS),
        ("`teacher.sampling`, `evaluate.sampling`", SAMPLING_PARAMS),
        ("`sft.trl`", SFT_CONFIG),
        ("`refine.trl` (GRPO)", GRPO_CONFIG),
        ("`refine.trl` (DPO)", DPO_CONFIG),
        ("`refine.trl` (distillation)", DISTILLATION_CONFIG),
    ],
)
def test_every_field_that_stillery_sets_is_documented(tables: str, target: Any) -> None:
    (cell,) = [row[1] for row in _rows(CONFIGURATION) if row[0] == tables and len(row) == 3]
    assert set(re.findall(r"`(\w+)`", cell)) == set(target.taken)


def test_every_example_is_a_valid_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSM8K_DIR", "/data/gsm8k")
    examples = re.findall(r"```yaml\n(.*?)```", CONFIGURATION + PROBLEMS_AND_MODELS, flags=re.DOTALL)
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"example-{number}.yaml"
        path.write_text(example, encoding="utf-8")
        check_tables(load_config(path))


def test_the_tutorial_on_recorded_generations_says_what_is_kept() -> None:
    folder = DOCS / "tutorials" / "recorded"
    page = (DOCS / "tutorials" / "recorded.md").read_text(encoding="utf-8")
    assert f"```yaml\n{(folder / 'config.yaml').read_text(encoding='utf-8')}```" in page
    answers = {row["question"]: row["answer"] for row in _lines_of(folder / "train.jsonl")}
    verdicts = [
        grade(row["completion"], answer=answers[row["question"]]) for row in _lines_of(folder / "generations.jsonl")
    ]
    correct = [verdict for verdict in verdicts if verdict.verdict == VerdictKind.CORRECT]
    kept = [verdict for verdict in correct if Acceptance.of(CurateConfig()).why_dropped(verdict) is None]
    assert (len(verdicts), len(correct), len(kept)) == (8, 6, 5)
    assert "Of eight completions six are correct, and five are kept" in page


def _lines_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_stage_has_its_section_in_order() -> None:
    assert re.findall(r"^### `(\w+)`", DATA_FLOW, flags=re.MULTILINE) == [stage.name for stage in STAGES]


def _fingerprints(*overrides: str) -> dict[str, str]:
    """The fingerprint of every stage, with models that are Hub names, which are never looked up."""
    few = ["prompts.num_train=12", "prompts.num_validation=6", "prompts.num_longer=6", "prompts.num_test=6"]
    config = load_config(None, ["teacher.model=a/teacher", "sft.student=a/student", *few, *overrides])
    summary = summarize_prompts(draw_prompts(config.prompts, seed=config.run.seed))
    found: dict[str, Output] = {}
    for stage in stages_of(config):
        inputs = {need: input_key(need, found, told=stage.reads_summaries) for need in stage.needs}
        settings = stage.settings(config)
        fingerprint = fingerprint_of(stage.name, version=stage.version, settings=settings, inputs=inputs)
        # As if every stage that runs again wrote something else.
        told = {"parts": summary["parts"] if stage.name == "prompts" else {"checkpoint": fingerprint}}
        found[stage.name] = Output(stage.name, fingerprint, Folder("memory://none"), told, {"rows": fingerprint})
    return {name: output.fingerprint for name, output in found.items()}


@pytest.mark.slow
def test_a_change_reaches_just_the_stages_that_the_table_names() -> None:
    names = [stage.name for stage in STAGES]
    before = _fingerprints()
    rows = [row for row in _rows(DATA_FLOW) if "=" in row[0]]
    assert len(rows) >= 15
    for change, reached in rows:
        after = _fingerprints(change.split("`")[1])
        expected = {"all": list(before), "none": []}.get(reached, reached.split(", "))
        assert [name for name in names if after.get(name) != before.get(name)] == expected, change


def test_what_does_not_shape_an_output_is_listed_with_its_reason() -> None:
    rows = re.findall(r"^\| (`.*) \| (`.*`) \| (.*) \|$", DATA_FLOW, flags=re.MULTILINE)
    for of, neutral in (
        ("`teacher`, `evaluate`", ENGINE_SECTION),
        ("`refine`", REFINE_SECTION),
        ("`teacher.engine`, `evaluate.engine` (vLLM)", NEUTRAL_ENGINE_ARGS),
        ("`sft.trl` (TRL)", NEUTRAL_SFT_CONFIG),
    ):
        listed = {key: reason for who, keys, reason in rows if who == of for key in re.findall(r"`(\w+)`", keys)}
        assert listed == neutral


def test_pages_that_the_code_names_are_there() -> None:
    for path in [*(DOCS.parent / "platform").rglob("*.py"), *(DOCS.parent / "tests").rglob("*.py")]:
        for name in re.findall(r"\bdocs/[\w/.-]+\.md", path.read_text(encoding="utf-8")):
            assert (DOCS.parent / name).is_file(), f"{path.name} names {name}, which is not there"


def test_the_tests_that_prove_the_status_are_there() -> None:
    named = re.findall(r"tests/[\w/.*-]+", (DOCS / "status.md").read_text(encoding="utf-8"))
    assert named
    for name in named:
        assert list(DOCS.parent.glob(name)), f"status.md names {name}, which is not there"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
