"""The tables of `stillery ui`: filters, sorts and pages against the same results computed in plain Python."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stillery.io.run_folder import Output
from stillery.records import BondKind, Generation, Molecule, Verdict
from stillery.ui.database import Database, Row
from stillery.ui.filters import ROWS_PER_PAGE, SAMPLE_SORTS, BadQueryError, parse_samples, parse_table
from stillery.ui.problems import SORTS, list_problems, neighbours, sides_of
from stillery.ui.runs import RunList, RunView
from stillery.ui.samples import Index, SampleIndexes
from support.ui_runs import NUM_PROBLEMS, make_ui_run

ALL = 4 * NUM_PROBLEMS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    folder = make_ui_run(tmp_path_factory.mktemp("runs") / "adder")
    return RunList([folder.uri]).find("adder")


@pytest.fixture(scope="module")
def database(run: RunView) -> Database:
    return Database([run.path])


@pytest.fixture(scope="module")
def samples(database: Database) -> SampleIndexes:
    return SampleIndexes(database)


@pytest.fixture(scope="module")
def index(run: RunView, samples: SampleIndexes) -> Index:
    return samples.index(run.chosen())


@pytest.fixture(scope="module")
def plain(run: RunView) -> list[dict[str, Any]]:
    """Every sample with its values in the stages' tables, in their order."""
    chosen: dict[str, Output] = run.chosen()
    generations = [
        r for n in chosen["generate"].folder.names(".parquet") for r in _read(chosen, "generate", n, Generation)
    ]
    verdicts = {v.sample_id: v for v in _read(chosen, "verify", "verdicts-00000.parquet", Verdict)}
    molecules = {
        m.sample_id: m for n in chosen["bonds"].folder.names(".parquet") for m in _read(chosen, "bonds", n, Molecule)
    }
    return [
        {
            "sample_id": g.sample_id, "num_tokens": g.num_tokens, "completion": g.completion,
            "verdict": verdicts[g.sample_id].verdict, "flags": verdicts[g.sample_id].flags,
            "stability": molecules[g.sample_id].stability,
            "logic": sum(b.kind == BondKind.STRONG_LOGIC for b in molecules[g.sample_id].bonds),
            "reflection": sum(b.kind == BondKind.REFLECTION for b in molecules[g.sample_id].bonds),
        }
        for g in generations
    ]  # fmt: skip


def _read(chosen: dict[str, Output], stage: str, name: str, record: type[Any]) -> list[Any]:
    return chosen[stage].folder.read_rows(name, record)


def _every(_: Any) -> bool:
    return True


def _none(_: Any) -> bool:
    return False


def _all_pages(samples: SampleIndexes, index: Index, **given: str) -> list[Row]:
    rows: list[Row] = []
    for page in itertools.count(1):
        found = samples.page(index, parse_samples({**given, "page": str(page)}))
        rows += found.rows
        if page >= found.num_pages:
            assert len(rows) == found.total
            return rows
    raise AssertionError


@pytest.mark.parametrize(
    ("given", "keep"),
    [
        ({}, _every),
        ({"verdict": "wrong"}, lambda s: s["verdict"] == "wrong"),
        ({"flag": "repetition"}, lambda s: "repetition" in s["flags"]),
        ({"min_num_tokens": "30", "max_num_tokens": "40"}, lambda s: 30 <= s["num_tokens"] <= 40),
        ({"max_stability": "0.5"}, lambda s: s["stability"] <= 0.5),
        ({"min_stability": "0.5", "verdict": "wrong"}, lambda s: s["stability"] >= 0.5 and s["verdict"] == "wrong"),
        ({"min_reflection": "1"}, lambda s: s["reflection"] >= 1),
        ({"max_logic": "0"}, lambda s: s["logic"] == 0),
        ({"q": "WAIT, 7"}, lambda s: "wait, 7" in s["completion"].lower()),
        ({"q": "p07s"}, lambda s: s["sample_id"].startswith("p07s")),
        ({"q": "' OR 1=1 --"}, _none),
        ({"q": "start", "min_num_tokens": "40"}, lambda s: "start" in s["completion"] and s["num_tokens"] >= 40),
        ({"verdict": "'; DROP TABLE samples_0; --"}, _none),
        ({"prompt": "p03"}, lambda s: s["sample_id"].startswith("p03s")),
        ({"max_pass_rate": "0.4"}, _none),
        ({"min_pass_rate": "0.5"}, _every),
    ],
)
def test_a_filter_leaves_exactly_the_rows_that_it_names(
    samples: SampleIndexes,
    index: Index,
    plain: list[dict[str, Any]],
    given: dict[str, str],
    keep: Callable[[Any], bool],
) -> None:
    found = [row["sample_id"] for row in _all_pages(samples, index, **given)]
    assert found == [sample["sample_id"] for sample in plain if keep(sample)]


def test_outcomes_split_all_samples_as_curation_did(samples: SampleIndexes, index: Index) -> None:
    kept = {row["sample_id"] for row in _all_pages(samples, index, outcome="kept")}
    dropped = {row["sample_id"] for row in _all_pages(samples, index, outcome="dropped")}
    assert len(kept) == NUM_PROBLEMS
    assert len(kept | dropped) == ALL
    assert not kept & dropped
    reasons = {reason: number for reason, number in index.facets["outcome"].items() if reason != "kept"}
    assert sum(reasons.values()) == len(dropped)
    for reason, number in reasons.items():
        assert len(_all_pages(samples, index, outcome=reason)) == number


@pytest.mark.parametrize("sort", [*SAMPLE_SORTS, *(f"-{column}" for column in SAMPLE_SORTS)])
def test_pages_in_any_order_hold_every_sample_once(samples: SampleIndexes, index: Index, sort: str) -> None:
    rows = _all_pages(samples, index, sort=sort)
    assert len(rows) == ALL > 2 * ROWS_PER_PAGE
    assert len({row["sample_id"] for row in rows}) == ALL
    # Rows that are alike stay in the order in which the teacher made them, whichever way the others go.
    made = sorted(rows, key=lambda row: row["place"])
    assert rows == sorted(made, key=lambda row: row[sort.removeprefix("-")], reverse=sort.startswith("-"))


def test_neighbours_follow_the_order_of_the_table(samples: SampleIndexes, index: Index) -> None:
    given = {"verdict": "correct", "sort": "-stability"}
    ids = [row["sample_id"] for row in _all_pages(samples, index, **given)]
    for before, here, after in zip(ids, ids[1:], ids[2:], strict=False):
        near = samples.neighbours(index, parse_samples(given), here)
        assert near == {"previous": before, "next": after}
    assert samples.neighbours(index, parse_samples(given), ids[0]) == {"next": ids[1]}
    assert samples.neighbours(index, parse_samples({"verdict": "wrong"}), ids[0]) == {}


def test_a_sample_comes_with_its_texts(samples: SampleIndexes, index: Index) -> None:
    row = samples.sample(index, "p29s2")
    assert row is not None
    assert row["completion"].startswith("<think>\nstart 7")
    assert row["question"] == "Problem 29: 7 and 9 more? <i>29</i>"
    assert samples.sample(index, "p29s") is None


def test_the_pass_rate_allows_for_the_stopping_rule(tmp_path: Path) -> None:
    run = RunList([make_ui_run(tmp_path / "adder").uri]).find("adder")
    manifest = run.path / "stages" / "curate" / "curate-1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"stopping": null', '"stopping": {"num_samples": 8, "target": 2}'))
    samples = SampleIndexes(Database([run.path]))
    rows = samples.page(samples.index(run.chosen()), parse_samples({})).rows
    # Two of four were right and that is where it stopped: (2 - 1) / (4 - 1), not 2 / 4.
    assert rows[0]["pass_rate"] == pytest.approx(1 / 3)


def test_an_index_is_made_once_and_goes_when_others_come(
    tmp_path: Path, samples: SampleIndexes, index: Index, run: RunView
) -> None:
    assert samples.index(run.chosen()) is index
    own = SampleIndexes(Database([tmp_path]))
    runs = [RunList([make_ui_run(tmp_path / f"run{n}", until="generate").uri]).find(f"run{n}") for n in range(5)]
    first = own.index(runs[0].chosen())
    for other in runs[1:]:
        own.index(other.chosen())
    assert own.index(runs[0].chosen()).table != first.table


def test_nothing_outside_the_runs_can_be_read(database: Database, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(Exception, match="Permission"):
        database.rows("SELECT * FROM read_csv($file)", {"file": str(tmp_path / "secret.csv")})
    with pytest.raises(Exception, match=r"(?i)lock"):
        database.rows("SET enable_external_access = true")


def test_problems_are_compared_by_their_share_of_right_samples(database: Database, run: RunView) -> None:
    sides = sides_of(run)
    assert [side.role for side in sides] == ["teacher", "student_before", "student_after"]
    found = list_problems(database, sides, parse_table({"split": "test"}, sorts=SORTS), pair=(1, 2))
    assert [(row["prompt_id"], row["change"]) for row in found.rows] == [
        ("test0", 0.5), ("test1", 0.5), ("test2", -0.5), ("test3", 0.0),
    ]  # fmt: skip
    assert found.counts == {"gained": 2, "lost": 1, "same": 1}
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(0.125)
    assert (found.rows[0]["correct_1"], found.rows[0]["counted_1"]) == (1, 2)
    gained = list_problems(
        database, sides, parse_table({"change": "gained", "sort": "-change"}, sorts=SORTS), pair=(1, 2)
    )
    assert [row["prompt_id"] for row in gained.rows] == ["test0", "test1"]
    # The figures are of the split, whichever of its problems are shown.
    assert gained.counts["lost"] == 1
    assert gained.splits == ["test", "longer"]


def test_problems_have_neighbours_among_those_that_are_shown(database: Database, run: RunView) -> None:
    sides = sides_of(run)
    for given, expected in (
        ({"split": "test"}, {"previous": "test0", "next": "test2"}),
        ({"change": "gained", "sort": "-task"}, {"next": "test0"}),
        ({"q": "test1: solve"}, {}),
    ):
        assert neighbours(database, sides, parse_table(given, sorts=SORTS), "test1", pair=(1, 2)) == expected


def test_problems_of_one_side_only_are_counted_apart(tmp_path: Path, run: RunView) -> None:
    other = RunList([make_ui_run(tmp_path / "fewer", after=("++", "++")).uri]).find("fewer")
    after = [side for view in (run, other) for side in sides_of(view) if side.role == "student_after"]
    query = parse_table({"split": "test"}, sorts=SORTS)
    found = list_problems(Database([run.path, other.path]), after, query, pair=(0, 1))
    assert found.unpaired == 2
    assert found.gain is not None
    assert found.gain.num_problems == 2


@pytest.mark.parametrize("given", [{"sort": "file"}, {"page": "1.5"}, {"page": "-1"}, {"page": "x"}, {"page": "1e99"}])
def test_a_parameter_that_says_nothing_is_named(given: dict[str, str]) -> None:
    (name,) = given
    with pytest.raises(BadQueryError, match=name):
        parse_samples(given)


def test_addresses_hold_the_whole_state() -> None:
    query = parse_samples({"verdict": "wrong", "page": "3", "sort": "-stability", "flag": ""})
    assert query.address(page=4) == "verdict=wrong&page=4&sort=-stability"
    assert query.address(verdict=None, q="a b") == "sort=-stability&q=a+b"
    assert query.sorted_by("stability") == "verdict=wrong&sort=stability"
    assert query.sorted_by("num_tokens") == "verdict=wrong&sort=-num_tokens"
