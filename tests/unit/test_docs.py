"""The documentation says what the code does: keys, types, defaults, examples, stages, what a change reaches."""

import dataclasses
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest

from stillery.config import Config, load_config
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
from stillery.stages.neutral import ENGINE_ARGS as NEUTRAL_ENGINE_ARGS
from stillery.stages.neutral import ENGINE_SECTION, REFINE_SECTION
from stillery.stages.neutral import SFT_CONFIG as NEUTRAL_SFT_CONFIG
from stillery.stages.prompts import draw_prompts, summarize_prompts

DOCS = Path(__file__).parents[2] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
DATA_FLOW = (DOCS / "data-flow.md").read_text(encoding="utf-8")
SECTIONS = [field.name for field in dataclasses.fields(Config)]


def rows_of_config() -> dict[str, dict[str, tuple[str, str]]]:
    """For each section: dotted key -> (type, default), as the tables write them."""
    config = Config()
    return {section: dict(_keys(getattr(config, section), prefix=section)) for section in SECTIONS}


def _keys(section: Any, *, prefix: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _keys(value, prefix=f"{prefix}.{field.name}")
        else:
            yield f"{prefix}.{field.name}", (_name(field.type), json.dumps(value))


def _name(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        (inner,) = [a for a in get_args(annotation) if a is not type(None)]
        return f"{_name(inner)} or null"
    if get_origin(annotation) is list:
        return f"list of {_name(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        value = get_args(annotation)[1]
        return "table" if value is Any else f"table of {_name(value)}"
    return annotation.__name__


def _rows(text: str) -> list[list[str]]:
    """The cells of every row of every table whose first cell is a key in backticks."""
    rows = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def _documented() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for first, *rest in _rows(CONFIGURATION):
        if re.fullmatch(rf"`({'|'.join(SECTIONS)})(\.\w+)+`", first) and len(rest) == 3:
            assert first not in found, f"{first} is documented twice"
            found[first.strip("`")] = (rest[0], rest[1].strip("`"))
    return found


def test_every_key_is_documented_with_its_type_and_default() -> None:
    expected = {key: row for section in rows_of_config().values() for key, row in section.items()}
    assert _documented() == expected


def test_no_table_names_an_unknown_key() -> None:
    known = {key for section in rows_of_config().values() for key in section}
    dotted = [name for first, *_ in _rows(CONFIGURATION) for name in re.findall(r"`([a-z_]+\.[\w.]+)`", first)]
    assert dotted
    assert set(dotted) <= known


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
    examples = re.findall(r"```yaml\n(.*?)```", CONFIGURATION, flags=re.DOTALL)
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"example-{number}.yaml"
        path.write_text(example, encoding="utf-8")
        check_tables(load_config(path))


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


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), *DOCS.parent.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
