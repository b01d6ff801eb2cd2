"""Random requests from an endpoint's own OpenAPI schema: Hypothesis fills each route's parameters and body."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.hostile_requests import PROMPT
from support.raw_requests import request

# What a sample may cost: it is the gateway and the routes that are tried, not the model's patience.
_MAX_TOKENS = 8
_LENGTHS = ("max_tokens", "max_completion_tokens")
_TEXT = st.text(max_size=40) | st.just(PROMPT)
_ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, st.SearchStrategy[tuple[str, bytes | None]]]]:
    """For each operation of an OpenAPI schema: its name, and a strategy for its path and its body, if it has one."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            names = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
            targets = st.fixed_dictionaries({name: _TEXT.map(quote) for name in names}).map(
                lambda chosen, path=path: path.format(**chosen)
            )
            bodies = st.none() if content is None else _bodies(content["schema"], schema)
            yield f"{method.upper()} {path}", st.tuples(targets, bodies)


def try_operation(
    name: str,
    strategy: st.SearchStrategy[tuple[str, bytes | None]],
    *,
    key: str,
    num_examples: int,
    attempt: Callable[[bytes], None],
) -> None:
    """Call `attempt` with up to this many requests of one operation, the same ones each time."""

    @settings(
        max_examples=num_examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(asked=strategy)
    def run(asked: tuple[str, bytes | None]) -> None:
        target, body = asked
        attempt(request(name.partition(" ")[0], target, key=key, body=body))

    run()


def _bodies(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Mostly valid by the schema, else with one field of any type; always cheap to answer."""
    fields = sorted(_resolved(schema, document)["properties"])
    right = _values(schema, document)
    wrong = st.builds(lambda body, name, value: body | {name: value}, right, st.sampled_from(fields), _ANYTHING)

    def encode(body: dict[str, Any]) -> bytes:
        lengths = {name: body.get(name) for name in _LENGTHS if name in fields}
        # A length that cannot be right stays as it is.
        long = [name for name, value in lengths.items() if value is None or (type(value) is int and value > 0)]
        return json.dumps(body | dict.fromkeys(long, _MAX_TOKENS)).encode()

    return (right | wrong).map(encode)


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _values(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a JSON schema, for the subset that FastAPI generates."""
    schema = _resolved(schema, document)
    if "anyOf" in schema:
        return st.one_of([_values(part, document) for part in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        fields = {name: _values(part, document) for name, part in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", [])}
        return st.fixed_dictionaries(required, optional=fields)
    if kind == "array":
        return st.lists(_values(schema.get("items", {}), document), min_size=schema.get("minItems", 0), max_size=3)
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if kind == "integer":
        # 2**63 comes as a float.
        return st.integers(low, high if below is None else int(below) - 1)
    if kind == "number":
        return st.floats(
            low if above is None else above, high, exclude_min=above is not None, allow_nan=False, allow_infinity=False
        )
    kinds: dict[str | None, st.SearchStrategy[Any]] = {
        "string": _TEXT.filter(lambda text: len(text) >= schema.get("minLength", 0)),
        "boolean": st.booleans(),
        "null": st.none(),
        "object": st.dictionaries(_TEXT, _ANYTHING, max_size=3),
    }
    return kinds.get(kind, _ANYTHING)
