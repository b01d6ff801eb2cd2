"""API keys: the file, the check, and the command line."""

import json
import os
import stat
import time
from pathlib import Path

import pytest

from stillery.cli.main import main
from stillery.errors import UserError
from stillery.serving.gateway import GatewaySettings, check_binding
from stillery.serving.gateway.errors import ApiError
from stillery.serving.gateway.keyring import Keyring
from stillery.serving.gateway.keys import add_key, find_key, read_keys, revoke_key
from support.gateway_app import build, chat_body, check_error


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_key_opens_its_own_record_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    first, second = add_key(path, "first"), add_key(path, "second")
    records = read_keys(path)
    assert find_key(first, records).name == "first"
    assert find_key(second, records).name == "second"
    # One key's id with another's secret, a cut key, a key with something behind it, nothing.
    mixed = "_".join([*first.split("_", 2)[:2], second.split("_", 2)[2]])
    for wrong in (mixed, first[:-1], first + "x", "stl_", "", "Bearer " + first):
        assert find_key(wrong, records) is None


def test_the_file_holds_no_key_and_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    key = add_key(path, "phone")
    secret = key.split("_", 2)[2]
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    add_key(path, "tablet")
    one, two = (json.loads(line) for line in path.read_text().splitlines())
    assert one["salt"] != two["salt"]
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


@pytest.mark.parametrize("name", ["", "a b", "../x", "a\nb", "x" * 65, "-x"])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="key name"):
        add_key(tmp_path / "keys.jsonl", name)


def test_names_are_unique_among_active_keys_and_free_after_revocation(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    old = add_key(path, "phone")
    with pytest.raises(UserError, match="active key named phone"):
        add_key(path, "phone")
    revoke_key(path, "phone")
    new = add_key(path, "phone")
    records = read_keys(path)
    assert find_key(old, records).state(time.time()) == "revoked"
    assert find_key(new, records).state(time.time()) == "active"
    revoke_key(path, "phone")
    with pytest.raises(UserError, match="no key 'phone' to revoke"):
        revoke_key(path, "phone")


def test_revoking_a_name_takes_the_active_key_before_an_expired_one(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    add_key(path, "phone", lifetime_s=1e-9)
    active = add_key(path, "phone")
    revoke_key(path, "phone")
    assert find_key(active, read_keys(path)).revoked_at is not None


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id": 1}', '{"id": "a", "unknown": 1}', "[" * 5000, '"text"', "null", "{}"]
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys.jsonl"
    add_key(path, "phone")
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match="line 2"):
        read_keys(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires_at", float("nan")),
        ("expires_at", "soon"),
        ("scope", "all"),
        ("sha256", ""),
        ("name", "a\nb"),
        ("id", 3),
    ],
)
def test_a_wrong_value_is_refused(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "keys.jsonl"
    add_key(path, "phone")
    record = json.loads(path.read_text()) | {field: value}
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(UserError, match="line 1"):
        read_keys(path)


def request(key: str) -> dict[str, object]:
    return {"headers": [(b"authorization", f"Bearer {key}".encode())]}


def test_the_keyring_follows_the_file(tmp_path: Path) -> None:
    path, now = tmp_path / "keys.jsonl", [1000.0]
    key = add_key(path, "phone")
    ring = Keyring(path, clock=lambda: now[0])
    assert ring.check(request(key), "api") == "phone"
    revoke_key(path, "phone")
    later = add_key(path, "tablet")
    now[0] += 2
    with pytest.raises(ApiError, match="revoked"):
        ring.check(request(key), "api")
    assert ring.check(request(later), "api") == "tablet"


def test_a_broken_file_leaves_the_good_keys_and_a_removed_one_leaves_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, now = tmp_path / "keys.jsonl", [1000.0]
    key = add_key(path, "phone")
    good = path.read_text()
    ring = Keyring(path, clock=lambda: now[0])
    path.write_text(good + "{")
    now[0] += 2
    assert ring.check(request(key), "api") == "phone"
    assert "line 2" in caplog.text
    path.unlink()
    now[0] += 2
    with pytest.raises(ApiError, match="Incorrect"):
        ring.check(request(key), "api")
    path.write_text(good)
    now[0] += 2
    assert ring.check(request(key), "api") == "phone"


def test_a_key_expires_while_the_endpoint_runs(tmp_path: Path) -> None:
    path, now = tmp_path / "keys.jsonl", [time.time()]
    key = add_key(path, "phone", lifetime_s=60)
    ring = Keyring(path, clock=lambda: now[0])
    assert ring.check(request(key), "api") == "phone"
    now[0] += 61
    with pytest.raises(ApiError, match="expired"):
        ring.check(request(key), "api")


def test_requests_without_a_good_key_get_401(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    key = add_key(path, "phone")
    house = build(tmp_path, key_file=str(path))
    body = {"json": chat_body()}
    bad_headers = [{}, bearer("stl_x"), {"Authorization": "Basic abc"}, {"Authorization": "Bearer"}, bearer("é")]
    raw = [{key: value.encode("latin-1") for key, value in headers.items()} for headers in bad_headers]
    refused = house.ask_all([("POST", "/v1/chat/completions", {**body, "headers": headers}) for headers in raw])
    for response in refused:
        assert check_error(response, 401)["type"] == "authentication_error"
        assert response.headers["www-authenticate"] == "Bearer"
    two = [("Authorization", f"Bearer {key}"), ("Authorization", "Bearer other")]
    check_error(house.ask(headers=two, **body), 401)
    assert house.seen.headers == []
    assert house.ask(headers=bearer(key), **body).status_code == 200
    assert house.seen.keys == ["phone"]
    # The key goes no further than the gateway.
    assert "authorization" not in house.seen.headers[0]
    assert key not in house.log.read_text()


def test_open_paths_need_no_key_and_tricks_do_not_open_others(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    add_key(path, "phone")
    house = build(tmp_path, key_file=str(path))
    assert house.ask("GET", "/health").status_code == 200
    assert house.ask("GET", "/").status_code == 200
    check_error(house.ask("POST", "/"), 401)
    for trick in (
        "/health/../v1/models/student",
        "//v1/models/student",
        "/health%2f..%2fv1%2fmodels/x",
        "/v1/models/x",
    ):
        assert house.ask("GET", f"http://gateway{trick}").status_code in (400, 401)


def test_an_endpoint_does_not_start_with_a_missing_or_broken_key_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    with pytest.raises(UserError, match="does not exist"):
        build(tmp_path, key_file=str(path))
    path.write_text("{")
    with pytest.raises(UserError, match="line 1"):
        build(tmp_path, key_file=str(path))


def test_a_metrics_key_opens_metrics_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    key, scraper = add_key(path, "phone"), add_key(path, "prometheus", scope="metrics")
    house = build(tmp_path, key_file=str(path))
    check_error(house.ask("GET", "/metrics"), 401)
    check_error(house.ask("GET", "/metrics", headers=bearer(key)), 403)
    assert house.ask("GET", "/metrics", headers=bearer(scraper)).status_code == 200
    check_error(house.ask(headers=bearer(scraper), json=chat_body()), 403)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org", "", "localhost.example.org"])
def test_binding_wider_than_loopback_needs_an_active_key(tmp_path: Path, host: str) -> None:
    path = tmp_path / "keys.jsonl"
    with pytest.raises(UserError, match=r"gateway\.key_file is unset"):
        check_binding(host, GatewaySettings())
    settings = GatewaySettings(key_file=str(path))
    with pytest.raises(UserError, match="does not exist"):
        check_binding(host, settings)
    add_key(path, "scraper", scope="metrics")
    add_key(path, "gone")
    revoke_key(path, "gone")
    with pytest.raises(UserError, match="no active key"):
        check_binding(host, settings)
    add_key(path, "phone")
    check_binding(host, settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_loopback_needs_no_key(host: str) -> None:
    check_binding(host, GatewaySettings())


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.jsonl"
    assert main(["serve", "keys", "add", "phone", "--days", "2", "--file", str(path)]) == 0
    key = capsys.readouterr().out.strip()
    record = find_key(key, read_keys(path))
    assert record is not None
    assert record.expires_at == pytest.approx(time.time() + 2 * 86400, abs=60)
    assert main(["serve", "keys", "list", "--file", str(path)]) == 0
    listed = capsys.readouterr().out
    assert "phone" in listed
    assert "active" in listed
    assert key not in listed
    assert main(["serve", "keys", "revoke", record.id, "--file", str(path)]) == 0
    assert "revoked phone" in capsys.readouterr().out
    assert main(["serve", "keys", "revoke", "phone", "--file", str(path)]) == 2
    assert main(["serve", "keys", "list", "--file", str(tmp_path / "none")]) == 2
    assert main(["serve", "keys", "add", "x", "--days", "0", "--file", str(path)]) == 2
    assert main(["serve", "keys", "add", "x", "--file", str(tmp_path / "no" / "keys")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_two_writers_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    children = []
    for child in range(3):
        pid = os.fork()
        if pid == 0:
            # However it ends, the child must not go on with pytest.
            try:
                for index in range(5):
                    add_key(path, f"key-{child}-{index}")
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    assert len(read_keys(path)) == 15
