"""A run's checks against a real Ray: requests that can never fit are refused within seconds, before sampling."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillery.cluster.placement import Nodes, cluster_nodes, selects
from stillery.errors import UserError
from stillery.pipeline.runner import run_pipeline
from support.small_run import small_config

pytestmark = pytest.mark.usefixtures("ray_cluster")

# Labels and custom resources of a node are given when it starts, so this needs a Ray of its own.
LABELLED = """
import ray
from stillery.config import Config
from stillery.cluster.placement import cluster_nodes, selects
ray.init(address="local", num_cpus=2, resources={"slot": 2}, labels={"pool": "teacher"}, include_dashboard=False)
(node,) = cluster_nodes(Config())
assert node.resources["slot"] == 2, node
assert node.labels["pool"] == "teacher", node
@ray.remote(num_cpus=0)
def runs():
    return True
for selector in ("teacher", "!trainer", "in(teacher, other)", "!in(trainer)", "trainer", "!teacher", "in(a, b)"):
    reference = runs.options(label_selector={"pool": selector}).remote()
    ran = bool(ray.wait([reference], timeout=5)[0])
    assert ran == selects({"pool": selector}, node.labels), (selector, ran)
print("agreed")
"""


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("teacher.num_gpus=1", "generate: 1 replica with 1 CPU, 1 GPU will never fit"),
        ("sft.resources={trainer_slot: 1}", "sft: 2 workers, each with 1 CPU, 1 trainer_slot will never fit"),
        ("evaluate.labels={pool: gpus}", "on nodes with pool=gpus will never fit: the cluster has no such node"),
    ],
)
def test_a_run_that_can_never_fit_is_refused_before_it_samples(tmp_path: Path, override: str, said: str) -> None:
    config = small_config(tmp_path / "run", override)
    started = time.monotonic()
    with pytest.raises(UserError, match=said):
        run_pipeline(config)
    assert time.monotonic() - started < 15
    assert not (tmp_path / "run" / "stages" / "generate").exists()


def test_the_cluster_is_seen_as_it_is(tmp_path: Path) -> None:
    (node,) = cluster_nodes(small_config(tmp_path))
    assert isinstance(node, Nodes)
    assert node.resources["CPU"] >= 4
    assert selects({"ray.io/node-id": "!none"}, node.labels)


def test_selectors_mean_to_us_what_they_mean_to_ray() -> None:
    done = subprocess.run([sys.executable, "-c", LABELLED], capture_output=True, text=True, timeout=180)
    assert done.stdout.strip().endswith("agreed"), done.stderr[-2000:]
