"""The settings of an endpoint: one file for three commands, errors that name the key."""

from pathlib import Path

import pytest
import yaml

from stillery.errors import UserError
from stillery.serving.settings import load_endpoint, load_settings, served_name, to_args, to_yaml

SERVE_YAML = Path(__file__).parents[3] / "serving" / "serve.yaml"


def test_the_projects_file_is_valid_and_listens_on_loopback() -> None:
    endpoint = load_endpoint(SERVE_YAML)
    assert (endpoint.host, endpoint.port) == ("127.0.0.1", 8000)
    assert endpoint.settings.model == "models:/stillery-student@champion"


def test_what_is_shown_says_the_same_as_what_was_read(tmp_path: Path) -> None:
    endpoint = load_endpoint(SERVE_YAML, ["port=8001", "engine.replicas=3", "engine.kwargs.max_model_len=512"])
    shown = tmp_path / "shown.yaml"
    shown.write_text(to_yaml(endpoint), encoding="utf-8")
    assert load_endpoint(shown) == endpoint
    assert endpoint.settings.engine.kwargs == {"max_model_len": 512}


def test_args_survive_being_plain_data() -> None:
    settings = load_settings({"model": "embedded:teacher", "gateway": {"key_limits": {"ann": {"concurrency": 2}}}})
    assert load_settings(yaml.safe_load(yaml.safe_dump(to_args(settings)))) == settings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine.replica=2", "unknown key engine.replica; did you mean replicas?"),
        ("engin.replicas=2", "unknown key engin; did you mean engine?"),
        ("engine.replicas=many", "engine.replicas"),
        ("engine.replicas=0", "engine.replicas is 0"),
        ("engine.kwargs.model=x", "engine.kwargs.model is set by stillery"),
        ("gateway.max_body_bytes=0", "gateway.max_body_bytes is 0"),
        ("follow.surge_percent=150", "follow.surge_percent is 150"),
        ("model=", "model"),
        ("port=http", "port=http"),
        ("port=70000", "port=70000"),
        ("replicas", "expected key=value"),
    ],
)
def test_a_wrong_value_is_named(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?").replace(".", r"\.")):
        load_endpoint(SERVE_YAML, [override])


def test_a_file_that_is_no_serve_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml does not exist"):
        load_endpoint(tmp_path / "none.yaml")
    other = tmp_path / "other.yaml"
    other.write_text("applications: [{name: another}]", encoding="utf-8")
    with pytest.raises(UserError, match="one application named stillery"):
        load_endpoint(other)
    other.write_text("a: [", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        load_endpoint(other)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("models:/coin@champion", "coin"),
        ("models:/coin/3", "coin"),
        ("/models/Qwen3-0.6B/", "Qwen3-0.6B"),
        ("Qwen/Qwen3-0.6B", "Qwen3-0.6B"),
        ("embedded:student", "student"),
    ],
)
def test_clients_call_every_version_by_one_name(model: str, name: str) -> None:
    assert served_name(load_settings({"model": model})) == name
    assert served_name(load_settings({"model": model, "served_name": "mine"})) == "mine"
