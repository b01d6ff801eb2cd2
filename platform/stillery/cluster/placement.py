"""Placement check: whether a cluster can ever place what a run requests. Takes a second, before the first Ray stage.

Ray keeps an actor that fits nowhere waiting forever. In: the config, and the nodes that the cluster has or that its
autoscaler may add. Out: nothing, or a UserError that names the unmet requests and the existing nodes.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor

from stillery.config import Config, EngineConfig, RefineConfig, SftConfig
from stillery.errors import UserError

# Ray's label on the running nodes of a KubeRay or autoscaler group; the autoscaler starts no node for it.
NODE_GROUP = "ray.io/node-group"
# The CPUs of the grading actor beside the engines, and of a task that reads a table.
GRADER_CPUS = 0.25
READ_CPUS = 0.25

STUDENT_EVALUATIONS = ("evaluate_before", "evaluate_sft", "evaluate_after")

_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SELECTOR = re.compile(rf"(!?)(?:in\(({_WORD}(?:, ?{_WORD})*)\)|({_WORD}))")


@dataclass(frozen=True, slots=True)
class Demand:
    """`count` actors of a stage, each of which needs `resources` on one node whose labels match the selector `labels`.

    `section` is their section in the config; `beside_cpus` are CPUs that a helper needs on any one node meanwhile.
    """

    stage: str
    section: str
    what: str
    count: int
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    beside_cpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Nodes:
    """`count` identical nodes, existing or the maximum to be added."""

    count: int
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def check_config(config: Config) -> None:
    """Raise UserError for a label selector that Ray would refuse, or an engine whose parallel size differs from its
    number of GPUs."""
    for section, labels in (
        ("teacher", config.teacher.labels),
        ("evaluate", config.evaluate.labels),
        ("verify.judge", config.verify.judge.labels),
        ("sft", config.sft.labels),
        ("refine", config.refine.labels),
    ):
        for key, selector in labels.items():
            if _SELECTOR.fullmatch(selector) is None:
                raise UserError(
                    f"{section}.labels.{key} is {selector!r}; write a value, '!value', 'in(a, b)' or '!in(a, b)'"
                )
    if config.teacher.kind == "vllm":
        _check_parallel_size("teacher", config.teacher)
    _check_parallel_size("evaluate", config.evaluate)
    if config.verify.judge.kind == "vllm":
        _check_parallel_size("verify.judge", config.verify.judge)


def check(config: Config, stages: Collection[str]) -> None:
    """Raise UserError if the connected cluster can never place the requests of one of these stages."""
    check_demands(demands_of(config, stages), cluster_nodes(config))


def demands_of(config: Config, stages: Collection[str]) -> list[Demand]:
    """The Ray resource requests of the stages, where a small node might not meet them."""
    demands: list[Demand] = []
    teacher = config.teacher
    if "generate" in stages and teacher.kind != "recorded":
        beside = 0.0 if teacher.accepted_per_prompt is None else GRADER_CPUS
        demands.append(_engines("generate", "teacher", teacher, beside_cpus=beside))
    if "verify" in stages:
        demands.append(Demand("verify", "verify", "checker", 1, {"CPU": READ_CPUS + config.verify.num_cpus}))
        if config.verify.judge.kind != "none":
            demands.append(_engines("verify", "verify.judge", config.verify.judge))
    if "attention" in stages:
        reading = {"CPU": config.attention.num_cpus}
        if config.attention.target == "teacher" and config.attention.num_gpus:
            reading["GPU"] = config.attention.num_gpus
        demands.append(Demand("attention", "attention", "reader", 1, reading))
    if "sft" in stages:
        demands.append(_workers("sft", config.sft))
    if "refine" in stages:
        demands.append(_workers("refine", config.refine))
    if "evaluate_teacher" in stages and teacher.kind != "recorded":
        demands.append(_engines("evaluate_teacher", "teacher", teacher))
    demands += [_engines(s, "evaluate", config.evaluate) for s in STUDENT_EVALUATIONS if s in stages]
    return demands


def check_demands(demands: Sequence[Demand], nodes: Sequence[Nodes]) -> None:
    """Raise UserError with a line for each demand that these nodes cannot meet at once."""
    lines = [_misfit(demand, nodes) for demand in demands if not _fits(demand, nodes)]
    if lines:
        raise UserError("\n".join(dict.fromkeys(lines)))


def num_fitting(demand: Demand, nodes: Sequence[Nodes]) -> int:
    """The number of the demand's actors that fit onto the nodes. Exact, because they are all alike."""
    return sum(kind.count * _num_fitting_on(demand, kind) for kind in nodes if selects(demand.labels, kind.labels))


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a node's labels match a selector, by Ray's rules: a node without the label matches only a `!`."""
    return all(_selects_value(condition, labels.get(key)) for key, condition in selector.items())


def cluster_nodes(config: Config) -> list[Nodes]:
    """The live nodes, and those that the config's node groups may add."""
    import ray

    live = [Nodes(1, node["Resources"], node.get("Labels") or {}) for node in ray.nodes() if node["Alive"]]
    return live + addable(config, live)


def addable(config: Config, live: Sequence[Nodes]) -> list[Nodes]:
    """The nodes that groups may still add, with the labels known to Ray's autoscaler: those of the group."""
    running = Counter(node.labels.get(NODE_GROUP) for node in live)
    return [
        Nodes(max(0, group.max_nodes - running[name]), group.resources, group.labels)
        for name, group in config.cluster.node_groups.items()
    ]


def _check_parallel_size(section: str, engine: EngineConfig) -> None:
    sizes = {key: engine.engine.get(key, 1) for key in ("tensor_parallel_size", "pipeline_parallel_size")}
    needed = sizes["tensor_parallel_size"] * sizes["pipeline_parallel_size"]
    if engine.num_gpus > 0 and needed != max(1, engine.num_gpus):
        said = ", ".join(f"{key}={size}" for key, size in sizes.items() if size != 1) or "tensor_parallel_size=1"
        raise UserError(
            f"{section}.num_gpus is {engine.num_gpus:g}, but {section}.engine has {said}: one replica takes {needed} "
            f"GPUs; set {section}.num_gpus={needed}"
        )


def _engines(stage: str, section: str, engine: EngineConfig, *, beside_cpus: float = 0.0) -> Demand:
    resources = {"CPU": engine.num_cpus, "GPU": engine.num_gpus, **engine.resources}
    return Demand(stage, section, "replica", engine.replicas, resources, engine.labels, beside_cpus)


def _workers(stage: str, config: SftConfig | RefineConfig) -> Demand:
    resources = {"CPU": config.num_cpus, "GPU": float(config.use_gpu), **config.resources}
    return Demand(stage, stage, "worker", config.num_workers, resources, config.labels)


def _fits(demand: Demand, nodes: Sequence[Nodes]) -> bool:
    if not demand.beside_cpus:
        return num_fitting(demand, nodes) >= demand.count
    return any(
        num_fitting(demand, _without_cpus(nodes, index, demand.beside_cpus)) >= demand.count
        for index, kind in enumerate(nodes)
        if kind.count > 0 and kind.resources.get("CPU", 0) >= demand.beside_cpus
    )


def _without_cpus(nodes: Sequence[Nodes], index: int, cpus: float) -> list[Nodes]:
    """The nodes with this many CPUs of one of them taken."""
    kind = nodes[index]
    less = {**kind.resources, "CPU": kind.resources["CPU"] - cpus}
    rest = Nodes(kind.count - 1, kind.resources, kind.labels)
    return [*nodes[:index], rest, Nodes(1, less, kind.labels), *nodes[index + 1 :]]


def _num_fitting_on(demand: Demand, kind: Nodes) -> int:
    needs = {name: need for name, need in demand.resources.items() if need > 0}
    if not needs:
        return demand.count
    # Ray counts in ten-thousandths; 0.3 must fit into 0.9 three times.
    return min(floor(round(kind.resources.get(name, 0.0) / need, 6)) for name, need in needs.items())


def _selects_value(condition: str, value: str | None) -> bool:
    match = _SELECTOR.fullmatch(condition)
    assert match is not None, f"selector {condition!r} was not checked"
    negated, several, single = match.groups()
    wanted = re.split(r", ?", several) if several else [single]
    return (value in wanted) != bool(negated)


def _misfit(demand: Demand, nodes: Sequence[Nodes]) -> str:
    chosen = [kind for kind in nodes if kind.count > 0 and selects(demand.labels, kind.labels)]
    needs = ", ".join(f"{need:g} {name}" for name, need in demand.resources.items() if need > 0)
    beside = f" and {demand.beside_cpus:g} CPU for checking beside them" if demand.beside_cpus else ""
    where = " on nodes with " + ", ".join(f"{k}={v}" for k, v in demand.labels.items()) if demand.labels else ""
    who = f"1 {demand.what} with" if demand.count == 1 else f"{demand.count} {demand.what}s, each with"
    head = f"{demand.stage}: {who} {needs}{beside}{where} will never fit"
    return f"{head}: {_there_is(demand, chosen)}. {_remedy(demand, num_fitting(demand, nodes), chosen)}"


def _there_is(demand: Demand, chosen: Sequence[Nodes]) -> str:
    num_nodes = sum(kind.count for kind in chosen)
    such = "such node" if demand.labels else "node"
    if not num_nodes:
        return f"the cluster has no {such}"
    names = [name for name, need in demand.resources.items() if need > 0]
    totals = ", ".join(f"{sum(k.count * k.resources.get(n, 0.0) for k in chosen):g} {n}" for n in names)
    most = ", ".join(f"{max(k.resources.get(n, 0.0) for k in chosen):g} {n}" for n in names)
    return f"the cluster has {num_nodes} {such}{'s' * (num_nodes > 1)} with {totals} in all, at most {most} on one"


def _remedy(demand: Demand, fitting: int, chosen: Sequence[Nodes]) -> str:
    section = demand.section
    if fitting >= 1 and demand.count > 1:
        setting = "num_workers" if section in ("sft", "refine") else "replicas"
        first = f"Set {section}.{setting}={min(fitting, demand.count - 1)}"
    elif demand.labels and not chosen:
        first = f"Change {section}.labels"
        if NODE_GROUP in demand.labels:
            first += f" (of nodes that are not up an autoscaler knows no {NODE_GROUP}: give the group another label)"
    elif section == "verify":
        first = "Lower verify.num_cpus or free a CPU"
    else:
        settings = {"CPU": "num_cpus", "GPU": "use_gpu" if section in ("sft", "refine") else "num_gpus"}
        most = {n: max((k.resources.get(n, 0.0) for k in chosen), default=0.0) for n in demand.resources}
        lacking = [settings.get(n, "resources") for n, need in demand.resources.items() if need > most[n]]
        first = f"Lower {section}.{(lacking or ['num_cpus'])[0]}"
    return f"{first}, or add nodes; an autoscaler's are named in cluster.node_groups"
