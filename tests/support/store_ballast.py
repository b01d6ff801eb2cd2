#!/usr/bin/env python3
"""Keep the object store of every node of a Ray cluster full, until stopped: a neighbour that holds more than fits.

python tests/support/store_ballast.py GCS_ADDRESS        # prints "full" once every store is
"""

import os
import sys
import time

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

CHUNK_BYTES = 8 << 20
PAUSE_S = 0.5
FILL_LIMIT_S = 120


@ray.remote(num_cpus=0)
class Hoarder:
    """Holds objects of one node that exceed its store by a quarter."""

    def __init__(self, store_bytes: float) -> None:
        self._most = int(store_bytes * 1.25) // CHUNK_BYTES + 1
        self._held: list[ray.ObjectRef] = []

    def fill(self) -> None:
        """Hold the full amount."""
        while len(self._held) < self._most:
            self._held.append(ray.put(os.urandom(CHUNK_BYTES)))

    def replace(self) -> None:
        """Release the oldest object and put a new one, so that objects of others are spilled in turn."""
        self._held.pop(0)
        self._held.append(ray.put(os.urandom(CHUNK_BYTES)))


def main(address: str) -> None:
    ray.init(address=address, logging_level="error", log_to_driver=False)
    hoarders = [
        Hoarder.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            node["Resources"]["object_store_memory"]
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    ray.get([hoarder.fill.remote() for hoarder in hoarders], timeout=FILL_LIMIT_S)
    print("full", flush=True)
    while True:
        ray.get([hoarder.replace.remote() for hoarder in hoarders])
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1])
