"""The worker processes: deadlines, crashes, order, threads, and hostile answers beside honest ones."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillery.records import Verdict
from stillery.verify import GradingPool, GradingTask, grade, same_answer
from stillery.verify.judge import Pair, prepare
from support.cpu_limit import soon_done

DEADLINE_S = 2.0
# A new worker process imports computer algebra first, which on a loaded machine takes its time.
START_S = 40

HONEST = GradingTask(r"<think>a</think><answer>\frac{\sqrt{2}}{2}</answer>", r"\frac{1}{\sqrt{2}}")
# A tower of powers: evaluating it would take longer than the universe has.
TOWER = "9^{9^{9^{9}}}"


@pytest.fixture(scope="module")
def pool() -> Iterator[GradingPool]:
    with GradingPool(num_processes=2, deadline_s=DEADLINE_S) as pool:
        list(pool.grade_many([HONEST]))
        yield pool


def answered(answer: str) -> str:
    return f"<think>a</think><answer>{answer}</answer>"


HOSTILE = [
    TOWER,
    "9**9**9**9",
    r"(10^{10})!",
    r"\binom{10^9}{10^8}",
    r"\sum_{n=1}^{10^{12}} \frac{1}{n}",
    "(" * 1_000_000,
    "[" * 500_000 + "]" * 500_000,
    r"\frac{1}{" * 40 + "1" + "}" * 40,
    r"\frac{1}{" * 5000,
    r"\frac" * 300,
    "1" + "0" * 1_000_000,
    "7" * 10_000_000,
    r"\frac{1}{" * 1_000_000 + "1" + "}" * 1_000_000,
    "\u202e" * 1_000_000 + "71",
    "10^{10^{10}}",
    "1e" + "9" * 1900,
    "0." + "0" * 1900 + "1",
    r"\sqrt{" * 49 + "2" + "}" * 49,
    r"\left(" * 45 + "x" + r"\right)" * 45 + "^{999999999}",
    r"\int_0^1 x^{x^{x}} dx",
    r"\prod_{k=1}^{10^9} k",
    r"\begin{pmatrix}" + "1&" * 900 + r"1\end{pmatrix}",
    "+".join(f"x^{{{n}}}" for n in range(300)),
    "(x+y+z+a+b+c)^{200}",
    r"\{" + ", ".join(f"x^{{{n}}}" for n in range(200)) + r"\}",
    "‏שלום‏ 17 ‏עולם‏",
    "1e999999999",
    "x" * 1_000_000,
    "1," * 500,
    "-" * 1900 + "1",
    "\x00" * 100,
    "1\x002\x003",
    "\ud800\udfff",
    "\u202e71\u202c",
    "א + ב",
    "$" * 1999,
    "{" * 40 + "}" * 40,
    "\\" * 1001,
    r"\boxed{" * 1000,
    "__import__('os').abort()",
]


def check_beside_honest(pool: GradingPool, hostile: list[str], kind: str) -> None:
    jobs = [HONEST]
    for answer in hostile:
        jobs += [GradingTask(answered(answer), "17", answer_kind=kind), HONEST]
    started = time.monotonic()
    verdicts = [str(v.verdict) for v in pool.grade_many(jobs)]
    assert time.monotonic() - started < len(hostile) * DEADLINE_S + START_S
    assert verdicts[::2] == ["correct"] * (len(hostile) + 1)
    assert set(verdicts[1::2]) <= {"wrong", "unparsed", "timeout", "error"}


@pytest.mark.slow
def test_hostile_expressions_cost_at_most_a_deadline_and_never_a_neighbour(pool: GradingPool) -> None:
    check_beside_honest(pool, HOSTILE, "expression")


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["9", "{", "\\boxed{", "<answer>", "字", "a b. ", "\u202e", "\x00", "$", "\\(", "#### 1\n"]
)
def test_a_hostile_completion_is_soon_prepared(piece: str) -> None:
    text = piece * (10_000_000 // len(piece))
    for job in (GradingTask(text, "17"), GradingTask(answered(text), "17", answer_kind="string")):
        with soon_done():
            prepare(job)


@pytest.mark.slow
def test_hostile_sets_do_not_either(pool: GradingPool) -> None:
    check_beside_honest(pool, [a for a in HOSTILE if "," in a or "[" in a or "x" in a or a == TOWER], "set")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["string", "choice", "yes_no", "date"])
def test_hostile_words_need_no_worker(kind: str) -> None:
    with soon_done():
        for answer in HOSTILE:
            prepared = prepare(GradingTask(answered(answer), "B", answer_kind=kind, choices=("London", "Paris")))
            assert isinstance(prepared, Verdict)
            assert prepared.verdict in ("wrong", "unparsed")


def test_an_overrun_is_a_timeout_and_the_rest_of_its_chunk_is_compared(pool: GradingPool) -> None:
    honest = [Pair(f"f((x+{i})^2)", f"f(x^2+{2 * i}x+{i * i})", "expression") for i in range(20)]
    hostile = Pair(TOWER, "17", "expression")
    outcomes = pool.check_many([*honest[:5], hostile, *honest[5:]])
    assert [str(o.kind) for o in outcomes] == ["correct"] * 5 + ["timeout"] + ["correct"] * 15
    assert "2 s" in (outcomes[5].detail or "")


def test_a_hostile_gold_answer_is_a_timeout_too(pool: GradingPool) -> None:
    (verdict,) = pool.grade_many([GradingTask(answered("17"), TOWER)])
    assert verdict.verdict == "timeout"


def test_a_crashed_worker_is_an_error_of_one_pair(pool: GradingPool) -> None:
    pairs = [Pair(f"f(x+{i})", f"f({i}+x)", "expression") for i in range(4)]
    pool.check_many(pairs)
    worker = pool._workers[0]
    os.kill(worker.process_id, signal.SIGKILL)
    outcomes = pool.check_many(pairs)
    assert [o.kind for o in outcomes].count("correct") >= 3
    assert all("SIGKILL" in (o.detail or "") for o in outcomes if o.kind == "error")


@pytest.mark.slow
def test_a_killed_child_costs_nothing_between_chunks_and_one_pair_within() -> None:
    pairs = [Pair(f"f(x+{i})", f"f({i}+x)", "expression") for i in range(4)]
    with GradingPool(deadline_s=30) as pool:
        pool.check_many(pairs)
        (worker,) = pool._workers
        for _ in range(20):  # Now and then it dies with the chunk that is sent at that moment already read.
            os.kill(child_of(worker.process_id), signal.SIGKILL)
            assert [str(o.kind) for o in pool.check_many(pairs)] == ["correct"] * 4
        killer = threading.Timer(1, lambda: os.kill(child_of(worker.process_id), signal.SIGKILL))
        killer.start()
        outcomes = pool.check_many([Pair(TOWER, "17", "expression"), *pairs])
        killer.join()
    assert [str(o.kind) for o in outcomes] == ["error"] + ["correct"] * 4
    assert "SIGKILL" in (outcomes[0].detail or "")


@pytest.mark.slow
def test_an_overrun_costs_little_more_than_its_deadline() -> None:
    """The child that takes over is forked, not started."""
    with GradingPool(deadline_s=0.5) as quick:
        quick.check_many([Pair("f(x)", "f(y)", "expression")])
        started = time.monotonic()
        outcomes = quick.check_many([Pair(TOWER, str(i), "expression") for i in range(10)])
        assert time.monotonic() - started < 10 * 0.5 + 5
    assert {str(o.kind) for o in outcomes} == {"timeout"}


def child_of(process_id: int) -> int:
    while not (children := Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()):
        time.sleep(0.01)
    return int(children[0])


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    # 2^(2^33) needs 1 GiB for its result alone: over the limit before it is over the deadline.
    with GradingPool(deadline_s=60, memory_bytes=700 << 20) as small:
        (outcome,) = small.check_many([Pair("2^{2^{33}}", "17", "expression")])
    assert outcome.kind == "error", outcome
    assert "Memory" in (outcome.detail or "")


def test_verdicts_come_in_order_and_shared_pairs_agree(pool: GradingPool) -> None:
    jobs = [
        GradingTask(answered(f"(x+{i % 3})^2"), "x^2+2x+1" if i % 2 else str(i), sample_id=str(i)) for i in range(200)
    ]
    verdicts = list(pool.grade_many(jobs))
    assert [v.sample_id for v in verdicts] == [str(i) for i in range(200)]
    assert [v.verdict == "correct" for v in verdicts] == [bool(i % 2) and i % 3 == 1 for i in range(200)]


def test_single_calls_work_off_the_main_thread() -> None:
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(same_answer(f"(x+{i})(x-{i})", f"x^2-{i * i}")))
        for i in range(2, 6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=START_S)
    assert results == [True] * 4


@pytest.mark.slow
def test_single_calls_survive_hostile_input() -> None:
    with pytest.raises(TimeoutError, match="5 s"):
        same_answer(TOWER, "17")
    assert grade(answered("x+1"), answer="1+x").verdict == "correct"


def test_a_script_without_a_main_guard_and_with_a_hostile_folder_works(tmp_path: Path) -> None:
    (tmp_path / "sympy.py").write_text("raise SystemExit('the wrong sympy')\n")
    script = tmp_path / "script" / "once.py"
    script.parent.mkdir()
    script.write_text(
        "print('running')\nfrom stillery.verify import same_answer\nprint(same_answer('(x+1)^2', 'x^2+2x+1'))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "platform")},
    )  # fmt: skip
    assert done.stdout == "running\nTrue\n", done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_a_large_parent_does_not_count_against_a_comparison() -> None:
    """A worker started by an engine's process, which holds gigabytes, must not take its parent's memory for its own."""
    code = (
        "held = bytearray(1 << 30); held[::4096] = b'x' * len(held[::4096])\n"
        "from stillery.verify import same_answer; print(same_answer('x^3', 'x^2', answer_kind='expression'))"
    )
    root = Path(__file__).parents[3] / "platform"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.stdout.strip() == "False", done.stderr[-500:]
