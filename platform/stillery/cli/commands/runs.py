"""`stillery runs`, `explain`, `ui` and `plan`: existing runs, and the plan of a new one."""

import argparse

from stillery.cli.command import Command


def _fill_runs(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="every run with its latest stage")
    show = actions.add_parser("show", help="the stages of a run: when finished, how long, how many rows")
    show.add_argument("run", metavar="RUN", help="a run's name, folder or URI")
    opened = actions.add_parser("open", help="open a run's report in the browser")
    opened.add_argument("run", metavar="RUN", help="a run's name or folder")


def _runs(parsed: argparse.Namespace) -> int:
    from stillery.cli import runs

    print(runs.list_runs() if parsed.action == "list" else runs.ACTIONS[parsed.action](parsed.run))
    return 0


def _fill_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sample", metavar="SAMPLE_ID", help="its id, or the beginning of it")
    parser.add_argument("--run", metavar="RUN", help="a run's name, folder or URI (default: every run here)")


def _explain(parsed: argparse.Namespace) -> int:
    from stillery.cli.explain import explain

    print(explain(parsed.sample, run=parsed.run))
    return 0


def _fill_ui(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="names, folders or URIs (default: every run here)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; another than loopback needs --keys")
    parser.add_argument("--port", type=int, default=8400, help="port to listen on (default 8400)")
    parser.add_argument(
        "--keys", metavar="FILE", help="ask for a key of this file, as `stillery serve keys` makes them"
    )
    parser.add_argument("--open", action="store_true", help="open the browser")


def _ui(parsed: argparse.Namespace) -> int:
    from stillery.cli.ui import serve_runs

    serve_runs(parsed.runs, host=parsed.host, port=parsed.port, key_file=parsed.keys, open_browser=parsed.open)
    return 0


def _fill_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="a YAML file, or the name of a shipped config, such as demo")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument(
        "--model-config", metavar="MODEL=FILE", action="append", default=[], help="a model's config.json"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as plan.gpu_memory_gib=80")


def _plan(parsed: argparse.Namespace) -> int:
    from stillery.cli.plan import plan_run

    plan_run(parsed.config, parsed.overrides, as_json=parsed.json, model_configs=parsed.model_config)
    return 0


COMMANDS = (
    Command(
        "plan",
        help="what a run will need and cost, before it starts",
        description="GPUs, memory, tokens, time and price by stage, from the config and the models' config.json alone. "
        "Throughputs, prices and acceptance come from the config's section `plan`. Exits with 2 where it cannot work.",
        fill=_fill_plan,
        run=_plan,
    ),
    Command(
        "runs",
        help="the runs on this machine: list, show, open",
        description="The runs below $STILLERY_HOME.",
        fill=_fill_runs,
        run=_runs,
    ),
    Command(
        "explain",
        help="why a sample was kept or left out, and where it went",
        description="The way of one of the teacher's samples: sampled, graded, chosen by which rule and with what "
        "evidence, trained on, registered.",
        fill=_fill_explain,
        run=_explain,
    ),
    Command(
        "ui",
        help="look at runs in the browser: stages, samples, problems, two models compared",
        description="A local web application over run folders, until Ctrl-C. It reads them and writes nothing.",
        fill=_fill_ui,
        run=_ui,
    ),
)
