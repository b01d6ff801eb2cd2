"""Broken or mismatched tables, and user functions that misbehave: an error that names it, or a documented fallback."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillery.bonds import analyze
from stillery.config import CurateConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation, Molecule, Prompt, Verdict, from_table
from stillery.stages.curate import curate

GENERATIONS = "generations/generations-00001.parquet"
PER_FILE = 3


def write(root: Path) -> dict[str, Folder]:
    """Two files of three problems with two samples each, all right."""
    folders = {name: Folder(str(root / name)) for name in ("prompts", "generations", "verdicts")}
    prompts = [Prompt(f"p{n}", "t", f"q{n}?", "7", "number", [], "x", "train", None, None) for n in range(2 * PER_FILE)]
    folders["prompts"].write_rows("prompts.parquet", prompts, Prompt)
    for file in range(2):
        names = [f"p{n}" for n in range(file * PER_FILE, (file + 1) * PER_FILE)]
        rewrite(folders, file, [sample(name, index) for name in names for index in range(2)])
    return folders


def sample(prompt: str, index: int) -> Generation:
    text = f"<think>\nTom has {index} and 7 in {prompt}.\n</think>\n<answer>7</answer>"
    return Generation(
        f"{prompt}-{index}", prompt, index, 0, "", text, "stop", 1, 10, None, "T", "{}", 0, False, None
    )  # fmt: skip


def rewrite(folders: dict[str, Folder], file: int, rows: list[Generation]) -> None:
    found = [Verdict(g.sample_id, g.prompt_id, None, "7", "7", "correct", "ok", [], None) for g in rows]
    folders["generations"].write_rows(f"generations-{file:05d}.parquet", rows, Generation)
    folders["verdicts"].write_rows(f"verdicts-{file:05d}.parquet", found, Verdict)


def run(root: Path, folders: dict[str, Folder], config: CurateConfig | None = None) -> dict[str, object]:
    return curate(config or CurateConfig(), **folders, stopping=None, out=Folder(str(root / "out")))


def without_column(root: Path, _: dict[str, Folder]) -> None:
    pq.write_table(pq.read_table(root / GENERATIONS).drop(["surplus"]), root / GENERATIONS)


def of_another_type(root: Path, _: dict[str, Folder]) -> None:
    table = pq.read_table(root / GENERATIONS)
    place = table.schema.get_field_index("num_tokens")
    pq.write_table(table.set_column(place, "num_tokens", pa.array(["many"] * len(table))), root / GENERATIONS)


def cut_off(root: Path, _: dict[str, Folder]) -> None:
    (root / GENERATIONS).write_bytes((root / GENERATIONS).read_bytes()[:-100])


def of_no_bytes(root: Path, _: dict[str, Folder]) -> None:
    (root / "verdicts/verdicts-00001.parquet").write_bytes(b"")


def twice_in_a_file(_: Path, folders: dict[str, Folder]) -> None:
    rewrite(folders, 1, [sample("p3", 0), sample("p3", 0)])


def twice_in_two_files(_: Path, folders: dict[str, Folder]) -> None:
    rewrite(folders, 1, [sample("p0", 0), sample("p0", 1)])


def of_no_prompt(_: Path, folders: dict[str, Folder]) -> None:
    rewrite(folders, 1, [sample("p9", 0)])


def without_verdict(_: Path, folders: dict[str, Folder]) -> None:
    rows = folders["verdicts"].read_rows("verdicts-00001.parquet", Verdict)
    folders["verdicts"].write_rows("verdicts-00001.parquet", rows[:-1], Verdict)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            without_column,
            r"generations-00001.parquet: the file is no table of Generation \(.* no column surplus",
        ),
        (of_another_type, r"generations-00001.parquet: the file is no table of Generation \(.*'many'"),
        (cut_off, r"generations-00001.parquet: the file is not whole"),
        (of_no_bytes, r"verdicts-00001.parquet: the file is not whole"),
        (twice_in_a_file, r"generations-00001.parquet: sample p3-0 is there 2 times"),
        (twice_in_two_files, r"prompt p0 has samples in two files"),
        (of_no_prompt, r"sample p9-0 is of prompt p9, which is not among the prompts"),
        (without_verdict, r"6 generations and 5 verdicts of them; verify them again"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, change: Callable[[Path, dict[str, Folder]], None], said: str) -> None:
    folders = write(tmp_path)
    change(tmp_path, folders)
    with pytest.raises(UserError, match=said):
        run(tmp_path, folders)


def test_what_is_merely_unusual_is_used_and_counted(tmp_path: Path) -> None:
    folders = write(tmp_path)
    table = pq.read_table(tmp_path / GENERATIONS)
    pq.write_table(table.append_column("more", pa.array([1] * len(table))), tmp_path / GENERATIONS)
    rewrite(folders, 2, [])
    prompts = folders["prompts"].read_rows("prompts.parquet", Prompt)
    alone = Prompt("alone", "t", "And this?", "7", "number", [], "x", "train", None, None)
    folders["prompts"].write_rows("prompts.parquet", [*prompts, alone], Prompt)
    summary = run(tmp_path, folders)
    assert (summary["generated"], summary["kept"], summary["prompts"]) == (12, 12, 6)
    assert summary["prompts_without_samples"] == 1


def test_a_target_pattern_of_a_kind_that_never_occurs_says_so(tmp_path: Path) -> None:
    folders = write(tmp_path)
    rows = from_table(folders["generations"].read_all(Generation), Generation)
    plain = analyze("Tom has 3 apples.\nHe gets 4 more, 3 + 4 = 7.\nSo he has 7.")
    molecules = Folder(str(tmp_path / "molecules"))
    found = [Molecule(row.sample_id, plain.atoms, plain.bonds, 0.0, 1.0, 1.0, []) for row in rows]
    molecules.write_rows("molecules-00000.parquet", found, Molecule)
    target = {"strong_logic": 0.5, "exploratory_association": 0.5}
    config = CurateConfig(rules=["pattern"], target_pattern=target, max_per_prompt=1)
    summary = curate(config, **folders, molecules=molecules, stopping=None, out=Folder(str(tmp_path / "out")))
    assert summary["kept"] == 6
    assert summary["warnings"] == [
        "curate.target_pattern asks for exploratory_association, and no kept trace has such a bond: the other kinds "
        "decided"
    ]


@pytest.fixture
def own_filters(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "own_filters.py").write_text(
        "import time\ndef hangs(generation, verdict):\n    time.sleep(5)\n"
        "def raises(generation, verdict):\n    raise KeyError('x')\ndef says(generation, verdict):\n    return 3\n"
        "def drops(generation, verdict):\n    return 'odd' if generation.sample_index % 2 else None\n"
    )
    sys.path.insert(0, str(tmp_path))
    yield "own_filters"
    sys.path.remove(str(tmp_path))
    sys.modules.pop("own_filters", None)


def test_a_filter_that_raises_hangs_or_says_nothing_ends_the_stage(
    tmp_path: Path, own_filters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = write(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("stillery.curation.choosing.FILTER_S", 0.3)
        with pytest.raises(UserError, match=r"hangs took longer than 0\.3 s on sample p0-0"):
            run(tmp_path, folders, CurateConfig(filters=[f"{own_filters}:hangs"]))
    for name, said in (
        ("raises", "raises raised KeyError: 'x' on sample p0-0"),
        ("says", "says returned 3 on sample p0-0"),
    ):
        with pytest.raises(UserError, match=said):
            run(tmp_path, folders, CurateConfig(filters=[f"{own_filters}:{name}"]))
    summary = run(tmp_path, folders, CurateConfig(filters=[f"{own_filters}:drops"]))
    assert (summary["kept"], summary["dropped"]) == (6, {f"filter: {own_filters}:drops": 6})
