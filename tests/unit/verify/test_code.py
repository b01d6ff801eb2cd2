"""Code against its tests: verdicts with evidence, limits, isolation of the code, and failures of ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillery.config import CodeConfig, VerifyConfig
from stillery.records import VerdictKind
from stillery.verify import GradingPool, GradingTask, grade
from stillery.verify.acceptance import Acceptance
from stillery.verify.code import CodeTests, run_code
from stillery.verify.grading import open_limited_pool, set_limits

SQUARES = CodeTests(asserts=("assert f(2) == 4", "assert f(3) == 9"))
PROGRAM = CodeTests(cases=(("3\n", "9\n"), ("4\n", "16\n")))
LIMITS = CodeConfig(cpu_s=1, wall_s=30, memory_mb=512, output_kb=100)
SQUARE_INPUT = "n = int(input())\nprint(n * n)"


def run(code: str, tests: CodeTests = PROGRAM, **limits: float) -> tuple[str, str]:
    fields = {"cpu_s": 1.0, "wall_s": 30.0, **limits}
    kind, detail = run_code(code, tests.to_json(), limits=CodeConfig(memory_mb=512, output_kb=100, **fields))
    return kind.value, detail


def test_what_passes_and_which_test_fails_with_what_output() -> None:
    assert run("def f(x): return x * x", SQUARES) == ("correct", "passed 2 tests")
    kind, detail = run("def f(x):\n    print('trying', x)\n    return 2 * x", SQUARES)
    assert kind == "wrong"
    assert detail.startswith("test 2 of 2: AssertionError: it gave 6; it had printed 'trying 2\\ntrying 3\\n")
    assert detail.endswith("the test is 'assert f(3) == 9'")
    assert run(SQUARE_INPUT) == ("correct", "passed 2 tests")
    assert run("print(int(input()) * 3)")[1] == "test 2 of 2: it printed '12\\n', expected '16\\n'; its input is '4\\n'"
    kind, detail = run("def f(x):\n    return x * x / (x - 3)", SQUARES)
    assert (kind, 'ZeroDivisionError: float division by zero ("solution", line 2, in f)' in detail) == ("wrong", False)
    assert "test 1 of 2: AssertionError: it gave -4.0" in detail
    assert "SyntaxError" in run("def f(x) return", SQUARES)[1]


@pytest.mark.parametrize(
    ("code", "tests", "said"),
    [
        ("def f(x):\n    while True: pass", SQUARES, "took more than 1 s of CPU time"),
        ("def f(x): return len(bytearray(10**10))", SQUARES, "MemoryError"),
        ("while True: print('x' * 10000)", PROGRAM, "File too large"),
        ("def f(x): return f(x)", SQUARES, "RecursionError"),
        ("import os\nos._exit(0)", SQUARES, "ended before its tests did"),
        ("import sys\nsys.exit(0)", SQUARES, "ended before its tests did"),
        ("import os\nwhile True: os.fork()", PROGRAM, "PermissionError"),
        ("import subprocess\nsubprocess.run(['true'])", PROGRAM, "PermissionError"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9), 1)", PROGRAM, "PermissionError"),
        ("import os\nos.kill(os.getppid(), 9)", PROGRAM, "PermissionError"),
    ],
)
def test_limits_and_what_it_cannot_reach(code: str, tests: CodeTests, said: str) -> None:
    kind, detail = run(code, tests)
    assert (kind, said in detail) == ("wrong", True), detail


def test_a_process_grades_within_the_limits_of_its_run() -> None:
    code = "```python\ndef f(x):\n    held = bytearray(200_000_000)\n    return x * x\n```"
    given: dict[str, Any] = {"answer": SQUARES.to_json(), "answer_kind": "code"}
    try:
        set_limits(deadline_s=1.5, code={"memory_mb": 128})
        assert open_limited_pool().deadline_s == 1.5
        assert grade(code, **given).verdict == VerdictKind.WRONG
        set_limits(deadline_s=1.5, code={"memory_mb": 512})
        assert grade(code, **given).verdict == VerdictKind.CORRECT
    finally:
        set_limits(deadline_s=VerifyConfig().deadline_s, code={})


def test_files_and_other_processes_are_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "x")
    assert "Read-only" in run(f"open({str(tmp_path / 'evil')!r}, 'w')")[1]
    assert run(f"open('own', 'w').write('x')\n{SQUARE_INPUT}")[0] == "correct"
    assert "SECRET" not in run("import os\nprint(os.environ)")[1]
    assert "FileNotFoundError" in run("import os\nprint(open(f'/proc/{os.getppid()}/environ').read())")[1]
    assert list(tmp_path.iterdir()) == []


def test_a_failure_of_ours_is_never_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("import time\ntime.sleep(60)", wall_s=1.0) == ("timeout", "the tests took longer than 1 s")
    kind, detail = run("import no_such_module")
    assert (kind, "'no_such_module', which is not installed" in detail) == ("unparsed", True)
    monkeypatch.setattr("sys.executable", "/bin/false")
    kind, detail = run(SQUARE_INPUT)
    assert (kind, detail) == ("error", "the sandbox ended without a word (exit status 1): ")


@pytest.fixture(scope="module")
def pool() -> Iterator[GradingPool]:
    with GradingPool(num_processes=2, code=LIMITS) as pool:
        yield pool


def test_code_is_found_in_a_completion(pool: GradingPool) -> None:
    def verdict(completion: str, finish_reason: str = "stop") -> tuple[str, str | None, list[str]]:
        job = GradingTask(completion, SQUARES.to_json(), "code", finish_reason=finish_reason, question="Square it.")
        (found,) = pool.grade_many([job])
        return found.verdict, found.detail, found.flags

    code = "def f(x):\n    return x * x"
    passed = ("correct", "passed 2 tests", [])
    assert verdict(f"<think>\nEasy.\n</think>\n<answer>\n```python\n{code}\n```\n</answer>") == passed
    assert verdict(f"<think>\nEasy.\n</think>\n<answer>{code}</answer>") == passed
    blocks = f"First\n```python\ndef f(x): return 0\n```\nbetter\n```python\n{code}\n```\nwhich prints\n```text\n9\n```"
    assert verdict(f"<think>\nx\n</think>\n{blocks}")[:2] == passed[:2]
    assert verdict("<think>\nx\n</think>\nI do not know.")[:2] == ("unparsed", "no block of code")
    assert verdict("<think>\nx\n</think>\n```cpp\nint f;\n```")[:2] == (
        "unparsed",
        "the code is cpp; only Python is run",
    )
    assert verdict(f"<think>\nx\n</think>\n```python\n{code}", "length")[0] == "truncated"
    assert verdict(f"<think>\n```python\n{code}\n```", "length")[0] == "truncated"


def test_a_graded_sample_is_accepted_by_its_tests() -> None:
    verdict = grade("<think>\nx\n</think>\n```\nprint(9)\n```", answer=PROGRAM.to_json(), answer_kind="code")
    assert verdict.verdict == VerdictKind.WRONG
    rule = Acceptance(require_template=False, drop_flags=("code_block",), deduplicate=True)
    assert rule.why_dropped(verdict) == "wrong"


def test_a_gold_answer_that_is_no_tests_is_an_error_of_ours() -> None:
    verdict = grade("```\nprint(9)\n```", answer="[1]", answer_kind="code")
    assert (verdict.verdict, "is no tests" in (verdict.detail or "")) == ("error", True)
