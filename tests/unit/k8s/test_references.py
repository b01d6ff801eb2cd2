"""No manifest has a dangling reference, and every kind of dangling reference is caught."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import OVERLAYS, ROOT, Object, cluster_spec, named, pods_of, render
from ray.autoscaler._private.kuberay import autoscaling_config
from reference_rules import SECRETS, findings

from stillery.cluster import placement
from stillery.cluster.placement import Nodes
from stillery.config import load_config
from stillery.pipeline.order import STAGES
from stillery.serving.settings import load_endpoint

CONFIGS = ROOT / "jobs" / "configs"
STAGE_NAMES = {stage.name for stage in STAGES}


def limits_of(group: Object) -> dict[str, str]:
    return group["template"]["spec"]["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_that_is_named_exists(overlay: str) -> None:
    assert findings(render(overlay)) == []


def test_the_config_map_holds_every_config_and_nothing_else() -> None:
    held = named(render("cpu"), "ConfigMap", "stillery-configs")["data"]
    assert set(held) == {path.name for path in CONFIGS.glob("*.yaml")}
    for name, text in held.items():
        assert text == (CONFIGS / name).read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_jobs_run_fits_the_worker_groups(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = named(render(overlay), "RayJob")
    environment = yaml.safe_load(job["spec"].get("runtimeEnvYAML", "{}")).get("env_vars", {})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _, _, flag, path, *overrides = job["spec"]["entrypoint"].split()
    assert flag == "--config"
    config = load_config(CONFIGS / Path(path).name, overrides)
    placement.check_config(config)
    groups = {group["groupName"]: group for group in cluster_spec(job)["workerGroupSpecs"]}
    nodes = [Nodes(groups["cpu"]["minReplicas"], {"CPU": float(limits_of(groups["cpu"])["cpu"])})]
    placement.check_demands(placement.demands_of(config, STAGE_NAMES), nodes + placement.addable(config, nodes))
    assert ("teacher" in groups) == ("teacher" in config.cluster.node_groups)
    for name, told in config.cluster.node_groups.items():
        assert name in groups
        assert told.max_nodes <= groups[name]["maxReplicas"]
        # What Ray's autoscaler makes of the group.
        known = autoscaling_config._node_type_from_group_spec(groups[name], is_head=False)
        assert told.resources == {kind: known["resources"][kind] for kind in ("CPU", "GPU")}
        assert told.labels == known["labels"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_serve_config_is_one_that_the_application_takes(overlay: str, tmp_path: Any) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(named(render(overlay), "RayService")["spec"]["serveConfigV2"])
    endpoint = load_endpoint(path)
    ours, users = yaml.safe_load(path.read_text()), yaml.safe_load((ROOT / "serving" / "serve.yaml").read_text())
    for key in ("name", "route_prefix", "import_path"):
        assert ours["applications"][0][key] == users["applications"][0][key]
    assert endpoint.settings.gateway.key_file is not None


def test_every_secret_is_told_of_in_the_documentation() -> None:
    operations = (ROOT / "docs" / "guides" / "operations.md").read_text()
    for name, keys in SECRETS.items():
        assert f"create secret generic {name}" in operations
        assert all(key in operations for key in keys or ())


def test_every_pod_of_ray_finds_the_runs_the_models_and_the_tracking_server() -> None:
    pods = [pod for pod in pods_of(render("gpu")) if pod.is_ray]
    assert len(pods) == 11
    for pod in pods:
        mounts = {m["mountPath"] for m in pod.containers[0]["volumeMounts"]}
        assert {"/srv/stillery", "/models", "/etc/stillery/configs"} <= mounts
        assert {"name": "MLFLOW_TRACKING_URI", "value": "http://stillery-mlflow:5000"} in pod.containers[0]["env"]


def head(objects: list[Object]) -> Any:
    return cluster_spec(named(objects, "RayCluster"))["headGroupSpec"]["template"]["spec"]


def dangling_config(objects: list[Object]) -> None:
    job = named(objects, "RayJob")["spec"]
    job["entrypoint"] = re.sub(r"--config \S+", "--config /etc/stillery/configs/nothing.yaml", job["entrypoint"])


def dangling_script(objects: list[Object]) -> None:
    job = named(objects, "RayJob")["spec"]
    job["entrypoint"] = job["entrypoint"].replace("distill.py", "destill.py")


def dangling_claim(objects: list[Object]) -> None:
    head(objects)["volumes"][0]["persistentVolumeClaim"]["claimName"] = "stillery-run"


def dangling_config_map(objects: list[Object]) -> None:
    head(objects)["volumes"][2]["configMap"]["name"] = "stillery-config"


def dangling_mount(objects: list[Object]) -> None:
    head(objects)["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": "/data"})


def dangling_secret(objects: list[Object]) -> None:
    cluster_spec(named(objects, "RayService"))["authOptions"]["secretName"] = "ray-auth"


def wrong_key_of_a_secret(objects: list[Object]) -> None:
    options = cluster_spec(named(objects, "RayCluster"))["gcsFaultToleranceOptions"]
    options["redisPassword"]["valueFrom"]["secretKeyRef"]["key"] = "pass"


def dangling_service(objects: list[Object]) -> None:
    head(objects)["containers"][0]["env"][0]["value"] = "http://stillery-tracking:5000"


def wrong_port(objects: list[Object]) -> None:
    cluster_spec(named(objects, "RayCluster"))["gcsFaultToleranceOptions"]["redisAddress"] = "stillery-redis:6380"


def wrong_probe(objects: list[Object]) -> None:
    container = named(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    container["livenessProbe"]["httpGet"]["port"] = "web"


def wrong_service_selector(objects: list[Object]) -> None:
    named(objects, "Service", "stillery-mlflow")["spec"]["selector"] = {"stillery.io/app": "tracking"}


def wrong_policy_port(objects: list[Object]) -> None:
    named(objects, "NetworkPolicy", "stillery-submitter")["spec"]["egress"][0]["ports"][0]["port"] = 8266


def wrong_budget(objects: list[Object]) -> None:
    named(objects, "PodDisruptionBudget", "stillery-job-head")["spec"]["selector"]["matchLabels"]["a"] = "b"


def wrong_account(objects: list[Object]) -> None:
    named(objects, "StatefulSet")["spec"]["template"]["spec"]["serviceAccountName"] = "stillery"


def wrong_import(objects: list[Object]) -> None:
    service = named(objects, "RayService")["spec"]
    service["serveConfigV2"] = service["serveConfigV2"].replace("serving.app:build", "serving.app:deployment")


def unmounted_keys(objects: list[Object]) -> None:
    service = named(objects, "RayService")["spec"]
    service["serveConfigV2"] = service["serveConfigV2"].replace("/etc/stillery/keys/", "/etc/stillery/secrets/")


def loopback(objects: list[Object]) -> None:
    service = named(objects, "RayService")["spec"]
    service["serveConfigV2"] = service["serveConfigV2"].replace("0.0.0.0", "127.0.0.1")


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (dangling_config, "no config nothing.yaml"),
        (dangling_script, "the image has no /opt/stillery/jobs/destill.py"),
        (dangling_claim, "no PersistentVolumeClaim stillery-run"),
        (dangling_config_map, "no ConfigMap stillery-config"),
        (dangling_mount, "volume data is mounted and not there"),
        (dangling_secret, "nobody makes a Secret ray-auth"),
        (wrong_key_of_a_secret, "the Secret stillery-redis has no key pass"),
        (dangling_service, "no Service stillery-tracking listens on 5000"),
        (wrong_port, "no Service stillery-redis listens on 6380"),
        (wrong_probe, "a probe asks port web"),
        (wrong_service_selector, "selects no pod"),
        (wrong_policy_port, "no pod has port 8266"),
        (wrong_budget, "selects no pod"),
        (wrong_account, "there is no ServiceAccount stillery"),
        (wrong_import, "there is no serving.app:deployment"),
        (unmounted_keys, "is not mounted"),
        (loopback, "listens where no other pod reaches it"),
    ],
)
def test_a_dangling_name_is_caught(plant: Callable[[list[Object]], None], expected: str) -> None:
    objects = render("gpu")
    plant(objects)
    found = findings(objects)
    assert len(found) == 1, found
    assert expected in found[0]
