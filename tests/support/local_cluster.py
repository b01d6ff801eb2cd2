"""A Ray cluster of several raylets on this machine, beside any other Ray and without touching one.

Each node has its own loopback address, temporary folder and labels, like a separate machine. A process belongs to a
node if it was started with the node's folder in its environment or names it in its command line (processes that change
their titles overwrite one or the other), or descends from such a process.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from stillery.errors import UserError

BIN = Path(sys.executable).parent
# Ray's smallest is 75 MiB.
STORE_BYTES = 160 << 20
START_LIMIT_S = 180
# The environment variable that names a process's node: Ray's client server names no folder.
MARK = "STILLERY_TRIAL_NODE"
GRACE_S = 10.0


@dataclass(frozen=True)
class Node:
    """One raylet and its processes. Ray's metrics of it are on the page `metrics_url`."""

    name: str
    address: str
    folder: Path
    metrics_port: int

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    def processes(self) -> list[psutil.Process]:
        """All of the node's processes, its daemons first."""
        # In one pass, because a slowed node is searched every second.
        children: dict[int, list[psutil.Process]] = defaultdict(list)
        waiting: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                children[process.ppid()].append(process)
            if self._owns(process):
                waiting.append(process)
        found: dict[psutil.Process, None] = {}
        while waiting:
            process = waiting.pop(0)
            if process not in found:
                found[process] = None
                waiting += children[process.pid]
        return list(found)

    def _owns(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(self.folder):
                return True
        return any(f"{self.folder}/" in part for part in command_of(process))

    def runs(self, title: str) -> bool:
        """Whether an actor whose process title contains this runs here."""
        return any(title in " ".join(command_of(process)) for process in self.processes())

    def kill(self) -> int:
        """SIGKILL to everything on the node at once, as if a machine were lost. Returns the number of processes."""
        processes = self.processes()
        send(signal.SIGKILL, processes)
        psutil.wait_procs(processes, timeout=GRACE_S)
        # Processes forked in between.
        late = self.processes()
        send(signal.SIGKILL, late)
        psutil.wait_procs(late, timeout=GRACE_S)
        return len(processes) + len(late)

    @contextlib.contextmanager
    def slowed(self, *, stopped_s: float, running_s: float) -> Iterator[None]:
        """Stop and continue everything on the node in turn, for the whole block."""
        over = threading.Event()

        def alternate() -> None:
            while not over.is_set():
                processes = self.processes()
                send(signal.SIGSTOP, processes)
                over.wait(stopped_s)
                send(signal.SIGCONT, processes)
                over.wait(running_s)

        thread = threading.Thread(target=alternate, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def spilled_bytes(self) -> int:
        """The current size of the node's spill folder."""
        total = 0
        for file in self.folder.glob("**/ray_spilled_objects_*/*"):
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size
        return total


class LocalCluster:
    """A head and worker nodes. Use as a context: at its end every process that it started has ended."""

    def __init__(
        self,
        home: Path,
        *,
        store_bytes: int = STORE_BYTES,
        durable: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`home` becomes $STILLERY_HOME of everything run here. `durable`: the head keeps its state on disk (in
        RocksDB, which Ray 2.60 supports besides Redis), so that it can be restarted. `environment`: extra variables for
        all processes."""
        # Short: the path of a Unix socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self.nodes: dict[str, Node] = {}
        self._store_bytes = store_bytes
        self._ports = dict(zip(("gcs", "dashboard", "client"), free_ports(3), strict=True))
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self._environment |= {
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "STILLERY_HOME": str(home),
            "PATH": f"{BIN}:{os.environ.get('PATH', '')}",
        }
        if durable:
            state = self.folder / "gcs"
            state.mkdir()
            self._environment |= {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(state)}
        self._environment |= environment or {}

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, *exception: Any) -> None:
        # Worker nodes first: a raylet whose head is gone complains for a minute.
        for node in reversed(self.nodes.values()):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def gcs(self) -> str:
        """The address that nodes and drivers connect to."""
        return f"{self.head.address}:{self._ports['gcs']}"

    @property
    def dashboard(self) -> str:
        """The address for job submission."""
        return f"http://127.0.0.1:{self._ports['dashboard']}"

    @property
    def head(self) -> Node:
        return self.nodes["head"]

    @property
    def workers(self) -> list[Node]:
        return [node for name, node in self.nodes.items() if name != "head"]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of clients of this cluster."""
        return dict(self._environment)

    def start_head(self, *, num_cpus: int = 2) -> None:
        """Start a head. After a killed one: another at its address, with its stored state."""
        before = self.nodes.get("head")
        node = self._node("head") if before is None else replace(before, folder=self.folder / "new-head")
        self.nodes["head"] = node
        self._start(
            node, "--head", "--port", str(self._ports["gcs"]), "--dashboard-host", "127.0.0.1",
            "--dashboard-port", str(self._ports["dashboard"]), "--ray-client-server-port", str(self._ports["client"]),
            num_cpus=num_cpus, labels={"role": "head"}, resources={},
        )  # fmt: skip

    def start_workers(self, *names: str) -> None:
        """Start nodes, all at once, each with 3 CPUs, the label `role=worker`, and room for one training worker: its
        resource `trainer`."""

        def start(node: Node) -> None:
            labels = {"role": "worker", "host": node.name}
            self._start(node, "--address", self.gcs, num_cpus=3, labels=labels, resources={"trainer": 1})

        with ThreadPoolExecutor() as pool:
            list(pool.map(start, [self._node(name) for name in names]))

    def restart_gcs(self) -> None:
        """SIGKILL the head's GCS server alone, and start it again with exactly the same command."""
        (server,) = (process for process in self.head.processes() if name_of(process) == "gcs_server")
        command, environment, folder = server.cmdline(), server.environ(), server.cwd()
        send(signal.SIGKILL, [server])
        psutil.wait_procs([server], timeout=GRACE_S)
        with (self.folder / "gcs_server.log").open("w") as log:
            subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)

    def _node(self, name: str) -> Node:
        # 127.0.0.1 itself is rewritten by Ray to the machine's outward address.
        (metrics,) = free_ports(1)
        node = Node(name, f"127.0.0.{len(self.nodes) + 2}", self.folder / name, metrics)
        self.nodes[name] = node
        return node

    def _start(
        self,
        node: Node,
        *arguments: str,
        num_cpus: int,
        labels: Mapping[str, str],
        resources: Mapping[str, float],
    ) -> None:
        (agent,) = free_ports(1)
        done = subprocess.run(
            [
                *(str(BIN / "ray"), "start", *arguments, "--node-ip-address", node.address),
                *("--temp-dir", str(node.folder), "--dashboard-agent-listen-port", str(agent)),
                *("--metrics-export-port", str(node.metrics_port)),
                # Otherwise the nodes' workers would share one range of ports.
                *("--min-worker-port", "0", "--max-worker-port", "0"),
                *("--num-cpus", str(num_cpus), "--num-gpus", "0", "--object-store-memory", str(self._store_bytes)),
                *("--labels", ",".join(f"{key}={value}" for key, value in labels.items())),
                *("--resources", json.dumps(dict(resources)), "--disable-usage-stats"),
            ],
            env={**self._environment, MARK: str(node.folder)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=START_LIMIT_S,
            # Ctrl-C reaches only the trial, which then ends the daemons itself.
            start_new_session=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise UserError(f"node {node.name} did not start: {(done.stderr or done.stdout).strip()[-2000:]}")


def name_of(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it has ended, or is another user's


def send(number: signal.Signals, processes: Sequence[psutil.Process]) -> None:
    """Send a signal to those still running; psutil never sends it to another process with the same id."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def free_ports(count: int) -> list[int]:
    """Distinct ports with no listener."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def wait_for(condition: Callable[[], bool], *, what: str, limit_s: float, every_s: float = 0.2) -> None:
    """Wait until `condition()` holds. Raises TimeoutError with `what` after the limit."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {limit_s:g} s")
        time.sleep(every_s)
