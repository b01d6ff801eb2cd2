"""Code problems in common dataset formats: to a question, and the tests that are its gold answer.

`tests` of a row, or the datasets' names for it: a list of assertions, a list or columns of inputs and outputs, a text
of Python, or JSON of any of these. Pure.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from stillery.verify.code import CodeTests

FUNCTIONAL = ("functional", "function", "call_based", "call")


def read_tests(cell: Any, *, setup: str = "", function: str | None = None) -> CodeTests:
    """The tests of a cell; `function` is the function under test, for tests by arguments. Raises ValueError, with the
    reason, for a cell without tests."""
    if isinstance(cell, str):
        cell = _decoded(cell)
    if isinstance(cell, str):
        return CodeTests(setup=setup, asserts=(_python(cell),))
    if isinstance(cell, Mapping):
        return _of_table(cast(Mapping[str, Any], cell), setup=setup, function=function)
    if not isinstance(cell, list) or not cell:
        raise ValueError("the tests are empty; give assertions, or inputs and outputs")
    tests = cast(list[Any], cell)
    if all(isinstance(test, str) for test in tests):
        return CodeTests(setup=setup, asserts=tuple(_python(test) for test in tests))
    if not all(isinstance(test, Mapping) for test in tests):
        raise ValueError("the tests are neither assertions nor inputs with outputs")
    return _joined([_of_case(test, setup=setup, function=function) for test in tests])


def code_columns(values: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The format of a row of a known dataset of code problems, and its columns; None for another row. Raises ValueError
    for a row of such a format whose tests cannot be read."""
    for name, needed, read in _SHAPES:
        if all(column in values for column in needed):
            return name, read(values)
    return None


def _of_table(table: Mapping[str, Any], *, setup: str, function: str | None) -> CodeTests:
    """Tests as one object: ours as JSON, inputs beside outputs, or a list under another name."""
    if {"setup", "asserts", "cases"} <= table.keys():
        return _valid(CodeTests.from_json(json.dumps(table)))
    for name in ("test_cases", "tests", "unit_tests"):
        if name in table:
            return read_tests(table[name], setup=setup, function=table.get("fn_name") or function)
    inputs = table.get("inputs", table.get("input"))
    outputs = table.get("outputs", table.get("output"))
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise ValueError(
            f"the tests have {', '.join(map(str, table))[:80]}; expected inputs and outputs, or assertions"
        )
    ins, outs = cast(list[Any], inputs), cast(list[Any], outputs)
    if len(ins) != len(outs) or not ins:
        raise ValueError(f"the tests have {len(ins)} inputs and {len(outs)} outputs; each needs the other")
    called = table.get("fn_name") or function
    return _joined(
        [_of_case({"input": i, "output": o, "fn_name": called}, setup=setup) for i, o in zip(ins, outs, strict=True)]
    )


def _of_case(case: Mapping[str, Any], *, setup: str, function: str | None = None) -> CodeTests:
    """One test: an input with its output, as read and printed by a program, or as arguments and a value."""
    given, expected = case.get("input", case.get("stdin")), case.get("output", case.get("stdout"))
    if given is None or expected is None:
        raise ValueError(f"a test has {', '.join(map(str, case))[:80]}; expected an input and an output")
    called = case.get("fn_name") or function
    kind = case.get("testtype") or case.get("type") or ""
    if called is None:
        if kind in FUNCTIONAL:
            raise ValueError("a test gives arguments and does not say of which function (fn_name)")
        return CodeTests(setup=setup, cases=((_lines(given), _lines(expected)),))
    arguments, value = _arguments(given), _value(expected)
    shown = ", ".join(map(repr, arguments))
    return CodeTests(setup=f"{setup}\n{_CALL}", asserts=(f"assert _call({called!r}, {shown}) == {value!r}",))


# LeetCode's functions are methods of a class; JSON has no tuples.
_CALL = """\
def _call(name, *arguments):
    space = globals()
    function = getattr(space["Solution"](), name) if "Solution" in space and name not in space else space[name]
    def plain(value):
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value
    return plain(function(*arguments))
"""


def _arguments(given: Any) -> list[Any]:
    """The arguments of a call: a list of them, or a line of JSON for each."""
    if isinstance(given, list):
        return cast(list[Any], given)
    return [_value(line) for line in str(given).splitlines() if line.strip()]


def _value(text: Any) -> Any:
    if isinstance(text, list) and len(cast(list[Any], text)) == 1:
        return cast(list[Any], text)[0]
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _lines(text: Any) -> str:
    return "\n".join(map(str, cast(list[Any], text))) if isinstance(text, list) else str(text)


def _joined(parts: Sequence[CodeTests]) -> CodeTests:
    setup = max((part.setup for part in parts), key=len)
    asserts = tuple(test for part in parts for test in part.asserts)
    return _valid(CodeTests(setup, asserts, tuple(case for part in parts for case in part.cases)))


def _valid(tests: CodeTests) -> CodeTests:
    if not tests.asserts and not tests.cases:
        raise ValueError("the tests are empty; give assertions, or inputs and outputs")
    return tests


def _python(source: str) -> str:
    try:
        compile(source, "test", "exec")
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"the test {source[:60]!r} is no Python ({error})") from None
    return source


def _decoded(text: str) -> Any:
    """A JSON text as its value; any other text unchanged."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_mbpp(values: Mapping[str, Any]) -> dict[str, Any]:
    """Mostly Basic Python Problems: the question includes its assertions, which show how the function is called."""
    asserts = list(values["test_list"])
    imports = values.get("test_imports")
    listed = cast(list[str], imports) if isinstance(imports, list) else []
    setup = "\n".join([*listed, values.get("test_setup_code") or ""])
    told = values.get("text") or values.get("prompt")
    question = f"{told}\n\nWrite it in Python. It must pass these tests:\n" + "\n".join(asserts)
    hidden = list(values.get("challenge_test_list") or [])
    return {"question": question, "tests": read_tests([*asserts, *hidden], setup=setup).to_json()}


def _read_humaneval(values: Mapping[str, Any]) -> dict[str, Any]:
    """HumanEval: the beginning of a function, to be completed; the code before it is available to the tests."""
    prompt, entry = str(values["prompt"]), str(values["entry_point"])
    question = f"Complete this Python function. Give all of it, with its imports.\n\n```python\n{prompt.rstrip()}\n```"
    tests = CodeTests(setup=prompt, asserts=(_python(f"{values['test']}\ncheck({entry})"),))
    return {"question": question, "tests": tests.to_json()}


def _read_apps(values: Mapping[str, Any]) -> dict[str, Any]:
    """APPS and TACO: `input_output` is JSON of inputs, outputs and the function's name, if there is one."""
    tests = read_tests(values["input_output"])
    return {"question": values["question"], "tests": tests.to_json()}


def _read_livecodebench(values: Mapping[str, Any]) -> dict[str, Any]:
    """LiveCodeBench: public tests as JSON; the private ones are pickled and are not read."""
    metadata = _decoded(str(values.get("metadata") or "{}"))
    function = cast(Mapping[str, Any], metadata).get("func_name") if isinstance(metadata, Mapping) else None
    tests = read_tests(values["public_test_cases"], function=function)
    starter = str(values.get("starter_code") or "").strip()
    question = str(values["question_content"]) + (f"\n\n```python\n{starter}\n```" if starter else "")
    return {"question": question, "tests": tests.to_json()}


def _read_verifiable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Open-R1's verifiable coding problems: `verification_info` holds language and test cases."""
    info = values["verification_info"]
    info = _decoded(info) if isinstance(info, str) else info
    language = cast(Mapping[str, Any], info).get("language", "python")
    if language != "python":
        raise ValueError(f"the code is to be {language}; only Python is run")
    return {"question": values["prompt"], "tests": read_tests(info).to_json()}


_Shape = tuple[str, tuple[str, ...], Callable[[Mapping[str, Any]], dict[str, Any]]]

_SHAPES: tuple[_Shape, ...] = (
    ("MBPP", ("test_list",), _read_mbpp),
    ("HumanEval", ("prompt", "entry_point", "test"), _read_humaneval),
    ("APPS", ("question", "input_output"), _read_apps),
    ("LiveCodeBench", ("question_content", "public_test_cases"), _read_livecodebench),
    ("verifiable coding problems", ("prompt", "verification_info"), _read_verifiable),
)
