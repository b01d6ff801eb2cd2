"""Pod security: Kubernetes' restricted profile, resources, probes, and no secrets in plain text."""

import re
from collections.abc import Iterator

from manifests import Object, Pod, cluster_spec, label_of, pods_of, walk

# The restricted profile's volume types that these manifests may use.
VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "secret", "projected"}
SECRET_NAME = re.compile(r"(KEY|TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIALS)($|_)", re.IGNORECASE)
# Values that are secrets whatever they are called: keys of OpenAI, Hugging Face, AWS, GitHub and ours, private keys,
# passwords in addresses.
SECRET_VALUE = re.compile(
    r"\bsk-[A-Za-z0-9_-]{16}|\bhf_[A-Za-z0-9]{16}|\bAKIA[0-9A-Z]{12}|\bgh[pousr]_[A-Za-z0-9]{20}|\bstl_[0-9a-f]{12}_"
    r"|BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s:@$]+@"
)


def findings(objects: list[Object]) -> list[str]:
    """Everything that these rules find."""
    found = [f"{pod.name}: {finding}" for pod in pods_of(objects) for finding in pod_rules(pod)]
    for obj in objects:
        cluster = cluster_spec(obj)
        if cluster is not None and cluster.get("enableInTreeAutoscaling"):
            # KubeRay puts the autoscaler's container into the head's pod.
            container = {"name": "autoscaler", "image": "the head's:tag", **cluster.get("autoscalerOptions", {})}
            found += [f"{label_of(obj)}: {finding}" for finding in container_rules(container)]
        if obj["kind"] == "Namespace":
            level = obj["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
            found += [] if level == "restricted" else [f"{label_of(obj)}: does not enforce the restricted profile"]
        found += [f"{label_of(obj)}: {finding}" for finding in secret_rules(obj)]
    return found


def pod_rules(pod: Pod) -> Iterator[str]:
    spec, security = pod.spec, pod.spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("runAsUser", 0) == 0:
        yield "must run as a user that is not root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccompProfile must be RuntimeDefault"
    yield from (f"{field} is not allowed" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    for volume in spec.get("volumes", []):
        kinds = volume.keys() - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(sorted(kinds - VOLUMES))}"
    # Only heads talk to the Kubernetes API, with an account that KubeRay makes for them.
    if pod.role != "head" and (
        spec.get("automountServiceAccountToken") is not False or "serviceAccountName" not in spec
    ):
        yield "must have an account of its own and no token of it"
    if spec.get("enableServiceLinks") is not False:
        yield "enableServiceLinks must be false: variables such as MLFLOW_PORT would be taken for settings"
    for container in pod.containers:
        yield from container_rules(container)
        # KubeRay gives Ray's containers their probes; a submitter ends by itself.
        if not pod.is_ray and pod.role != "submitter":
            yield from (
                f"{container['name']} has no {probe}"
                for probe in ("startupProbe", "readinessProbe", "livenessProbe")
                if probe not in container
            )
        if pod.is_ray and {"startupProbe", "readinessProbe", "livenessProbe"} & container.keys():
            yield f"{container['name']}: KubeRay's own probes would be replaced"


def container_rules(container: Object) -> Iterator[str]:
    name, security = container["name"], container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield f"{name} may gain privileges"
    if security.get("capabilities", {}).get("drop") != ["ALL"] or security.get("capabilities", {}).get("add"):
        yield f"{name} keeps capabilities"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name} takes a port of its node"
    resources = container.get("resources", {})
    for amount in ("requests", "limits"):
        if not {"cpu", "memory"} <= resources.get(amount, {}).keys():
            yield f"{name} has no {amount} for cpu and memory"
    gpus = [resources.get(amount, {}).get("nvidia.com/gpu") for amount in ("requests", "limits")]
    if gpus[0] != gpus[1]:
        yield f"{name}: GPUs are not shared, requests and limits must be equal"
    image = container["image"]
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    if "@sha256:" not in image and tag in ("", "latest"):
        yield f"{name}: the image {image} is not pinned"


def secret_rules(obj: Object) -> Iterator[str]:
    if obj["kind"] == "Secret":
        yield "Secrets are made by hand, never from files of the repository"
    for path, value in walk(obj):
        if isinstance(value, str) and SECRET_VALUE.search(value):
            yield f"{path} looks like a secret"
        if isinstance(value, dict) and {"name", "value"} <= value.keys() and SECRET_NAME.search(str(value["name"])):
            yield f"{path}: {value['name']} is written out; take it from a Secret"
