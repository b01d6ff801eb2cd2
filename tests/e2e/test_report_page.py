"""The report in a real browser: its contents, no external requests, and a layout that fits a phone."""

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stillery.metrics import summarize
from stillery.report import Evaluation, render
from support.report_runs import AFTER, make_evaluation, make_report
from support.score_rows import make_scores

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


@dataclass
class Site:
    """A web server with a single page; `asked` are the requested paths."""

    address: str
    page: str = ""
    asked: list[str] = field(default_factory=list[str])


@pytest.fixture
def site() -> Generator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(held.page.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield held
    server.shutdown()
    server.server_close()
    thread.join()


def _dump(address: str, *, profile: Path) -> str:
    """The document as the browser holds it once `address` has loaded."""
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def _hostile_page(address: str) -> str:
    """A report on completions that would rename the page, load from `address` and burst the layout."""
    attack = f"document.title='owned';fetch('{address}/fetched')"
    hostile = f'<script>{attack}</script><img src="{address}/image" onerror="{attack}">' + "a" * 3000
    scores = list(make_evaluation(AFTER).scores)
    scores += make_scores("hostile", "----", completion=hostile, question=hostile, predicted=hostile)
    return render(make_report(after=Evaluation(scores, summarize(scores, ks=[1, 4])), before=None, num_traces=9))


def test_the_browser_shows_the_headline_numbers(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(make_report()))
    text = html.unescape(re.sub(r"<[^>]+>", "", _dump(page.as_uri(), profile=tmp_path / "profile")))
    # As a browser sets it: any white space is a blank.
    shown = " ".join(text.split())
    assert "The student went from 12.5% ± 12.5 to 75.0% ± 25.0 pass@1 on 2 test problems" in shown
    assert "stillery-student version 3" in shown


def test_hostile_completions_neither_run_nor_load(site: Site, tmp_path: Path) -> None:
    site.page = _hostile_page(site.address)
    dom = _dump(f"{site.address}/report.html", profile=tmp_path / "profile")
    assert "<title>demo: distillation report</title>" in dom
    assert "document.title='owned'" in dom
    assert site.asked == ["/report.html"]


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_is_no_wider_than_the_screen(tmp_path: Path, width: int) -> None:
    # The report has no script of its own, so a frame around it measures it, with all its details open.
    report = html.escape(_hostile_page("http://127.0.0.1:9"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe width="{width}" height="800" style="border:0" srcdoc="{report}"></iframe>'
        "<script>onload = () => {"
        "const page = document.querySelector('iframe').contentDocument;"
        "page.querySelectorAll('details').forEach(d => d.open = true);"
        "document.title = JSON.stringify([page.documentElement.scrollWidth, page.querySelectorAll('h2').length]);"
        "}</script>"
    )
    title = re.search(r"<title>(.*?)</title>", _dump(frame.as_uri(), profile=tmp_path / "profile"))
    assert title is not None
    assert json.loads(title.group(1)) == [width, 7]
