"""Moving the champion by hand: `stillery promote` through the gate, `stillery rollback` to the previous one.

The champions, current and former, with times and reasons, are kept in a tag of the registered model, newest last; the
gate's decision, and the time of a rollback, are kept on the version. Endpoints that follow `models:/NAME@champion`
switch automatically.
"""

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from stillery.config import RegisterConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.registry import mlflow_store
from stillery.registry.benchmarks import TAG as FORGETTING_TAG
from stillery.registry.benchmarks import losses_in
from stillery.registry.gate import CHAMPION, GateDecision, decide
from stillery.registry.lineage import redact
from stillery.registry.mlflow_store import Store
from stillery.registry.opponent import find_opponent
from stillery.registry.scores import read_evaluation

# Measures a checkpoint as a run's students were measured. In: the run's address, its config, the fingerprint of its
# prompts and the checkpoint. Out: the folder of the scores and the summary of the evaluation.
MeasureAsIn = Callable[[str, str, str, Path], tuple[Folder, Mapping[str, Any]]]

DECISION_TAG = "stillery.decision"
HISTORY_TAG = "stillery.champions"
ROLLED_BACK_TAG = "stillery.rolled_back"
# MLflow keeps at most 5,000 characters of a tag.
_KEPT_CHAMPIONS = 20


def promote(
    name: str,
    version: str,
    *,
    measure_as_in: MeasureAsIn | None = None,
    tracking_uri: str | None = None,
    force: str | None = None,
) -> str:
    """Make a version the champion if it beats the current one, and return a line that says so.

    A champion that was measured on other problems or under another protocol is measured again by `measure_as_in`, with
    the settings of the version's run; without it, or with `force`, it is not. `force` is the reason for promoting the
    version despite the gate; it is recorded with the gate's verdict. A version that `stillery benchmark --against`
    found to have forgotten a task is refused. Raises UserError where the gate refuses, or the model or version is
    unknown.
    """
    if force is not None and not force.strip():
        raise UserError("--force needs a reason, which is recorded")
    with _connected(tracking_uri) as store:
        candidate = _version(store, name, version)
        champion = mlflow_store.get_alias(store, name, CHAMPION)
        if champion is not None and champion.version == candidate.version:
            return f"models:/{name}/{version} is the champion already"
        decision = _decide(store, candidate, champion, measure_as_in=None if force else measure_as_in)
        if not decision.promote and force is None:
            raise UserError(f"models:/{name}/{version} {decision.reason} (--force REASON promotes it all the same)")
        record = dataclasses.asdict(decision) | ({} if force is None else {"forced": force.strip()})
        store.client.set_model_version_tag(name, candidate.version, DECISION_TAG, json.dumps(record))
        why = f"forced: {force.strip()}" if force is not None and not decision.promote else decision.reason
        move_champion(store, name, str(candidate.version), why=why)
    return f"models:/{name}/{version} is the champion now ({why})"


def roll_back(name: str, *, tracking_uri: str | None = None) -> str:
    """Restore the previous champion, and return a line that says so."""
    with _connected(tracking_uri) as store:
        champion = mlflow_store.get_alias(store, name, CHAMPION)
        if champion is None:
            _version(store, name, None)
            raise UserError(f"models:/{name} has no champion to roll back from")
        before = _before(champions(store, name), str(champion.version))
        if not before:
            raise UserError(f"models:/{name}: no champion before version {champion.version} is on record")
        target = _version(store, name, before[-1]["version"])
        store.client.set_model_version_tag(name, champion.version, ROLLED_BACK_TAG, _now())
        _move(store, name, before)
    return f"models:/{name}/{target.version} is the champion again (version {champion.version} was)"


def move_champion(store: Store, name: str, version: str, *, why: str) -> None:
    """Make a version the champion, and record its predecessor."""
    history = champions(store, name)
    present = mlflow_store.get_alias(store, name, CHAMPION)
    if present is not None and (not history or history[-1]["version"] != str(present.version)):
        history = _before(history, str(present.version))
        history.append({"version": str(present.version), "why": "found in place", "at": ""})
    history = [entry for entry in history if entry["version"] != version]
    _move(store, name, [*history, {"version": version, "why": why[:100], "at": _now()}])


def _move(store: Store, name: str, history: Sequence[Mapping[str, str]]) -> None:
    """Make the last of the history the champion. The history is written first: a call killed in between leaves the old
    alias, which the next call records again."""
    store.client.set_registered_model_tag(name, HISTORY_TAG, json.dumps(list(history)[-_KEPT_CHAMPIONS:]))
    store.client.set_registered_model_alias(name, CHAMPION, history[-1]["version"])


def _before(history: Sequence[dict[str, str]], version: str) -> list[dict[str, str]]:
    """The champions before a version; all of them if it is not recorded."""
    versions = [entry["version"] for entry in history]
    return list(history[: versions.index(version)] if version in versions else history)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def champions(store: Store, name: str) -> list[dict[str, str]]:
    """Former champions and the present one, oldest first: version, why, at."""
    tags = cast(Mapping[str, str], store.client.get_registered_model(name).tags)
    return json.loads(tags.get(HISTORY_TAG, "[]"))


def _decide(store: Store, candidate: Any, champion: Any | None, *, measure_as_in: MeasureAsIn | None) -> GateDecision:
    after = read_evaluation(store, candidate.run_id, "evaluate_after")
    if not after.scores:
        return GateDecision(False, "cannot be judged: its run has no scores; register it with stillery", "", None)
    kept = candidate.tags.get(FORGETTING_TAG)
    forgotten = None if kept is None else losses_in(json.loads(kept))
    if forgotten is not None:
        return GateDecision(False, forgotten, "", None)
    untouched = read_evaluation(store, candidate.run_id, "evaluate_before")
    if champion is None:
        return decide(after, untouched=untouched, champion=None)

    def measure(checkpoint: Path) -> tuple[Folder, Mapping[str, Any]]:
        if measure_as_in is None:
            raise UserError("nothing here measures")
        return measure_as_in(*_run_of(store, candidate), checkpoint)

    opponent, remedy = find_opponent(store, champion, after=after, run_id=candidate.run_id, measure=measure)
    return decide(
        after,
        untouched=untouched,
        champion=opponent,
        champion_name=f"champion version {champion.version}",
        remedy=remedy,
    )


def _run_of(store: Store, candidate: Any) -> tuple[str, str, str]:
    """The location of a version's run, its config, and the fingerprint of the problems that it was measured on."""
    run_uri = candidate.tags.get("stillery.run_uri")
    kept = {a.path for path in ("", "manifests") for a in store.client.list_artifacts(candidate.run_id, path or None)}
    if run_uri is None or not {"config.yaml", "manifests/evaluate_after.json"} <= kept:
        raise UserError(f"version {candidate.version} was not registered by a run, so nobody knows how it was measured")
    with tempfile.TemporaryDirectory() as folder:
        config, manifest = (
            Path(store.client.download_artifacts(candidate.run_id, path, folder)).read_text(encoding="utf-8")
            for path in ("config.yaml", "manifests/evaluate_after.json")
        )
    return str(run_uri), config, str(json.loads(manifest)["inputs"]["prompts.measured"]["fingerprint"])


def _version(store: Store, name: str, version: str | None) -> Any:
    from mlflow.exceptions import MlflowException

    known = store.client.search_model_versions(f"name = '{name.replace(chr(39), '')}'")
    if not known:
        raise UserError(f"models:/{name}: there is no such registered model in {redact(store.tracking_uri)}")
    if version is None:
        return None
    try:
        return store.client.get_model_version(name, version)
    except MlflowException:
        versions = ", ".join(sorted((str(v.version) for v in known), key=int))
        raise UserError(f"models:/{name}/{version}: there is no such version (versions: {versions})") from None


def _connected(tracking_uri: str | None) -> Any:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    uri = mlflow_store.resolve_tracking_uri(tracking_uri)
    return mlflow_store.connect(uri, experiment=RegisterConfig().experiment)
