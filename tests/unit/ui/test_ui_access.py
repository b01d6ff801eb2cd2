"""Access: loopback without keys, keys everywhere else, and no way around either."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stillery.cli.main import main
from stillery.cli.ui import serve_runs
from stillery.errors import UserError
from stillery.serving.gateway.keys import add_key, revoke_key
from stillery.ui.app import make_app
from stillery.ui.runs import RunList
from stillery.ui.sessions import COOKIE
from support.ui_runs import make_ui_run

HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_ui_run(tmp_path_factory.mktemp("runs") / "adder", until="prompts").uri


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@pytest.fixture
def key(keys: Path) -> str:
    return add_key(keys, "ann")


@pytest.fixture
def client(run: str, keys: Path, key: str) -> Iterator[TestClient]:
    app = make_app(RunList([run]), key_file=str(keys))
    with TestClient(app, base_url="http://example.org", follow_redirects=False) as client:
        yield client


def test_without_a_key_a_person_is_asked_for_it_and_a_program_refused(client: TestClient) -> None:
    answer = client.get("/runs/adder?samples=x", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/runs/adder%3Fsamples%3Dx")
    assert client.get("/runs/adder").status_code == 401
    assert client.get("/login").status_code == 200
    assert client.get("/static/ui.css").status_code == 200


def test_a_key_opens_a_session_that_scripts_cannot_read(client: TestClient, key: str) -> None:
    opened = client.get("/session", headers={"authorization": f"Bearer {key}"})
    assert opened.status_code == 204
    assert opened.headers["set-cookie"] == f"{COOKIE}={key}; Path=/; HttpOnly; SameSite=Strict"
    assert client.get("/runs/adder", headers=HTML).status_code == 200


def test_a_wrong_key_opens_nothing_and_sets_no_cookie(client: TestClient) -> None:
    for wrong in ("stl_0123456789ab_" + "x" * 43, "x", "stl_0123456789ab_" + "x" * 43 + "; Path=/"):
        refused = client.get("/session", headers={"authorization": f"Bearer {wrong}"})
        assert refused.status_code == 401
        assert "set-cookie" not in refused.headers
    client.cookies.set(COOKIE, "stl_0123456789ab_" + "x" * 43)
    assert client.get("/runs/adder", headers=HTML).status_code == 303


def test_a_key_for_metrics_alone_opens_no_page(client: TestClient, keys: Path) -> None:
    metrics = add_key(keys, "prometheus", scope="metrics")
    assert client.get("/runs/adder", headers={"authorization": f"Bearer {metrics}"}).status_code in (401, 403)


def test_a_revoked_key_opens_no_session(run: str, keys: Path, key: str) -> None:
    revoke_key(keys, "ann")
    with TestClient(make_app(RunList([run]), key_file=str(keys)), follow_redirects=False) as client:
        client.cookies.set(COOKIE, key)
        assert client.get("/runs/adder", headers=HTML).status_code == 303


def test_without_keys_no_other_name_leads_here(run: str) -> None:
    app = make_app(RunList([run]))
    for host in ("127.0.0.1", "localhost:8400", "[::1]:8400"):
        assert TestClient(app, base_url=f"http://{host}").get("/").status_code == 200
    # What a page elsewhere would send whose name has been pointed at this machine.
    assert TestClient(app, base_url="http://evil.example").get("/").status_code == 400


def test_another_address_than_loopback_needs_a_key(run: str, keys: Path) -> None:
    with pytest.raises(UserError, match=r"but --keys is unset; make a key with `stillery serve keys add"):
        serve_runs([run], host="0.0.0.0", port=0, key_file=None, open_browser=False)
    keys.touch()
    with pytest.raises(UserError, match="holds no active key"):
        serve_runs([run], host="0.0.0.0", port=0, key_file=str(keys), open_browser=False)


def test_what_cannot_be_served_is_said_before_anything_starts(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", str(tmp_path / "nowhere")]) == 2
    assert "no run" in capsys.readouterr().err
    assert main(["ui", "--host", "0.0.0.0", run]) == 2
    assert main(["ui", "--port", "70000", run]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_runs_of_one_name_have_addresses_of_their_own(tmp_path: Path) -> None:
    folders = [make_ui_run(tmp_path / where / "adder", until="prompts").uri for where in ("one", "two")]
    with TestClient(make_app(RunList(folders)), base_url="http://127.0.0.1") as client:
        page = client.get("/").text
        assert sorted(re.findall(r'href="/runs/([^"]+)"', page)) == ["adder", "adder-2"]
        assert str(tmp_path / "two" / "adder") in client.get("/runs/adder-2").text
