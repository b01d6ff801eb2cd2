"""Every page of `stillery ui` over small runs: its contents, its escaping, and its messages about missing data."""

import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stillery.ui.app import POLICY, make_app
from stillery.ui.runs import RunList
from support.ui_runs import HOSTILE, NUM_PROBLEMS, make_ui_run

PAGES = (
    "/",
    "/runs/adder",
    "/runs/adder/samples",
    "/runs/adder/samples?verdict=wrong&sort=-stability&q=problem&page=1",
    "/runs/adder/samples/p01s2",
    "/runs/adder/samples/p01s3?verdict=wrong",
    "/runs/adder/samples/p01s0/molecule",
    "/runs/adder/samples/p01s0/molecule.svg",
    "/runs/adder/problems",
    "/runs/adder/problems?split=test&change=gained&sort=-change",
    "/runs/adder/problems/test0?i=1",
    "/runs/adder/problems/hostile",
    "/runs/adder/problems/test0/student_after/1/molecule.svg",
    "/runs/adder/report",
    "/compare",
    "/compare?a=adder:student_after&b=better:student_after",
    "/compare/test1?a=adder:student_after&b=better:student_after",
    "/login",
    "/static/ui.js",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: a complete one, one with another student, and one with only its problems."""
    root = tmp_path_factory.mktemp("runs")
    make_ui_run(root / "adder")
    make_ui_run(root / "better", after=("++", "++", "++", "+-"))
    make_ui_run(root / "early", until="prompts")
    make_ui_run(root / "ungraded", until="generate")
    return root


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    runs = RunList([str(root / name) for name in ("adder", "better", "early", "ungraded")])
    with TestClient(make_app(runs), base_url="http://127.0.0.1") as client:
        yield client


class Shape(HTMLParser):
    """The elements of a page: which there are, and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_page_answers_under_a_policy_and_loads_nothing_from_elsewhere(client: TestClient, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", answer.text)


@pytest.mark.parametrize(
    "page",
    [
        "/runs/adder/samples/p01s3",
        "/runs/adder/problems/hostile",
        "/runs/adder/problems",
        "/runs/adder/samples?q=<script>",
    ],
)
def test_what_a_model_wrote_is_text_and_never_markup(client: TestClient, page: str) -> None:
    answer = client.get(page)
    assert answer.headers["content-security-policy"] == POLICY
    shape = Shape(answer.text)
    assert shape.tags.count("script") == 1
    assert "style" not in shape.tags
    assert {value for tag, name, value in shape.attributes if (tag, name) == ("script", "src")} == {"/static/ui.js"}
    assert not [name for _, name, _ in shape.attributes if name.startswith("on") or name == "style"]
    assert not [value for tag, name, value in shape.attributes if tag == "img" and name == "src" and value == "x"]
    if "samples/" in page:
        assert "document.title=&#39;owned&#39;" in answer.text
        assert "{{ 7*7 }}" in answer.text


def test_a_sample_shows_its_trace_its_verdict_its_siblings_and_its_way(client: TestClient) -> None:
    page = client.get("/runs/adder/samples/p01s2").text
    assert '<mark class="false" title="arithmetic: false">7 + 9 = 18' in page
    assert "step 2 says that 7 + 9 = 18, which is false" in page
    assert 'title="0.95: step 3 uses step 2&#39;s 18">from 2</a>' in page
    assert [f"p01s{n}" in page for n in range(4)] == [True] * 4
    assert "<strong>left out</strong> wrong" in page
    kept = client.get("/runs/adder/samples/p01s0").text
    assert "<strong>registered</strong> models:/adder/3 (champion)" in kept
    mended = client.get("/runs/adder/samples/p01s1").text
    assert "false, corrected in step 3" in mended
    assert "flag repetition: repetition: &#39;ok&#39; thrice" in mended


def test_each_bar_of_the_funnel_opens_as_many_samples_as_it_says(client: TestClient) -> None:
    page = client.get("/runs/adder").text
    bars = re.findall(
        r'<a href="(/runs/adder/samples[^"]*)"><span class="name">([^<]+)</span> <span class="number">([\d,]+)', page
    )
    assert len(bars) >= 8
    for address, name, number in bars:
        table = client.get(address.replace("&amp;", "&")).text
        assert f"{number} of {4 * NUM_PROBLEMS} samples" in table, name


def test_teacher_and_students_stand_side_by_side(client: TestClient) -> None:
    page = client.get("/runs/adder/problems/test0?i=1").text
    assert re.findall(r'<h2 id="side-\d">(.*?)</h2>', page) == ["Teacher", "Student before", "Student after"]
    assert len(re.findall(r'class="outcome (?:correct|wrong)" aria-current', page)) == 3
    assert "Not asked this problem" not in page


def test_two_runs_are_compared_problem_by_problem(client: TestClient) -> None:
    page = client.get("/compare?a=adder:student_after&b=better:student_after&split=test").text
    assert re.findall(r"<dd><a [^>]*>(\d+)</a></dd>", page) == ["3", "0", "1"]
    assert "on 4 problems that both answered" in page
    assert "+37.5 <small>points, 95% interval −2.3 to +77.3" in page


def test_what_is_missing_is_said(client: TestClient) -> None:
    early = client.get("/runs/early").text
    assert "No model has been measured in this run yet." in early
    assert "The teacher has written no samples yet." in early
    assert early.count('class="state waiting"') > 5
    assert "The teacher has written no samples yet" in client.get("/runs/early/samples").text
    assert "No model has been measured" in client.get("/runs/early/problems").text
    ungraded = client.get("/runs/ungraded/samples").text
    assert "The stage bonds did not run" in ungraded
    assert "The stage curate is not finished" in ungraded


@pytest.mark.parametrize(
    ("page", "status", "text"),
    [
        ("/runs/nowhere", 404, "There is no run nowhere here."),
        ("/runs/adder/samples/zz", 404, "The run adder has no sample zz"),
        ("/runs/early/samples/p01s0", 404, "The run early has no sample p01s0"),
        ("/runs/adder/samples?samples=zz", 404, "no finished samples zz"),
        ("/runs/adder/problems/zz", 404, "No model that is shown here was asked the problem zz."),
        ("/runs/adder/problems/test0/student_sft/0/molecule.svg", 404, "has not evaluated its student fine-tuned"),
        ("/runs/early/report", 404, "no report yet"),
        ("/compare?a=adder:judge&b=adder:teacher", 404, "has not evaluated its model judge"),
        ("/compare?a=nowhere:teacher&b=adder:teacher", 404, "There is no run nowhere here."),
        ("/runs/adder/samples?sort=rowid;DROP", 400, "sort=rowid;DROP: one of place,"),
        ("/runs/adder/samples?page=0", 400, "pages are counted from 1"),
        ("/runs/adder/samples?min_stability=low", 400, "min_stability=low: expected a number"),
        ("/runs/adder/samples?max_num_tokens=nan", 400, "expected a number"),
        ("/runs/adder/problems?change=up", 400, "change=up: one of gained, lost, same"),
        ("/static/app.py", 404, "There is no such file."),
        ("/nowhere", 404, "Not Found"),
    ],
)
def test_what_is_not_there_is_said_clearly(client: TestClient, page: str, status: int, text: str) -> None:
    answer = client.get(page)
    assert answer.status_code == status
    assert text in answer.text.replace("&#39;", "'")
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "page",
    [
        "/runs/..%2f..%2fetc/samples",
        "/runs/%2e%2e/samples",
        "/runs/adder/samples/..%2f..%2fmanifest.json",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/runs/adder/report/..%2frun.yaml",
    ],
)
def test_no_address_leads_out_of_a_run(client: TestClient, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code in (400, 404)
    assert "import" not in answer.text


def test_nothing_is_written_to_a_run(client: TestClient, root: Path) -> None:
    def contents() -> dict[str, tuple[str, int]]:
        files = [path for path in root.rglob("*") if path.is_file()]
        return {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files}

    before = contents()
    for page in PAGES:
        client.get(page)
    assert contents() == before


def test_a_table_keeps_its_filters_in_every_address(client: TestClient) -> None:
    page = client.get("/runs/adder/samples?verdict=wrong&task=coins&sort=-stability").text
    rows = re.findall(r'<th scope="row"><a href="([^"]+)"', page)
    assert len(rows) == NUM_PROBLEMS // 3 * 2
    assert all("verdict=wrong" in row and "task=coins" in row and "sort=-stability" in row for row in rows)
    sample = client.get(rows[1].replace("&amp;", "&")).text
    near = dict(re.findall(r'<a rel="(prev|next)" href="([^"]+)"', sample))
    assert near == {"prev": rows[0], "next": rows[2]}
    assert HOSTILE not in page


def test_a_broken_run_is_said_to_be_one(tmp_path: Path) -> None:
    folder = make_ui_run(tmp_path / "broken", until="verify").local
    (folder / "stages" / "verify" / "verify-1" / "manifest.json").write_text('{"inputs": {"generate": "of old"}}')
    (folder / "stages" / "generate" / "generate-1" / "generations-00001.parquet").write_bytes(b"PAR1")
    with TestClient(make_app(RunList([str(folder)])), base_url="http://127.0.0.1") as client:
        page = client.get("/runs/broken")
        assert page.status_code == 200
        assert "verify" in page.text
        table = client.get("/runs/broken/samples")
        assert table.status_code == 503
        assert "A file of this run cannot be read" in table.text
        (folder / "run.yaml").unlink()
        assert client.get("/runs/broken").status_code == 503
