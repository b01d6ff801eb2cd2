"""The runner of `make gpu-check`: paths that prove, fail, crash, hang or lack a package, and their outcomes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu_check.__main__ import PATHS, main
from benchmarks.gpu_check.evidence import NotShownError, demand, fall_of
from benchmarks.gpu_check.runner import ROOT, CheckPath, Outcome, exit_code, run_path

# Written to a module of its own: a path runs in another process.
SCRIPTED = """
import os, signal, subprocess, sys, time
from benchmarks.gpu_check.evidence import demand

def proves(device):
    print("on", device)
    return {"difference": 1.5e-7, "steps": 3, "answer": "no"}

def shows_nothing(device):
    demand(1 > 2, "1 is not above 2")

def raises(device):
    raise ValueError("the first line\\nthe second")

def needs_a_package(device):
    import a_package_that_nobody_has.part

def needs_a_module_of_another_version(device):
    import json.a_module_that_json_lacks

def crashes(device):
    os.kill(os.getpid(), signal.SIGSEGV)

def leaves(device):
    os._exit(3)

def hangs(device):
    try:
        time.sleep(600)
    finally:
        print("cleaned up", flush=True)

def hangs_for_good(device):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)

def leaves_a_process(device):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return {"pid": process.pid}
"""


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scripted_paths.py").write_text(SCRIPTED, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def run(function: str, logs: Path, *, device: str = "cuda", timeout_s: float = 60, grace_s: float = 20) -> Outcome:
    path = CheckPath(function, f"scripted_paths:{function}", ("json",))
    return run_path(path, device=device, timeout_s=timeout_s, logs=logs, grace_s=grace_s)


def test_a_path_that_proves_hands_back_its_figures(scripted: Path) -> None:
    outcome = run("proves", scripted)
    assert (outcome.state, outcome.detail) == ("proven", "")
    assert outcome.figures == {"difference": 1.5e-7, "steps": 3, "answer": "no"}
    assert outcome.line().startswith("proves     proven")
    assert outcome.line().endswith(" s  difference 1.5e-07, steps 3, answer no")
    assert (scripted / "proves.log").read_text() == "on cuda\n"


def test_on_the_cpu_nothing_is_proven(scripted: Path) -> None:
    assert run("proves", scripted, device="cpu").state == "rehearsed"
    assert run("raises", scripted, device="cpu").state == "failed"


@pytest.mark.parametrize(
    ("function", "reason", "logged"),
    [
        ("raises", "ValueError: the first line", "the second"),
        ("shows_nothing", "1 is not above 2", "NotShownError"),
        ("needs_a_module_of_another_version", "ModuleNotFoundError: No module named 'json.a_module", "Traceback"),
        ("crashes", "its process was killed by SIGSEGV", ""),
        ("leaves", "its process ended with code 3 and no report", ""),
        ("that_is_not_there", "AttributeError: module 'scripted_paths' has no attribute", "Traceback"),
    ],
)
def test_a_failure_says_why_in_one_line_and_the_log_the_rest(
    function: str, reason: str, logged: str, scripted: Path
) -> None:
    outcome = run(function, scripted)
    assert outcome.state == "failed"
    assert outcome.detail.startswith(reason)
    assert "\n" not in outcome.line()
    log = scripted / f"{function}.log"
    assert outcome.line().endswith(f"(log: {log})")
    assert logged in log.read_text()


def test_a_report_of_an_earlier_run_is_not_taken_for_this_one(scripted: Path) -> None:
    run("proves", scripted)
    (scripted / "proves.json").rename(scripted / "crashes.json")
    assert run("crashes", scripted).state == "failed"


def test_a_package_that_is_not_there_is_missing_and_no_failure(scripted: Path) -> None:
    declared = run_path(
        CheckPath("none", "scripted_paths:raises", ("json", "a_package_that_nobody_has")),
        device="cuda", timeout_s=60, logs=scripted,
    )  # fmt: skip
    assert declared.line() == "none       missing: a_package_that_nobody_has"
    assert not (scripted / "none.log").exists()
    found_out = run("needs_a_package", scripted)
    assert (found_out.state, found_out.detail) == ("missing", "a_package_that_nobody_has")


def test_a_path_that_hangs_is_stopped_and_its_log_says_where(scripted: Path) -> None:
    outcome = run("hangs", scripted, timeout_s=1)
    assert (outcome.state, outcome.detail) == ("failed", "still running after 1 s")
    assert outcome.seconds < 15
    log = (scripted / "hangs.log").read_text()
    assert "scripted_paths.py" in log
    assert "in hangs" in log
    assert "cleaned up" in log


def test_a_path_that_does_not_leave_when_asked_is_killed(scripted: Path) -> None:
    outcome = run("hangs_for_good", scripted, timeout_s=1, grace_s=1)
    assert outcome.state == "failed"
    assert outcome.seconds < 15


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks /proc")
def test_what_a_path_leaves_running_ends_with_it(scripted: Path) -> None:
    outcome = run("leaves_a_process", scripted)
    assert outcome.state == "proven"
    status = Path(f"/proc/{outcome.figures['pid']}/status")
    until = time.monotonic() + 10
    while status.exists() and "State:\tZ" not in status.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    assert not status.exists() or "State:\tZ" in status.read_text()


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["proven", "proven"], 0),
        (["proven", "missing"], 0),
        (["missing", "missing"], 2),
        (["missing", "failed"], 1),
        (["proven", "failed", "missing"], 1),
        (["rehearsed"], 0),
    ],
)
def test_exit_codes(states: list[str], code: int) -> None:
    assert exit_code([Outcome("a", state) for state in states]) == code


def scripted_paths(*functions: str) -> list[CheckPath]:
    return [CheckPath(f, f"scripted_paths:{f}", ("json",)) for f in functions]


def test_one_path_that_breaks_does_not_end_the_rest(scripted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = scripted_paths("crashes", "needs_a_package", "proves")
    arguments = ["--logs", str(scripted / "logs"), "--json", str(scripted / "out.json")]
    assert main(arguments, paths=paths, probe=lambda: "a GPU") == 1
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.startswith("a GPU; ")
    assert [line.split()[0] for line in lines] == ["crashes", "needs_a_package", "proves"]
    document = json.loads((scripted / "out.json").read_text())
    assert document["device"] == "a GPU"
    assert [path["state"] for path in document["paths"]] == ["failed", "missing", "proven"]


def test_only_the_chosen_paths_run(scripted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--only", "proves", "--logs", str(scripted)]
    assert main(arguments, paths=scripted_paths("raises", "proves"), probe=lambda: "a GPU") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(SystemExit):
        main(["--only", "sing"], paths=scripted_paths("proves"), probe=lambda: "a GPU")


def test_without_a_device_or_any_package_there_is_nothing_to_say(
    scripted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--logs", str(scripted)], paths=scripted_paths("proves"), probe=lambda: None) == 2
    assert "no CUDA device" in capsys.readouterr().out
    assert main(["--logs", str(scripted)], paths=scripted_paths("needs_a_package"), probe=lambda: "a GPU") == 2
    assert "every path lacks a package" in capsys.readouterr().out


def test_a_rehearsal_needs_no_device_and_says_what_it_is(scripted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rehearse", "--logs", str(scripted)]
    assert main(arguments, paths=scripted_paths("proves"), probe=lambda: None) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert "proves nothing" in header
    assert "rehearsed" in line
    assert (scripted / "proves.log").read_text() == "on cpu\n"


@pytest.mark.slow
def test_every_path_is_there_and_its_module_imports_nothing_heavy(tmp_path: Path) -> None:
    """A package that is not there is then met inside the path, which says so."""
    targets = [path.target.split(":") for path in PATHS]
    code = (
        f"import importlib, sys; sys.path[:0] = {[str(ROOT / 'platform'), str(ROOT / 'tests')]};"
        f"found = [callable(getattr(importlib.import_module(m), f)) for m, f in {targets}];"
        "print(all(found), sorted({'torch', 'vllm', 'ray', 'trl', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_a_fall_is_measured_from_first_to_last_quarter() -> None:
    assert fall_of([4.0, 4, 3, 3, 3, 3, 1, 1]) == pytest.approx(0.75)
    with pytest.raises(NotShownError, match="only 7"):
        fall_of([1.0] * 7)


def test_demands_that_hold_pass() -> None:
    demand(True, "never said")
    with pytest.raises(NotShownError, match="said"):
        demand(False, "said")
