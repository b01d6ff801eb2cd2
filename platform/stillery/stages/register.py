"""Registration: the student becomes a version of a registered model, with its lineage.

In: the outputs of the earlier stages and the checkpoint. Out: one MLflow run with the stages as its children, a model
version with alias `challenger`, and with alias `champion` if it passes the gate. A call that was killed is completed by
the next; a call that finished is not repeated.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from stillery.config import Config, RegisterConfig, settings_of, to_yaml
from stillery.curation.licenses import model_licenses
from stillery.errors import UserError
from stillery.io.run_folder import MANIFEST, Output
from stillery.io.storage import Folder
from stillery.records import digest
from stillery.registry import mlflow_store
from stillery.registry.card import write_card
from stillery.registry.gate import CHALLENGER, CHAMPION, GateDecision, decide
from stillery.registry.lineage import EVALUATIONS, losses_of, metrics_of, params_of, redact, stage_metrics
from stillery.registry.live import LIVE_TAG
from stillery.registry.mlflow_store import Store
from stillery.registry.opponent import Measure, evaluation_of, find_opponent
from stillery.registry.promotion import DECISION_TAG, move_champion
from stillery.registry.scores import log_evaluation
from stillery.sampling.models import fetch_adapter, resolve_model
from stillery.stages.measuring import measure_model
from stillery.stages.stage import Stage, StageContext
from stillery.training.checkpoints import ADAPTER

PARENT_TAG = "stillery.parent_version"
_LINEAGE = ("generate", "curate", "sft", "refine")
_DATASETS = ("prompts", "generate", "curate")


def store_of(config: RegisterConfig) -> str:
    """The store of a registration, without secrets: part of the registration's identity."""
    return str(redact(mlflow_store.resolve_tracking_uri(config.tracking_uri)))


def register(
    config: RegisterConfig,
    *,
    run_uri: str,
    git_revision: str,
    fingerprint: str,
    resolved_config: str,
    outputs: Mapping[str, Output],
    checkpoint: Path,
    out: Folder,
    measure: Measure,
    adapter: Path | None = None,
    parent: str | None = None,
) -> dict[str, Any]:
    """Register the checkpoint (a local Hugging Face folder) and return the summary. The `adapter` that it was trained
    as, a local folder, is kept beside it.

    `outputs` holds at least sft, evaluate_before and evaluate_after; `resolved_config` is YAML; `parent` is the version
    that the checkpoint was refined from. The summary has name, version, parent, aliases, run_id, tracking_uri,
    experiment, source, checkpoint_folder (the folder of the downloaded model that is the checkpoint), decision and gain
    (fractions; null if it could not be measured).

    A champion that was measured on other problems or under another protocol is fetched from the registry and measured
    again by `measure`. If it cannot be fetched or run, it stays champion.

    Raises UserError if MLflow cannot be reached or the checkpoint is missing.
    """
    if not (checkpoint / "config.json").is_file():
        raise UserError(f"{checkpoint}: not a Hugging Face checkpoint (no config.json); run the sft stage again")
    settings = cast(dict[str, Any], redact(yaml.safe_load(resolved_config)))
    tracking_uri = mlflow_store.resolve_tracking_uri(config.tracking_uri)
    with mlflow_store.connect(tracking_uri, experiment=config.experiment) as store:
        key = {"stillery.fingerprint": fingerprint, "stillery.run_uri": redact(run_uri)}
        tags = _run_tags(settings, outputs, git_revision=git_revision)
        run = mlflow_store.open_run(store, name=settings["run"]["name"], key=key, tags=tags)
        version = mlflow_store.find_version(store, run, name=config.name)
        if version is None or mlflow_store.DONE_TAG not in run.data.tags:
            _log_run(store, run, settings=settings, outputs=outputs)
            lineage = key if parent is None else {**key, PARENT_TAG: parent}
            version = _log_version(store, run, name=config.name, outputs=outputs, checkpoint=checkpoint, key=lineage)
            if adapter is not None:
                uri = mlflow_store.log_folder(store, run, adapter, name=mlflow_store.ADAPTER_FOLDER)
                store.client.set_model_version_tag(config.name, version.version, mlflow_store.ADAPTER_TAG, uri)
            card = write_card(
                name=config.name,
                version=str(version.version),
                settings=settings,
                metrics=metrics_of(outputs),
                tags={**tags, **lineage},
                licenses=_licenses(settings, outputs),
            )
            store.client.update_model_version(config.name, version.version, description=card)
            _set_aliases(store, name=config.name, version=version, outputs=outputs, measure=measure)
            store.client.set_tag(run.info.run_id, mlflow_store.DONE_TAG, "true")
            store.client.set_terminated(run.info.run_id, "FINISHED")
        summary = _summarize(store, run, name=config.name, version=version.version) | {"experiment": config.experiment}
    out.write_bytes("registration.json", json.dumps(summary, indent=1).encode())
    return summary


def find_tuned(config: RegisterConfig, *, fingerprint: str) -> str | None:
    """The fully registered version of the sft stage's output with this fingerprint; None if there is none.

    Raises UserError if MLflow cannot be reached.
    """
    tracking_uri = mlflow_store.resolve_tracking_uri(config.tracking_uri)
    with mlflow_store.connect(tracking_uri, experiment=config.experiment) as store:
        found = [
            int(version.version)
            for version in mlflow_store.versions_of(store, config.name)
            if version.tags.get("stillery.fingerprint.sft") == fingerprint
            and "stillery.fingerprint.refine" not in version.tags
            and DECISION_TAG in version.tags
        ]
    return str(max(found)) if found else None


def _licenses(settings: Mapping[str, Any], outputs: Mapping[str, Output]) -> dict[str, list[str]]:
    """The licences behind the student: of its base model and of the sources of its training set."""
    base, _ = model_licenses(str(settings["sft"]["student"]))
    sources = outputs["curate"].summary.get("sources", []) if "curate" in outputs else []
    return {"base model": base} | {f"{source['kind']} {source['name']}": source["licenses"] for source in sources}


def _run_tags(settings: Mapping[str, Any], outputs: Mapping[str, Output], *, git_revision: str) -> dict[str, str]:
    return {
        "stillery.git_revision": git_revision,
        "stillery.teacher": settings["teacher"]["model"],
        "stillery.student_base": settings["sft"]["student"],
        **{f"stillery.fingerprint.{stage}": output.fingerprint for stage, output in outputs.items()},
    }


def _log_run(store: Store, run: Any, *, settings: Mapping[str, Any], outputs: Mapping[str, Output]) -> None:
    """Log everything but the model: params, metrics, losses, stages, data, manifests and score tables."""
    run_id = run.info.run_id
    mlflow_store.log_params(store, run, params_of(settings))
    for stage, prefix in (("sft", "train"), ("refine", "refine")):
        if stage in outputs:
            history = json.loads(outputs[stage].folder.read_bytes("history.json"))
            mlflow_store.log_numbers(store, run, losses_of(history, prefix=prefix))
    mlflow_store.log_datasets(
        store, run, [(s, outputs[s].fingerprint, redact(outputs[s].folder.uri)) for s in _DATASETS if s in outputs]
    )
    store.client.log_text(run_id, yaml.safe_dump(dict(settings), sort_keys=False), "config.yaml")
    for stage, output in outputs.items():
        manifest = redact(json.loads(output.folder.read_bytes(MANIFEST)))
        store.client.log_dict(run_id, manifest, f"manifests/{stage}.json")
        tags = {"stillery.fingerprint": output.fingerprint, "stillery.uri": redact(output.folder.uri)}
        mlflow_store.log_stage(
            store,
            run,
            stage=stage,
            tags=tags,
            metrics=stage_metrics(output.summary),
            params=params_of(manifest.get("settings", {})),
            live={LIVE_TAG: redact(output.folder.uri)},
        )
    for stage in EVALUATIONS:
        if stage in outputs:
            log_evaluation(store, run_id, stage, evaluation_of(outputs[stage].folder, outputs[stage].summary))


def _log_version(
    store: Store, run: Any, *, name: str, outputs: Mapping[str, Output], checkpoint: Path, key: Mapping[str, str]
) -> Any:
    lineage = {f"stillery.fingerprint.{s}": outputs[s].fingerprint for s in _LINEAGE if s in outputs}
    source = mlflow_store.log_checkpoint(store, run, checkpoint)
    numbers = [(name, value, 0) for name, value in metrics_of(outputs).items()]
    mlflow_store.log_numbers(store, run, numbers, model_id=mlflow_store.model_id_of(source))
    tags = {**key, **lineage, "stillery.checkpoint_folder": mlflow_store.CHECKPOINT_FOLDER}
    return mlflow_store.register_version(store, run, name=name, source=source, tags=tags)


def _set_aliases(store: Store, *, name: str, version: Any, outputs: Mapping[str, Output], measure: Measure) -> None:
    """Set challenger always, and champion by the gate's decision. The decision is stored before the alias moves, so
    that a call killed in between does not measure the new champion against itself."""
    store.client.set_registered_model_alias(name, CHALLENGER, version.version)
    kept = version.tags.get(DECISION_TAG)
    decision = (
        json.loads(kept)
        if kept
        else dataclasses.asdict(_decide(store, name=name, version=version, outputs=outputs, measure=measure))
    )
    store.client.set_model_version_tag(name, version.version, DECISION_TAG, json.dumps(decision))
    if decision["promote"]:
        move_champion(store, name, str(version.version), why=decision["reason"])


def _decide(store: Store, *, name: str, version: Any, outputs: Mapping[str, Output], measure: Measure) -> GateDecision:
    after, untouched = (
        evaluation_of(outputs[s].folder, outputs[s].summary) for s in ("evaluate_after", "evaluate_before")
    )
    champion = mlflow_store.get_alias(store, name, CHAMPION)
    if champion is None:
        return decide(after, untouched=untouched, champion=None)
    opponent, remedy = find_opponent(store, champion, after=after, run_id=version.run_id, measure=measure)
    return decide(
        after,
        untouched=untouched,
        champion=opponent,
        champion_name=f"champion version {champion.version}",
        remedy=remedy,
    )


def _summarize(store: Store, run: Any, *, name: str, version: str) -> dict[str, Any]:
    """The current state in MLflow: the aliases may have moved since the version was made."""
    current = store.client.get_model_version(name, version)
    decision = json.loads(current.tags[DECISION_TAG])
    return {
        "name": name,
        "version": str(version),
        "parent": current.tags.get(PARENT_TAG),
        "aliases": sorted(current.aliases),
        "run_id": run.info.run_id,
        "tracking_uri": redact(store.tracking_uri),
        "source": current.source,
        "checkpoint_folder": mlflow_store.CHECKPOINT_FOLDER,
        "decision": decision["reason"],
        "gain": decision["gain"],
    }


def _settings(config: Config) -> dict[str, Any]:
    return {**settings_of(config.register), "tracking_uri": store_of(config.register)}


def _run(context: StageContext) -> dict[str, Any]:
    parent = _registered_tuned(context) if "refine" in context.outputs else None
    return _register_student(context, fingerprint=context.out.uri.rsplit("/", 1)[1], parent=parent)


def _registered_tuned(context: StageContext) -> str:
    """The version of the student before its refinement. If no run without refinement has registered it, it is
    registered first: with its own evaluation, through the same gate."""
    tuned = context.outputs["sft"].fingerprint
    found = find_tuned(context.config.register, fingerprint=tuned)
    if found is not None:
        return found
    without = ("refine", "compare_bonds", "evaluate_sft")
    outputs = {stage: output for stage, output in context.outputs.items() if stage not in without}
    outputs["evaluate_after"] = context.outputs["evaluate_sft"]
    config = dataclasses.replace(context.config, refine=dataclasses.replace(context.config.refine, enabled=False))
    before = dataclasses.replace(context, config=config, outputs=outputs, out=context.out / "tuned")
    fingerprint = digest("tuned", tuned, outputs["evaluate_after"].fingerprint)[:16]
    return str(_register_student(before, fingerprint=fingerprint)["version"])


def _register_student(context: StageContext, *, fingerprint: str, parent: str | None = None) -> dict[str, Any]:
    is_adapter = context.config.sft.peft is not None and "refine" not in context.outputs
    return register(
        context.config.register,
        run_uri=context.run.folder.uri,
        git_revision=context.run.git_revision,
        fingerprint=fingerprint,
        resolved_config=to_yaml(context.config),
        outputs=context.outputs,
        checkpoint=Path(resolve_model(context.student)),
        adapter=fetch_adapter(context.folder("sft") / ADAPTER) if is_adapter else None,
        out=context.out,
        measure=functools.partial(measure_model, dataclasses.replace(context, out=context.out / "champion")),
        parent=parent,
    )


STAGE = Stage(
    "register",
    version=2,
    needs=("prompts", "generate", "verify", "bonds", "curate", "sft", "refine", *EVALUATIONS, "compare_bonds"),
    settings=_settings,
    run=_run,
    uses_ray=False,
    reads_summaries=True,
)
