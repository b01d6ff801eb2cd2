"""The arguments of every command: what `stillery COMMAND --help` shows. What a command does is in `cli.py`."""

import argparse
from collections.abc import Callable

from stillery import __version__
from stillery.cli.keys import fill_keys_parser

AddCommand = Callable[..., argparse.ArgumentParser]

# The command that runs the line up to a stage, and the stage. `run` goes to the end.
STAGE_COMMANDS: dict[str, tuple[str | None, str]] = {
    "run": (None, "the whole line: problems to a registered student and a report"),
    "prompts": ("prompts", "make the problems"),
    "generate": ("generate", "sample the teacher"),
    "verify": ("verify", "check the teacher's answers"),
    "curate": ("curate", "choose the training data"),
    "train": ("sft", "fine-tune the student"),
    "evaluate": ("evaluate_after", "measure the distilled student"),
    "report": ("report", "everything, ending with the report"),
}


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; a parsed line has the command's name under `command`."""
    parser = argparse.ArgumentParser(prog="stillery", description="Distil a model's reasoning into a smaller one.")
    parser.add_argument("--version", action="version", version=f"stillery {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_stages,
        _add_bonds,
        _add_patterns,
        _add_reward,
        _add_serving,
        _add_promotion,
        _add_plan,
        _add_export,
        _add_head,
    ):
        add(commands.add_parser)
    return parser


def _add_stages(add_command: AddCommand) -> None:
    for name, (_, text) in STAGE_COMMANDS.items():
        command = add_command(name, help=text, description=f"{name}: {text}.")
        command.add_argument("--config", metavar="FILE", help="YAML file; the project's own are in jobs/configs")
        command.add_argument("--show-config", action="store_true", help="print the resolved config and stop")
        command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as teacher.samples_per_prompt=16")
        if name == "prompts":
            command.add_argument(
                "--inspect",
                metavar="FILE",
                help="say what a file of problems or recorded generations holds, propose the config, and stop",
            )


def _add_bonds(add_command: AddCommand) -> None:
    bonds = add_command(
        "bonds",
        help="the reasoning molecules of traces: a summary each, or a drawing",
        description="One line a trace: steps, bonds by kind, conflict, stability. A file holds JSON lines with the "
        "trace under text or completion (and, if there, question and answer), or else one trace as plain text.",
    )
    bonds.add_argument("file", metavar="FILE", help="JSON lines or text; - for standard input")
    bonds.add_argument("--json", action="store_true", help="print each molecule as a line of JSON")
    bonds.add_argument(
        "--draw", metavar="OUT", help="draw one trace, or two side by side: .html, or one as .svg or .png"
    )
    bonds.add_argument("--trace", type=int, nargs="+", help="only these traces, counted from 1")
    bonds.add_argument("--layout", choices=("arcs", "force"), default="arcs", help="how a drawing is laid out")
    bonds.add_argument(
        "--reinforce", metavar="OUT", help="write the traces with checks inserted after firm transitions, JSON lines"
    )


def _add_patterns(add_command: AddCommand) -> None:
    patterns = add_command(
        "patterns",
        help="the bond patterns of a corpus of traces, or of two compared",
        description="Shares of the bonds and what follows what, with 95%% intervals; effective patterns; isomers; with "
        "a second file how far the two corpora are apart, beside what chance alone gives. Files are as for bonds; "
        "prompt_id (or else question) says which traces share a problem.",
    )
    patterns.add_argument("file", metavar="FILE", help="JSON lines; - for standard input")
    patterns.add_argument("other", metavar="FILE", nargs="?", help="a second corpus to compare with")
    patterns.add_argument("--problem", metavar="TEXT", help="show the patterns that suit this problem best")
    patterns.add_argument("--json", action="store_true", help="print everything as one JSON object")


def _add_reward(add_command: AddCommand) -> None:
    reward = add_command(
        "reward",
        help="the refinement reward of completions, part by part, or attacks on it",
        description="A file holds JSON lines of question, answer and completion (and, if there, answer_kind, choices, "
        "teacher_length, teacher_steps). --attack runs the adversarial suite over honest traces of its own: a row an "
        "attack, exit code 1 where one is worth more than its honest twin.",
    )
    reward.add_argument("file", metavar="FILE", nargs="?", help="JSON lines; - for standard input")
    reward.add_argument("--attack", action="store_true", help="run the adversarial suite")
    reward.add_argument("--traces", type=int, default=1, metavar="N", help="honest traces of each kind (default 1)")
    reward.add_argument("--every", type=int, default=1, metavar="M", help="only every M-th of them (default 1)")
    reward.add_argument("--seed", type=int, default=0, help="of the honest traces and the attacks (default 0)")
    reward.add_argument("--json", action="store_true", help="print a line of JSON each")


def _add_serving(add_command: AddCommand) -> None:
    fill_keys_parser(add_command("keys", help="the API keys of an endpoint: add, list, revoke"))
    serve = add_command(
        "serve",
        help="an OpenAI-compatible endpoint for a registered model, until Ctrl-C",
        description="Serve a model of the registry, a folder or a Hub model, following the registry's alias.",
    )
    serve.add_argument(
        "--config", metavar="FILE", help="a Ray Serve config file; the project's own is serving/serve.yaml"
    )
    serve.add_argument("--show-config", action="store_true", help="print the resolved config and stop")
    serve.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as port=8001 or engine.replicas=2")


def _add_promotion(add_command: AddCommand) -> None:
    promote = add_command(
        "promote",
        help="make a version the champion, if it passes the gate",
        description="Move the alias `champion` to a version that beats the present champion by more than chance; "
        "endpoints that follow the alias change over.",
    )
    promote.add_argument("name", metavar="NAME", help="the registered model")
    promote.add_argument("version", metavar="VERSION", help="such as 3")
    promote.add_argument("--force", metavar="REASON", help="promote whatever the gate says; the reason is recorded")
    promote.add_argument("--tracking-uri", metavar="URI", help="MLflow, where $MLFLOW_TRACKING_URI does not say it")
    rollback = add_command("rollback", help="make the champion before this one the champion again")
    rollback.add_argument("name", metavar="NAME", help="the registered model")
    rollback.add_argument("--tracking-uri", metavar="URI", help="MLflow, where $MLFLOW_TRACKING_URI does not say it")


def _add_plan(add_command: AddCommand) -> None:
    plan = add_command(
        "plan",
        help="what a run will need and cost, before it starts",
        description="GPUs, memory, tokens, time and price by stage, from the config and the models' config.json alone. "
        "Throughputs, prices and acceptance come from the config's section `plan`. Exits with 2 where it cannot work.",
    )
    plan.add_argument("--config", metavar="FILE", help="YAML file; the project's own are in jobs/configs")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.add_argument("--model-config", metavar="MODEL=FILE", action="append", default=[], help="a model's config.json")
    plan.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as plan.gpu_memory_gib=80")


def _add_export(add_command: AddCommand) -> None:
    edge = add_command(
        "export",
        help="edge artifacts (GGUF, ONNX, ExecuTorch, LiteRT) that answer like the checkpoint",
        description="Export a checkpoint, compare every artifact with it in the artifact's own runtime, and keep those "
        "that agree. Exits with 1 where none is kept, or none fits the budget.",
    )
    edge.add_argument("--config", metavar="FILE", help="YAML file; the project's own are in jobs/configs")
    edge.add_argument(
        "--format",
        metavar="NAMES",
        help="gguf,onnx,executorch,litert or all (default: export.formats)",
    )
    edge.add_argument("--quantization", metavar="NAMES", help="such as Q8_0,Q4_K_M (default: two usual ones a format)")
    edge.add_argument("--out", metavar="DIR", default="exports", help="where artifacts go (default exports)")
    edge.add_argument("--max-size-mb", type=float, metavar="MB", help="name the best artifact within this size")
    edge.add_argument("--max-accuracy-drop", type=float, metavar="SHARE", help="and this drop, such as 0.01")
    edge.add_argument("model", metavar="MODEL", help="models:/NAME@champion, a checkpoint folder or embedded:student")
    edge.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as export.num_problems=200; after MODEL")


def _add_head(add_command: AddCommand) -> None:
    head = add_command("head", help="start a local Ray head, unless one runs, or stop it")
    head.add_argument("--num-cpus", type=int, help="logical CPUs that Ray may hand out")
    head.add_argument("--port", type=int, default=6379, help="where Ray's processes meet (default 6379)")
    head.add_argument("--dashboard-port", type=int, default=8265, help="where jobs are submitted (default 8265)")
    head.add_argument("--agent-port", type=int, default=52365, help="of the agent that starts jobs (default 52365)")
    head.add_argument("--temp-dir", metavar="DIR", help="an absolute, short path for logs and sockets")
    head.add_argument("--stop", action="store_true", help="stop the head at --port, and no other Ray")
