import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stillery.bonds.draw.page import molecule_page
from stillery.records import Atom, Bond, BondKind, Claim, Molecule

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--<script> ]]> \u2028\ud800 &amp; \"'"


def make_molecule(texts: Sequence[str], *, energies: Sequence[float] = ()) -> Molecule:
    """A chain of steps in which the second is false and corrected by the third, and the last false for good."""
    atoms = [Atom(i, i + 1, text, "line", [], False) for i, text in enumerate(texts)]
    atoms[1] = Atom(1, 2, texts[1], "line", [Claim(1, 2, texts[1], "arithmetic", False, 2)], False)
    atoms[-1] = Atom(9, 10, texts[-1], "line", [Claim(9, 10, texts[-1], "arithmetic", False, None)], True)
    kinds = list(BondKind)
    bonds = [Bond(i, i + 1, kinds[i % 3], 0.9 - 0.2 * (i % 3), "claims", texts[i]) for i in range(len(texts) - 1)]
    return Molecule("sample", atoms, bonds, 1.0, 0.5, 2.0, list(energies))


class Page(HTMLParser):
    """The tags with their attributes, and the text of each script, as a browser would take them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.in_script = True
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_script = self.in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self.in_script:
            self.scripts[-1] += data

    @property
    def data(self) -> list[dict[str, object]]:
        return json.loads(self.scripts[0])


def test_texts_of_the_trace_arrive_whole_and_end_nothing() -> None:
    page = molecule_page([(HOSTILE, make_molecule([HOSTILE] * 4))], title=HOSTILE, question="<b>?")
    parsed = Page(page)
    assert [tag for tag, _ in parsed.tags if tag in ("script", "img", "b")] == ["script", "script"]
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    (molecule,) = parsed.data
    # But for half a surrogate pair, which UTF-8 cannot hold.
    whole = HOSTILE.replace("\ud800", "?")
    assert molecule["name"] == whole
    assert [atom["text"] for atom in molecule["atoms"]] == [whole] * 4  # type: ignore[index, union-attr]
    assert molecule["bonds"][0]["evidence"] == whole  # type: ignore[index]


def test_the_page_loads_nothing_and_runs_one_script() -> None:
    page = molecule_page([("a", make_molecule(["x", "y", "z"]))])
    parsed = Page(page)
    policy = next(a["content"] or "" for tag, a in parsed.tags if tag == "meta" and "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    links = [value for _, attributes in parsed.tags for name, value in attributes.items() if name in ("src", "href")]
    assert links == ["data:,"]
    assert not re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    assert "innerHTML" not in parsed.scripts[1]


def test_conflicts_and_energies_are_told() -> None:
    (molecule,) = Page(molecule_page([("a", make_molecule(["x", "y", "z"], energies=[1.5, float("inf")]))])).data
    assert [atom["state"] for atom in molecule["atoms"]] == ["plain", "corrected", "false"]  # type: ignore[index, union-attr]
    assert [atom["inserted"] for atom in molecule["atoms"]] == [False, False, True]  # type: ignore[index, union-attr]
    assert [bond["energy"] for bond in molecule["bonds"]] == [1.5, None]  # type: ignore[index, union-attr]


def test_other_numbers_of_molecules_are_refused() -> None:
    whole = make_molecule(["x", "y", "z"])
    for pairs in ([], [("a", whole)] * 3):
        with pytest.raises(ValueError, match="one molecule, or two"):
            molecule_page(pairs)
    with pytest.raises(ValueError, match="'empty' has no atoms"):
        molecule_page([("a", whole), ("empty", Molecule("s", [], [], 0.0, 0.0, 0.0, []))])


def in_browser(page: str, folder: Path, *, actions: str = "") -> str:
    """The page's elements once its script has run in Chromium; `actions` is a script of the test's that runs after it.

    With actions the security policy, which would not let them run, is taken out.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium or Chrome on PATH")
    if actions:
        page = re.sub(r"<meta http-equiv=[^>]*>", "", page).replace("</body>", f"<script>{actions}</script></body>")
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
    options += "--disable-component-update --window-size=1200,900 --virtual-time-budget=2000 --dump-dom"
    command = [browser, *options.split(), f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


@pytest.mark.slow
def test_the_script_draws_both_molecules_under_its_policy(tmp_path: Path) -> None:
    hostile = make_molecule([HOSTILE] * 15)
    long = make_molecule([f"step {i}" for i in range(400)])
    shown = in_browser(molecule_page([("Teacher", hostile), ("Student", long)]), tmp_path)
    tags = Page(shown).tags
    classes = [attributes.get("class") or "" for _, attributes in tags]
    assert sum(c.startswith("bond ") for c in classes) == 14 + 399
    assert sum(c.startswith("atom ") for c in classes) == 15 + 400
    assert sum("false" in c.split() for c in classes if c.startswith("atom ")) == 2
    assert classes.count("correction") == 2
    assert not any(tag == "img" for tag, _ in tags)
    assert sum(tag == "li" for tag, _ in tags) == 15 + 400


def test_keys_step_through_the_trace_and_filter(tmp_path: Path) -> None:
    keys = "".join(
        f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}));"
        for key in ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "1"]
    )
    shown = in_browser(molecule_page([("a", make_molecule(["one", "two", "three", "four"]))]), tmp_path, actions=keys)
    assert "Step 2 of 4" in shown
    assert "false, corrected by step 3: two" in shown
    panel = shown[shown.index('class="panel"') : shown.index('class="trace"')]
    # Step 2 rests on step 1 by strong logic, which the key 1 has hidden, and step 3 checks it.
    assert "Step 3: reflection" in panel
    assert "Step 1: strong logic" not in panel
    hidden = re.findall(r'class="bond kind-(\d)[^"]*later', shown)
    assert hidden == ["0"]


def test_a_bond_under_the_pointer_shows_its_evidence(tmp_path: Path) -> None:
    hover = """
      const stage = document.querySelector(".stage"), box = stage.getBoundingClientRect();
      const arc = document.querySelector(".bond.kind-1"), at = arc.getPointAtLength(arc.getTotalLength() / 2);
      stage.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + at.x, clientY: box.top + at.y + 2}));
    """
    shown = in_browser(molecule_page([("a", make_molecule(["one", "<i>two", "three"]))]), tmp_path, actions=hover)
    tip = shown[shown.index('class="tip kind-1"') :]
    assert tip.index("2 → 3 · reflection, verification · 0.70") < tip.index("&lt;i&gt;two")


@pytest.mark.slow
def test_the_graph_shows_the_same_bonds_and_its_evidence(tmp_path: Path) -> None:
    turn = """
      const places = () => [...document.querySelectorAll("circle.atom")].map((c) => c.getAttribute("cy")).join();
      const before = places();
      [...document.querySelectorAll("button")].find((b) => b.textContent === "Graph").click();
      document.body.dataset.moved = String(places() !== before);
      const stage = document.querySelector(".stage"), box = stage.getBoundingClientRect();
      const bond = document.querySelector(".bond.kind-1"), at = bond.getPointAtLength(bond.getTotalLength() / 2);
      stage.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + at.x, clientY: box.top + at.y + 2}));
    """
    page = molecule_page([("a", make_molecule(["one", "two", "three", "four", "five"]))])
    shown = in_browser(page, tmp_path, actions=turn)
    assert 'data-moved="true"' in shown
    assert len(re.findall(r'class="bond kind-\d[^"]*" d="M[\d.]+ [\d.]+Q', shown)) == 4
    tip = shown[shown.index('class="tip kind-1"') :]
    assert "2 → 3 · reflection, verification · 0.70" in tip


@pytest.mark.slow
def test_the_page_can_open_with_the_graph(tmp_path: Path) -> None:
    shown = in_browser(molecule_page([("a", make_molecule(["x", "y", "z"]))], layout="force"), tmp_path)
    assert len(re.findall(r'class="bond kind-\d" d="M[\d.]+ [\d.]+Q', shown)) == 2
