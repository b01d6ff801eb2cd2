"""Placement: a run that asks for more than the cluster will ever have is refused, with the remedy."""

import pytest

from stillery.cluster.placement import (
    NODE_GROUP,
    Demand,
    Nodes,
    addable,
    check_config,
    check_demands,
    demands_of,
    num_fitting,
    selects,
)
from stillery.config import Config, load_config
from stillery.errors import UserError

STAGES = {"generate", "verify", "sft", "evaluate_teacher", "evaluate_before", "evaluate_after"}
GPU_NODE = {"CPU": 64.0, "GPU": 8.0}


def node(count: int = 1, *, group: str | None = None, **resources: float) -> Nodes:
    return Nodes(count, resources, {} if group is None else {NODE_GROUP: group})


def refusal(config: Config, nodes: list[Nodes], stages: set[str] = STAGES) -> str:
    with pytest.raises(UserError) as caught:
        check_demands(demands_of(config, stages), nodes)
    return str(caught.value)


def test_the_demo_fits_the_head_that_we_start_ourselves() -> None:
    check_demands(demands_of(load_config("jobs/configs/demo.yaml"), STAGES), [node(CPU=4)])


def test_a_judge_that_fits_nowhere_is_refused() -> None:
    judged = ["verify.judge.kind=vllm", "verify.judge.model=embedded:teacher", "verify.judge.num_gpus=1"]
    message = refusal(load_config(None, judged), [node(2, CPU=8)])
    assert "verify: 1 replica with 1 CPU, 1 GPU will never fit" in message
    assert "Lower verify.judge.num_gpus" in message
    check_demands(demands_of(load_config(None, judged[:2]), STAGES), [node(CPU=4)])
    with pytest.raises(UserError, match=r"set verify\.judge\.num_gpus=2"):
        check_config(load_config(None, [*judged, "verify.judge.engine.tensor_parallel_size=2"]))


def test_more_gpus_than_any_node_has_is_refused_with_what_there_is() -> None:
    config = load_config(None, ["teacher.num_gpus=8"])
    message = refusal(config, [node(2, CPU=32, GPU=4)])
    assert "generate: 1 replica with 1 CPU, 8 GPU will never fit" in message
    assert "2 nodes with 64 CPU, 8 GPU in all, at most 32 CPU, 4 GPU on one. Lower teacher.num_gpus" in message
    assert "sft" not in message


def test_too_many_replicas_are_told_how_many_fit() -> None:
    config = load_config(None, ["teacher.num_gpus=4", "teacher.replicas=5"])
    message = refusal(config, [node(2, CPU=64, GPU=8)])
    assert "Set teacher.replicas=4" in message
    check_demands(
        demands_of(load_config(None, ["teacher.num_gpus=4", "teacher.replicas=4"]), STAGES), [node(2, **GPU_NODE)]
    )


def test_grading_beside_the_engines_needs_room_of_its_own() -> None:
    """The engine would hold the only CPU and the grader that it waits for would never start."""
    config = load_config(None, ["teacher.accepted_per_prompt=2"])
    assert "0.25 CPU for checking beside them" in refusal(config, [node(CPU=1)], {"generate"})
    check_demands(demands_of(config, {"generate"}), [node(CPU=1), node(CPU=0.25)])
    check_demands(demands_of(load_config(None), {"generate"}), [node(CPU=1)])


def test_labels_keep_teacher_and_trainer_on_nodes_of_their_own() -> None:
    config = load_config(
        None,
        [
            "teacher.num_gpus=8", "teacher.labels={ray.io/node-group: teacher-gpu}",
            "sft.use_gpu=true", "sft.num_workers=8", "sft.labels={ray.io/node-group: trainer-gpu}",
        ],
    )  # fmt: skip
    check_demands(
        demands_of(config, STAGES), [node(group="teacher-gpu", **GPU_NODE), node(group="trainer-gpu", **GPU_NODE)]
    )
    message = refusal(config, [node(2, group="teacher-gpu", **GPU_NODE)])
    assert message.startswith("sft: 8 workers")
    assert "the cluster has no such node. Change sft.labels" in message


def test_custom_resources_count() -> None:
    config = load_config(None, ["sft.resources={trainer_slot: 1}"])
    assert "1 trainer_slot" in refusal(config, [node(CPU=8)], {"sft"})
    check_demands(demands_of(config, {"sft"}), [node(CPU=8, trainer_slot=1)])


def test_what_the_autoscaler_may_add_counts_and_what_runs_is_not_counted_twice() -> None:
    config = load_config(
        None,
        ["teacher.num_gpus=8", "teacher.replicas=2",
         "cluster.node_groups={teacher-gpu: {max_nodes: 2, resources: {CPU: 64, GPU: 8}}}"],
    )  # fmt: skip
    live = [node(CPU=8), node(group="teacher-gpu", **GPU_NODE)]
    assert [kind.count for kind in addable(config, live)] == [1]
    check_demands(demands_of(config, STAGES), live + addable(config, live))
    three = load_config(None, ["teacher.num_gpus=8", "teacher.replicas=3"])
    assert "Set teacher.replicas=2" in refusal(three, live + addable(config, live))


def test_a_group_can_be_named_by_arguments_and_its_typing_errors_are_told() -> None:
    group = "cluster.node_groups.teacher"
    config = load_config(None, [f"{group}.max_nodes=3", f"{group}.resources.GPU=4", f"{group}.labels.role=teacher"])
    assert addable(config, []) == [Nodes(3, {"GPU": 4.0}, {"role": "teacher"})]
    with pytest.raises(UserError, match=r"node_groups\.teacher\.max_node"):
        load_config(None, [f"{group}.max_node=3"])


def test_of_nodes_that_are_not_up_only_the_labels_count_that_rays_autoscaler_knows() -> None:
    from ray.autoscaler._private.kuberay import autoscaling_config

    limits = {"cpu": "64", "memory": "64Gi", "nvidia.com/gpu": "8"}
    group = {
        "groupName": "teacher-gpu", "minReplicas": 0, "maxReplicas": 2, "labels": {"role": "teacher"},
        "rayStartParams": {}, "template": {"spec": {"containers": [{"resources": {"limits": limits}}]}},
    }  # fmt: skip
    told = "cluster.node_groups={teacher-gpu: {max_nodes: 2, resources: {CPU: 64, GPU: 8}, labels: {role: teacher}}}"
    (nodes,) = addable(load_config(None, [told]), [])
    known = autoscaling_config._node_type_from_group_spec(group, is_head=False)
    assert nodes.labels == known["labels"]
    assert nodes.resources.items() <= known["resources"].items()
    by_group = load_config(None, [told, "teacher.num_gpus=8", f"teacher.labels={{{NODE_GROUP}: teacher-gpu}}"])
    assert f"knows no {NODE_GROUP}: give the group another label" in refusal(by_group, [nodes], {"generate"})
    by_role = load_config(None, [told, "teacher.num_gpus=8", "teacher.labels={role: teacher}"])
    check_demands(demands_of(by_role, {"generate"}), [nodes, node(CPU=1)])


def test_an_empty_cluster_and_an_endpoint_teacher() -> None:
    assert "the cluster has no node" in refusal(Config(), [])
    endpoint = load_config(None, ["teacher.kind=recorded", "teacher.model=x", "teacher.recorded.files=[a.jsonl]"])
    assert all(demand.section != "teacher" for demand in demands_of(endpoint, STAGES))


def test_fractions_of_a_cpu_are_counted_exactly() -> None:
    assert num_fitting(Demand("s", "s", "s", 1, {"CPU": 0.3}), [node(CPU=0.9)]) == 3
    assert num_fitting(Demand("s", "s", "s", 1, {"CPU": 0.1}), [node(2, CPU=1)]) == 20


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ("a", {"k": "a"}, True), ("a", {"k": "b"}, False), ("a", {}, False),
        ("!a", {"k": "b"}, True), ("!a", {"k": "a"}, False), ("!a", {}, True),
        ("in(a, b)", {"k": "b"}, True), ("in(a,b)", {"k": "c"}, False),
        ("!in(a, b)", {"k": "c"}, True), ("!in(a, b)", {"k": "a"}, False),
    ],
)  # fmt: skip
def test_selectors_follow_rays_rules(selector: str, labels: dict[str, str], expected: bool) -> None:
    assert selects({"k": selector}, labels) is expected


def test_selectors_that_ray_refuses_are_refused_and_the_others_are_not() -> None:
    from ray._private.label_utils import validate_label_selector

    for selector in ("spot", "!spot", "in(a, b)", "!in(a,b)", "in()", "-a", "!!a", "a b"):
        config = Config()
        config.teacher.labels = {"k": selector}
        if validate_label_selector({"k": selector}):
            with pytest.raises(UserError, match=r"teacher\.labels\.k"):
                check_config(config)
        else:
            check_config(config)


def test_gpus_that_do_not_match_the_parallel_size_are_named() -> None:
    config = load_config(None, ["teacher.num_gpus=1", "teacher.engine.tensor_parallel_size=8"])
    with pytest.raises(UserError, match=r"set teacher\.num_gpus=8"):
        check_config(config)
    check_config(load_config(None, ["teacher.num_gpus=8", "teacher.engine.tensor_parallel_size=8"]))
    with pytest.raises(UserError, match=r"evaluate\.num_gpus is 2"):
        check_config(load_config(None, ["evaluate.num_gpus=2"]))
    check_config(load_config(None, ["evaluate.num_gpus=0.5"]))


def test_a_teacher_that_is_read_on_a_gpu_needs_one() -> None:
    config = load_config(None, ["attention.target=teacher", "attention.num_gpus=1"])
    check_demands(demands_of(config, {"attention"}), [node(CPU=1, GPU=1)])
    with pytest.raises(UserError, match=r"Lower attention\.num_gpus"):
        check_demands(demands_of(config, {"attention"}), [node(CPU=8)])
    of_bonds = load_config(None, ["attention.target=bonds", "attention.num_gpus=1"])
    check_demands(demands_of(of_bonds, {"attention"}), [node(CPU=1)])
