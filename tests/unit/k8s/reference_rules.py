"""Everything named in a manifest exists: in the manifests, in the image, or in the list of manually created Secrets."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import yaml
from manifests import ROOT, Object, Pod, cluster_spec, label_of, pods_of, selects, walk

# Made by hand (docs/guides/operations.md): name to keys; null: whatever keys the user gives.
SECRETS: dict[str, set[str] | None] = {
    "stillery-ray-auth": {"auth_token"},
    "stillery-redis": {"password"},
    "stillery-keys": None,
    "stillery-serve-keys": {"keys.json"},
}
# Where the image has the project, and which of its folders.
IN_IMAGE = PurePosixPath("/opt/stillery")
# Ports that are not in the manifests: the Kubernetes API's, HTTPS to the outside, DNS.
OUTSIDE_PORTS = {53, 443, 6443, 8443}
APPS = "stillery.io/app"


def findings(objects: list[Object]) -> list[str]:
    """Everything that these rules find."""
    found = [f"{pod.name}: {finding}" for pod in pods_of(objects) for finding in pod_references(pod, objects)]
    for obj in objects:
        rules = [address_rules(obj, objects)]
        rules += [entry_point_rules(obj["spec"]["entrypoint"], objects)] if obj["kind"] == "RayJob" else []
        rules += [serve_rules(obj)] if obj["kind"] == "RayService" else []
        rules += [service_rules(obj, objects)] if obj["kind"] == "Service" else []
        rules += [network_rules(obj, objects)] if obj["kind"] == "NetworkPolicy" else []
        rules += [budget_rules(obj, objects)] if obj["kind"] == "PodDisruptionBudget" else []
        cluster = cluster_spec(obj)
        if cluster is not None:
            secret = cluster.get("authOptions", {}).get("secretName")
            rules += [secret_rules(str(secret), "auth_token")]
        found += [f"{label_of(obj)}: {finding}" for rule in rules for finding in rule]
    return found


def names(objects: list[Object], kind: str) -> set[str]:
    return {obj["metadata"]["name"] for obj in objects if obj["kind"] == kind}


def secret_rules(name: str, key: str | None) -> Iterator[str]:
    if name not in SECRETS:
        yield f"nobody makes a Secret {name}"
    elif key is not None and SECRETS[name] is not None and key not in (SECRETS[name] or ()):
        yield f"the Secret {name} has no key {key}"


def pod_references(pod: Pod, objects: list[Object]) -> Iterator[str]:
    spec = pod.spec
    account = spec.get("serviceAccountName")
    if account is not None and account not in names(objects, "ServiceAccount"):
        yield f"there is no ServiceAccount {account}"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    owner = next(obj for obj in objects if label_of(obj) == pod.owner)
    claims = {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
    mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
    yield from (f"volume {name} is mounted and not there" for name in sorted(mounted - volumes.keys() - claims))
    yield from (f"volume {name} is mounted nowhere" for name in sorted(volumes.keys() - mounted))
    for volume in volumes.values():
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim is not None and claim not in names(objects, "PersistentVolumeClaim"):
            yield f"there is no PersistentVolumeClaim {claim}"
        config_map = volume.get("configMap", {}).get("name")
        if config_map is not None and config_map not in names(objects, "ConfigMap"):
            yield f"there is no ConfigMap {config_map}"
        if "secret" in volume:
            yield from secret_rules(volume["secret"]["secretName"], None)
    for container in pod.containers:
        yield from container_references(container)


def container_references(container: Object) -> Iterator[str]:
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    for path, value in walk(container):
        if path.endswith(".secretKeyRef"):
            yield from secret_rules(value["name"], value["key"])
        if path.endswith(".secretRef"):
            yield from secret_rules(value["name"], None)
        if path.endswith(".httpGet") and value["port"] not in {*ports, *ports.values()}:
            yield f"{container['name']}: a probe asks port {value['port']}, which it has not"


def address_rules(obj: Object, objects: list[Object]) -> Iterator[str]:
    """`stillery-NAME:PORT` in any value is a Service with that port."""
    services = {
        o["metadata"]["name"]: {p["port"] for p in o["spec"]["ports"]} for o in objects if o["kind"] == "Service"
    }
    for path, value in walk(obj):
        for host, port in re.findall(r"\b(stillery-[a-z-]+):(\d+)", value) if isinstance(value, str) else []:
            if int(port) not in services.get(host, set()):
                yield f"{path}: no Service {host} listens on {port}"
        if path.endswith("redisPassword.valueFrom.secretKeyRef"):
            yield from secret_rules(value["name"], value["key"])


def entry_point_rules(entry_point: str, objects: list[Object]) -> Iterator[str]:
    """The script is in the image, and the config in the ConfigMap that is mounted."""
    for word in entry_point.split():
        path = PurePosixPath(word)
        if path.is_relative_to(IN_IMAGE) and not (ROOT / path.relative_to(IN_IMAGE)).is_file():
            yield f"the image has no {word}"
        if path.parent == PurePosixPath("/etc/stillery/configs"):
            config_maps = [obj for obj in objects if label_of(obj) == "ConfigMap/stillery-configs"]
            if not any(path.name in config_map["data"] for config_map in config_maps):
                yield f"no config {path.name} is in the ConfigMap"
    if "--config" not in entry_point.split():
        yield "the entry point names no config"


def serve_rules(service: Object) -> Iterator[str]:
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    cluster = service["spec"]["rayClusterConfig"]
    mounts = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    for application in config["applications"]:
        module, _, name = application["import_path"].partition(":")
        source = ROOT / Path(*module.split(".")).with_suffix(".py")
        if not source.is_file() or not re.search(rf"\b{name}\b", source.read_text()):
            yield f"there is no {application['import_path']}"
        key_file = application["args"]["gateway"]["key_file"]
        if not any(str(key_file).startswith(mount["mountPath"] + "/") for mount in mounts):
            yield f"key file {key_file} is not mounted"
    if config["http_options"]["host"] != "0.0.0.0":
        yield "the endpoint listens where no other pod reaches it"
    for pod in pods_of([service]):
        ports = {p["containerPort"] for c in pod.containers for p in c.get("ports", [])}
        if pod.is_ray and config["http_options"]["port"] not in ports:
            yield f"{pod.role} has no port {config['http_options']['port']}"


def service_rules(service: Object, objects: list[Object]) -> Iterator[str]:
    chosen = [pod for pod in pods_of(objects) if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)]
    if not chosen:
        yield "selects no pod"
    for port in service["spec"]["ports"]:
        for pod in chosen:
            if port["targetPort"] not in {p["name"] for c in pod.containers for p in c.get("ports", [])}:
                yield f"{pod.name} has no port {port['targetPort']}"


def network_rules(policy: Object, objects: list[Object]) -> Iterator[str]:
    """Each selector takes some pod, and each port is one that a pod has."""
    pods = list(pods_of(objects))
    ports = {port["containerPort"] for pod in pods for c in pod.containers for port in c.get("ports", [])}
    for path, value in walk(policy["spec"]):
        if path.endswith("podSelector") and value and not any(selects(value, pod.labels) for pod in pods):
            yield f"{path} selects no pod"
        if path.endswith(".port") and value not in ports | OUTSIDE_PORTS:
            yield f"{path}: no pod has port {value}"


def budget_rules(budget: Object, objects: list[Object]) -> Iterator[str]:
    if not any(selects(budget["spec"]["selector"], pod.labels) for pod in pods_of(objects)):
        yield "selects no pod"
