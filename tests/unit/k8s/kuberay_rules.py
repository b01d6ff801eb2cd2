"""What KubeRay's and Kueue's controllers refuse although the definitions allow it; each rule returns its findings."""

import re
from collections.abc import Iterator

from manifests import Object, cluster_spec, label_of, pods_of

RAY_VERSION = "2.60.0"
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST_NAME = {"RayCluster": 53, "RayJob": 47, "RayService": 47}
# Fields behind feature gates that are off by default: without the gate they are ignored.
GATED = ("networkPolicy", "tlsOptions", "historyServerOptions")
QUEUE, ELASTIC = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/elastic-job"
# A Kueue workload has at most 18 sets of pods: the head's, a job's submitter's, and one for each group.
MOST_WORKER_GROUPS = 16


def findings(objects: list[Object]) -> list[str]:
    """Everything that these rules find."""
    found: list[str] = []
    for obj in objects:
        cluster = cluster_spec(obj)
        rules = [name_rules(obj)]
        if cluster is not None:
            rules += [cluster_rules(cluster), fault_tolerance_rules(cluster), autoscaler_rules(cluster)]
            rules += [queue_rules(obj, cluster, objects)]
        rules += [job_rules(obj["spec"])] if obj["kind"] == "RayJob" else []
        rules += [service_rules(obj["spec"])] if obj["kind"] == "RayService" else []
        rules += [cluster_queue_rules(obj["spec"], objects)] if obj["kind"] == "ClusterQueue" else []
        found += [f"{label_of(obj)}: {finding}" for rule in rules for finding in rule]
    return found + list(budget_rules(objects))


def name_rules(obj: Object) -> Iterator[str]:
    name = obj["metadata"]["name"]
    longest = LONGEST_NAME.get(obj["kind"], 63)
    if len(name) > longest:
        yield f"the name has {len(name)} characters, at most {longest} are allowed"
    if not DNS_LABEL.fullmatch(name):
        yield f"the name {name!r} is no DNS label"


def cluster_rules(cluster: Object) -> Iterator[str]:
    if cluster.get("rayVersion") != RAY_VERSION:
        yield f"rayVersion is {cluster.get('rayVersion')}, the image has {RAY_VERSION}"
    auth = cluster.get("authOptions", {})
    if auth.get("mode") != "token" or not auth.get("secretName"):
        yield "authOptions must be token authentication with a Secret"
    if "enableK8sTokenAuth" in auth:
        yield "enableK8sTokenAuth is refused for jobs and services"
    yield from (f"{field} needs a feature gate that is off by default" for field in GATED if field in cluster)
    names = [group["groupName"] for group in cluster["workerGroupSpecs"]]
    yield from (f"two worker groups are named {name}" for name in set(names) if names.count(name) > 1)
    for group in [{**cluster["headGroupSpec"], "groupName": "head"}, *cluster["workerGroupSpecs"]]:
        name, params = group["groupName"], group.get("rayStartParams", {})
        if not DNS_LABEL.fullmatch(name):
            yield f"group {name!r} is no DNS label"
        if group.get("resources") and params.keys() & {"num-cpus", "num-gpus", "memory", "resources"}:
            yield f"group {name}: resources are set both in rayStartParams and in resources"
        if "labels" in params:
            yield f"group {name}: labels belong into the field labels, not into rayStartParams"


def autoscaler_rules(cluster: Object) -> Iterator[str]:
    if not cluster.get("enableInTreeAutoscaling"):
        return
    if cluster.get("autoscalerOptions", {}).get("version") != "v2":
        yield "autoscalerOptions.version must be v2: idleTimeoutSeconds of a group is v2's"
    head = cluster["headGroupSpec"]["template"]["spec"]
    if any(env["name"] == "RAY_enable_autoscaler_v2" for env in head["containers"][0].get("env", [])):
        yield "RAY_enable_autoscaler_v2 and autoscalerOptions.version exclude each other"
    for name, template in [
        ("head", head),
        *((group["groupName"], group["template"]["spec"]) for group in cluster["workerGroupSpecs"]),
    ]:
        if template.get("restartPolicy", "Never") != "Never":
            yield f"group {name}: restartPolicy must be Never under autoscaler v2"
    for group in cluster["workerGroupSpecs"]:
        if not group["minReplicas"] <= group.get("replicas", 0) <= group["maxReplicas"]:
            yield f"group {group['groupName']}: replicas must lie between minReplicas and maxReplicas"
        if group.get("suspend"):
            yield f"group {group['groupName']}: cannot be suspended under an autoscaler"


def fault_tolerance_rules(cluster: Object) -> Iterator[str]:
    options = cluster.get("gcsFaultToleranceOptions")
    head = cluster["headGroupSpec"]
    names = {env["name"] for env in head["template"]["spec"]["containers"][0].get("env", [])}
    if names & {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME"}:
        yield "Redis is set in the head's environment; only gcsFaultToleranceOptions may set it"
    if head.get("rayStartParams", {}).keys() & {"redis-password", "redis-username"}:
        yield "Redis is set in rayStartParams; only gcsFaultToleranceOptions may set it"
    if options is None:
        return
    if options.get("backend", "redis") != "redis":
        yield "only Redis keeps the head's state without a feature gate"
    for field in ("redisPassword", "redisUsername"):
        if "value" in options.get(field, {}):
            yield f"{field} is written out; it must come from a Secret"


def job_rules(job: Object) -> Iterator[str]:
    mode = job.get("submissionMode", "K8sJobMode")
    if mode == "SidecarMode" and ("submitterPodTemplate" in job or "submitterConfig" in job):
        yield "SidecarMode takes no submitter template or config"
    if mode == "InteractiveMode" and job.get("backoffLimit"):
        yield "InteractiveMode cannot retry"
    if "clusterSelector" in job:
        yield "clusterSelector excludes a cluster of the job's own"
    if not job.get("shutdownAfterJobFinishes"):
        yield "shutdownAfterJobFinishes must be true, or the cluster stays when the job is done"
    if "deletionRules" in job.get("deletionStrategy", {}) and job.get("shutdownAfterJobFinishes"):
        yield "deletionStrategy.deletionRules excludes shutdownAfterJobFinishes"
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if job.get(field, 0) <= 0:
            yield f"{field} must be set and positive"
    if job.get("ttlSecondsAfterFinished", 0) < 0 or job.get("backoffLimit", 0) < 0:
        yield "ttlSecondsAfterFinished and backoffLimit cannot be negative"


def service_rules(service: Object) -> Iterator[str]:
    if service["rayClusterConfig"]["headGroupSpec"].get("headService", {}).get("metadata", {}).get("name"):
        yield "the head service's name must not be set"
    if service.get("upgradeStrategy", {}).get("type") not in (None, "None", "NewCluster"):
        yield "upgradeStrategy.type must be NewCluster or None"


def queue_rules(obj: Object, cluster: Object, objects: list[Object]) -> Iterator[str]:
    """Kueue's requirements for a workload with a queue label."""
    queue = obj["metadata"].get("labels", {}).get(QUEUE)
    if queue is None:
        return
    if queue not in [o["metadata"]["name"] for o in objects if o["kind"] == "LocalQueue"]:
        yield f"there is no local queue {queue}"
    if obj["kind"] == "RayJob" and not obj["spec"].get("shutdownAfterJobFinishes"):
        yield "Kueue needs shutdownAfterJobFinishes"
    elastic = obj["metadata"].get("annotations", {}).get(ELASTIC) == "true"
    if cluster.get("enableInTreeAutoscaling") and not elastic:
        yield f"Kueue admits an autoscaled workload only with the annotation {ELASTIC}"
    if elastic and obj["kind"] == "RayService" and obj["spec"].get("upgradeStrategy", {}).get("type") != "None":
        yield "an elastic service cannot be upgraded by a second cluster"
    if len(cluster["workerGroupSpecs"]) > MOST_WORKER_GROUPS:
        yield f"a workload has at most {MOST_WORKER_GROUPS} worker groups"
    queues = [o["spec"] for o in objects if o["kind"] == "ClusterQueue"]
    covered = {name for queue in queues for group in queue["resourceGroups"] for name in group["coveredResources"]}
    for pod in pods_of([obj]):
        requested = {name for container in pod.containers for name in container["resources"]["requests"]}
        yield from (f"{pod.role}: no queue covers {name}" for name in sorted(requested - covered))


def cluster_queue_rules(queue: Object, objects: list[Object]) -> Iterator[str]:
    flavors = {o["metadata"]["name"] for o in objects if o["kind"] == "ResourceFlavor"}
    for group in queue["resourceGroups"]:
        for flavor in group["flavors"]:
            if flavor["name"] not in flavors:
                yield f"there is no flavor {flavor['name']}"
            if [resource["name"] for resource in flavor["resources"]] != group["coveredResources"]:
                yield f"flavor {flavor['name']} must give a quota for each covered resource, in their order"
            if "cohortName" not in queue and any("borrowingLimit" in r for r in flavor["resources"]):
                yield "borrowingLimit needs a cohort"


def budget_rules(objects: list[Object]) -> Iterator[str]:
    """The disruption controller counts pods of other kinds than its own only with an integer minAvailable."""
    for obj in objects:
        if obj["kind"] != "PodDisruptionBudget":
            continue
        spec = obj["spec"]
        is_ray = "ray.io/node-type" in spec["selector"]["matchLabels"]
        if is_ray and not isinstance(spec.get("minAvailable"), int):
            yield f"{label_of(obj)}: Ray's pods need a whole minAvailable"
