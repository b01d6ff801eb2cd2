"""`stillery init`, `doctor` and `head`."""

import argparse
from pathlib import Path

from stillery.cli.command import Command


def _fill_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="stillery.yaml", help="where to (default: stillery.yaml)"
    )
    parser.add_argument(
        "--teacher", metavar="MODEL", help="a model name, a folder, or the URL of an OpenAI-compatible server"
    )
    parser.add_argument("--student", metavar="MODEL", help="a model name or a folder")
    parser.add_argument("--problems", metavar="FILE", help="JSONL, CSV or Parquet with questions and answers")
    parser.add_argument("--test", metavar="FILE", help="other problems, to measure the student on")
    parser.add_argument("--name", metavar="NAME", help="of the run and of the registered model")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def _init(parsed: argparse.Namespace) -> int:
    from stillery.cli.init import write_config

    answers = {name: getattr(parsed, name) for name in ("teacher", "student", "problems", "test", "name")}
    print(write_config(Path(parsed.file), answers, force=parsed.force))
    return 0


def _fill_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", metavar="HOST:PORT", help="a Ray cluster to look at too; auto for this machine's")


def _doctor(parsed: argparse.Namespace) -> int:
    from stillery.cli.doctor import diagnose

    return diagnose(address=parsed.address)


def _fill_head(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num-cpus", type=int, help="logical CPUs that Ray may hand out")
    parser.add_argument("--port", type=int, default=6379, help="port of the cluster (default 6379)")
    parser.add_argument(
        "--dashboard-port", type=int, default=8265, help="port for jobs and the dashboard (default 8265)"
    )
    parser.add_argument("--agent-port", type=int, default=52365, help="port of the job agent (default 52365)")
    parser.add_argument("--temp-dir", metavar="DIR", help="an absolute, short path for logs and sockets")
    parser.add_argument("--stop", action="store_true", help="stop the head at --port, and no other Ray")


def _head(parsed: argparse.Namespace) -> int:
    from stillery.cluster.head import Ports, start_head, stop_head

    ports = Ports(parsed.port, parsed.dashboard_port, parsed.agent_port)
    if parsed.stop:
        print(stop_head(ports))
    else:
        print(start_head(ports, num_cpus=parsed.num_cpus, temp_dir=parsed.temp_dir))
    return 0


COMMANDS = (
    Command(
        "init",
        help="write a commented config for your teacher, student and problems",
        description="Asks for what it is not told (on a terminal; elsewhere the defaults hold), writes a config that "
        "passes every check, and says how to go on.",
        fill=_fill_init,
        run=_init,
    ),
    Command(
        "doctor",
        help="what is missing or broken on this machine or cluster",
        description="Looks at Python, packages, engine, GPUs, memory, disks, MLflow and the Hub, and says what mends "
        "what is broken; exit code 1 where something is. Nothing is changed.",
        fill=_fill_doctor,
        run=_doctor,
    ),
    Command("head", help="start a local Ray head, unless one runs, or stop it", fill=_fill_head, run=_head),
)
