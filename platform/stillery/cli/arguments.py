"""The parsers of all commands: what `stillery COMMAND --help` shows. What a command does is in `main.py`."""

import argparse
from collections.abc import Callable, Sequence

from stillery import __version__
from stillery.cli.keys import fill_keys_parser

AddCommand = Callable[..., argparse.ArgumentParser]

# A command named like a stage runs the pipeline up to it: the stage, what it does, an example of its own.
STAGE_COMMANDS: dict[str, tuple[str, str, str]] = {
    "prompts": ("prompts", "make or read the problems", "prompts.source=file prompts.train=problems.jsonl"),
    "generate": ("generate", "sample the teacher, best of n", "teacher.samples_per_prompt=16"),
    "verify": ("verify", "grade the teacher's answers", "verify.num_processes=8"),
    "bonds": ("bonds", "find the molecules of the teacher's samples, or of FILE", "bonds.enabled=true"),
    "curate": ("curate", "choose the training data", "curate.max_per_prompt=2"),
    "attention": ("attention", "find what the student is to attend to", "attention.target=bonds"),
    "sft": ("sft", "fine-tune the student", "sft.trl.learning_rate=1e-5"),
    "refine": ("refine", "refine the student by rewards or preferences", "refine.enabled=true"),
    "evaluate": ("evaluate_after", "measure the distilled student", "evaluate.samples_per_prompt=16"),
    "register": ("register", "register the student with its lineage", "register.name=my-student"),
    "export": ("export", "make edge artifacts of the student, or of MODEL", "export.formats=[gguf]"),
}
# Commands that had another name in an earlier version.
RENAMED = {"train": "sft", "keys": "serve keys"}


class CommandParser(argparse.ArgumentParser):
    """A parser whose description says, when help is asked for, which stages the command runs."""

    until: str | None = None

    def format_help(self) -> str:
        if self.until is not None:
            from stillery.config import Config
            from stillery.pipeline.runner import stages_of

            config = Config()
            config.bonds.enabled = config.bonds.enabled or self.until == "bonds"
            names = ", ".join(stage.name for stage in stages_of(config, self.until or None))
            self.description = f"{self.description} Its stages, where they are not finished: {names}."
            self.until = None
        return super().format_help()


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """A command line, parsed. Exits with 2 and a message where it cannot be."""
    given = list(arguments)
    # Two words that are one command: the model of an endpoint may stand in the place of the second.
    if given[:2] == ["serve", "keys"]:
        given[:2] = ["serve keys"]
    parser = make_parser()
    parsed, rest = parser.parse_known_args(given)
    # What argparse does not take: settings behind an option.
    if rest and (not hasattr(parsed, "overrides") or any(text.startswith("-") or "=" not in text for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parsed.overrides += rest
    return parsed


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; a parsed line has the command's name under `command`."""
    parser = argparse.ArgumentParser(prog="stillery", description="Distil a model's reasoning into a smaller one.")
    parser.add_argument("--version", action="version", version=f"stillery {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=CommandParser)
    for add in (
        _add_run,
        _add_stages,
        _add_report,
        _add_runs,
        _add_explain,
        _add_parity,
        _add_benchmark,
        _add_ui,
        _add_patterns,
        _add_reward,
        _add_serving,
        _add_promotion,
        _add_push,
        _add_plan,
        _add_head,
        _add_doctor,
        _add_init,
    ):
        add(commands.add_parser)
    return parser


def _add_config(command: argparse.ArgumentParser, *, example: str) -> None:
    command.add_argument("--config", metavar="FILE", help="a YAML file, or the name of a shipped config, such as demo")
    command.add_argument("--show-config", action="store_true", help="print the resolved config and stop")
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=f"such as {example}")


def _add_run(add_command: AddCommand) -> None:
    run = add_command("run", help="the whole pipeline: problems to a registered student and a report", description="")
    run.description = "The whole pipeline."
    run.until = ""  # type: ignore[attr-defined]
    _add_config(run, example="teacher.samples_per_prompt=16")


def _add_stages(add_command: AddCommand) -> None:
    for name, (until, text, example) in STAGE_COMMANDS.items():
        command = add_command(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.until = until  # type: ignore[attr-defined]
        if name == "prompts":
            command.add_argument(
                "--inspect",
                metavar="FILE",
                help="say what a file of problems or recorded generations holds, propose the config, and stop",
            )
        elif name == "bonds":
            _fill_bonds(command)
        elif name == "export":
            _fill_export(command)
        _add_config(command, example=example)


def _add_report(add_command: AddCommand) -> None:
    report = add_command(
        "report",
        help="write the report of what is finished",
        description="Write the report of the stages that are finished; no other stage runs.",
    )
    _add_config(report, example="report.num_traces=6")


def _add_runs(add_command: AddCommand) -> None:
    runs = add_command(
        "runs", help="the runs on this machine: list, show, open", description="The runs below $STILLERY_HOME."
    )
    actions = runs.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="every run with its latest stage")
    show = actions.add_parser("show", help="the stages of a run: when finished, how long, how many rows")
    show.add_argument("run", metavar="RUN", help="a run's name, folder or URI")
    opened = actions.add_parser("open", help="open a run's report in the browser")
    opened.add_argument("run", metavar="RUN", help="a run's name or folder")


def _add_explain(add_command: AddCommand) -> None:
    explain = add_command(
        "explain",
        help="why a sample was kept or left out, and where it went",
        description="The way of one of the teacher's samples: sampled, graded, chosen by which rule and with what "
        "evidence, trained on, registered.",
    )
    explain.add_argument("sample", metavar="SAMPLE_ID", help="its id, or the beginning of it")
    explain.add_argument("--run", metavar="RUN", help="a run's name, folder or URI (default: every run here)")


def _add_ui(add_command: AddCommand) -> None:
    ui = add_command(
        "ui",
        help="look at runs in the browser: stages, samples, problems, two models compared",
        description="A local web application over run folders, until Ctrl-C. It reads them and writes nothing.",
    )
    ui.add_argument("runs", nargs="*", metavar="RUN", help="names, folders or URIs (default: every run here)")
    ui.add_argument("--host", default="127.0.0.1", help="address to listen on; another than loopback needs --keys")
    ui.add_argument("--port", type=int, default=8400, help="port to listen on (default 8400)")
    ui.add_argument("--keys", metavar="FILE", help="ask for a key of this file, as `stillery serve keys` makes them")
    ui.add_argument("--open", action="store_true", help="open the browser")


def _fill_bonds(bonds: argparse.ArgumentParser) -> None:
    bonds.description = (
        "With FILE one line a trace: steps, bonds by kind, conflict, stability. FILE holds JSON lines with the trace "
        "under text or completion (and, if there, question and answer), or else one trace as plain text; - is standard "
        "input. Without FILE the stage bonds of a run."
    )
    bonds.usage = "stillery bonds [FILE] [options] | stillery bonds [--config FILE] [KEY=VALUE ...]"
    bonds.add_argument("--json", action="store_true", help="print each molecule as a line of JSON")
    bonds.add_argument(
        "--draw", metavar="OUT", help="draw one trace, or two side by side: .html, or one as .svg or .png"
    )
    bonds.add_argument("--trace", type=int, nargs="+", help="only these traces, counted from 1")
    bonds.add_argument("--layout", choices=("arcs", "force"), default="arcs", help="layout of a drawing")
    bonds.add_argument(
        "--reinforce", metavar="OUT", help="write the traces with checks inserted after firm transitions, JSON lines"
    )


def _add_parity(add_command: AddCommand) -> None:
    parity = add_command(
        "parity",
        help="whether anyone's artifact answers like its checkpoint",
        description="The gate of `export` for a GGUF file, or a folder of ONNX Runtime GenAI, ExecuTorch or LiteRT-LM: "
        "every check with its limit; exit code 0 where all pass, 1 where one fails.",
    )
    parity.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, models:/NAME@ALIAS or embedded:student")
    parity.add_argument("artifact", metavar="ARTIFACT", help="a file or folder")
    parity.add_argument(
        "--quantization", metavar="NAME", help="what it is held to, such as Q4_K_M (default: as it says)"
    )
    parity.add_argument(
        "--config", metavar="FILE", help="a YAML file or shipped config; `prompts` and `export` are read"
    )
    parity.add_argument("--json", action="store_true", help="print checks and figures as one JSON object")
    parity.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as export.num_problems=20")


def _add_benchmark(add_command: AddCommand) -> None:
    benchmark = add_command(
        "benchmark",
        help="the usual benchmarks (gsm8k, math500, aime24, ...) of any model, with a receipt",
        description="avg@k with standard errors on problems that everybody quotes, by the run's own evaluation; a "
        "receipt says how each figure came about. MODEL is models:/NAME@ALIAS, a folder, embedded:teacher, a Hub name "
        "or the URL of an OpenAI-compatible server. A registered version gets the figures in MLflow and in its run's "
        "report. Exit code 1 where --against finds a task lost. Such as: stillery benchmark models:/student@champion "
        "--tasks gsm8k,math500 --data problems --limit 100",
    )
    benchmark.add_argument("model", metavar="MODEL", help="what to measure")
    benchmark.add_argument(
        "--tasks", required=True, metavar="NAMES",
        help="gsm8k, math500, aime24, aime25, gpqa, mmlu, arc_challenge, or a file's name in --data; with commas",
    )  # fmt: skip
    benchmark.add_argument(
        "--data", metavar="FOLDER", help="TASK.jsonl or TASK/test.jsonl (or .csv, .parquet); else from the Hub"
    )
    benchmark.add_argument("--limit", type=int, metavar="N", help="only the first N problems of each task")
    benchmark.add_argument("--samples", type=int, metavar="K", help="samples of each problem (default: as quoted)")
    benchmark.add_argument("--max-tokens", type=int, metavar="N", help="length of an answer (default: as quoted)")
    benchmark.add_argument("--greedy", action="store_true", help="one sample at temperature 0")
    benchmark.add_argument(
        "--instruction", default="auto", metavar="TEXT",
        help="before each question: a text, `template`, `none`, or `auto`: the task's usual one, none for students "
        "of stillery, which were trained on bare questions",
    )  # fmt: skip
    benchmark.add_argument("--against", metavar="MODEL", help="measure this one too, and say what was forgotten")
    benchmark.add_argument(
        "--max-loss", type=float, default=2.0, metavar="POINTS", help="the loss against it that is allowed (default 2)"
    )
    benchmark.add_argument("--served-name", metavar="NAME", help="the model's name at a server that has several")
    benchmark.add_argument("--json", action="store_true", help="print the receipt")
    benchmark.add_argument(
        "--config", metavar="FILE", help="a YAML file or shipped config; `evaluate` says how the engine runs"
    )
    benchmark.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as evaluate.num_gpus=1")


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
    fill_keys_parser(add_command("serve keys", help="the API keys of an endpoint: add, list, revoke"))
    serve = add_command(
        "serve",
        help="an OpenAI-compatible endpoint for a registered model, until Ctrl-C",
        description="Serve a model of the registry, a folder or a Hub model, following the registry's alias.",
    )
    serve.add_argument(
        "--config", metavar="FILE", help="a Ray Serve config file; the project's own is serving/serve.yaml"
    )
    serve.add_argument("--show-config", action="store_true", help="print the resolved config and stop")
    serve.add_argument("overrides", nargs="*", metavar="MODEL KEY=VALUE", help="such as embedded:teacher port=8001")


def _add_promotion(add_command: AddCommand) -> None:
    promote = add_command(
        "promote",
        help="make a version the champion, if it passes the gate",
        description="Move the alias `champion` to a version that beats the present champion by more than chance; "
        "endpoints that follow the alias change over.",
    )
    promote.add_argument("name", metavar="NAME", help="the registered model")
    promote.add_argument("version", metavar="VERSION", help="such as 3")
    promote.add_argument("--force", metavar="REASON", help="promote against the gate; the reason is recorded")
    promote.add_argument("--tracking-uri", metavar="URI", help="MLflow, where $MLFLOW_TRACKING_URI does not say it")
    rollback = add_command("rollback", help="make the champion before this one the champion again")
    rollback.add_argument("name", metavar="NAME", help="the registered model")
    rollback.add_argument("--tracking-uri", metavar="URI", help="MLflow, where $MLFLOW_TRACKING_URI does not say it")


def _add_push(add_command: AddCommand) -> None:
    push = add_command(
        "push",
        help="share a model, an edge artifact or a training set on the Hugging Face Hub",
        description="SOURCE is a registered version (models:/NAME@ALIAS), a folder with a model card (a checkpoint, an "
        "adapter, an artifact of `stillery export`), or a run, whose training set is pushed as a data set.",
    )
    push.add_argument("source", metavar="SOURCE", help="models:/NAME@ALIAS, a folder, or a run's name")
    push.add_argument("--to", metavar="ORG/NAME", help="the Hub's repository; it is made if it is not there")
    push.add_argument("--out", metavar="FOLDER", help="put what would be pushed here, and upload nothing")
    push.add_argument("--private", action="store_true", help="make the repository private, where it is made")
    push.add_argument("--tracking-uri", metavar="URI", help="MLflow's, for a registered version")


def _add_plan(add_command: AddCommand) -> None:
    plan = add_command(
        "plan",
        help="what a run will need and cost, before it starts",
        description="GPUs, memory, tokens, time and price by stage, from the config and the models' config.json alone. "
        "Throughputs, prices and acceptance come from the config's section `plan`. Exits with 2 where it cannot work.",
    )
    plan.add_argument("--config", metavar="FILE", help="a YAML file, or the name of a shipped config, such as demo")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.add_argument("--model-config", metavar="MODEL=FILE", action="append", default=[], help="a model's config.json")
    plan.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as plan.gpu_memory_gib=80")


def _fill_export(edge: argparse.ArgumentParser) -> None:
    edge.description = (
        "With MODEL (models:/NAME@champion, a checkpoint folder or embedded:student) export it, compare every artifact "
        "with it in the artifact's own runtime, and keep those that agree; exits with 1 where none is kept, or none "
        "fits the budget. Without MODEL the stage export of a run."
    )
    edge.usage = "stillery export MODEL [options] [KEY=VALUE ...] | stillery export [--config FILE] [KEY=VALUE ...]"
    edge.add_argument(
        "--format",
        metavar="NAMES",
        help="gguf,onnx,executorch,litert or all (default: export.formats)",
    )
    edge.add_argument("--quantization", metavar="NAMES", help="such as Q8_0,Q4_K_M (default: two usual ones a format)")
    edge.add_argument("--out", metavar="DIR", default="exports", help="where artifacts go (default exports)")
    edge.add_argument("--max-size-mb", type=float, metavar="MB", help="name the best artifact within this size")
    edge.add_argument(
        "--max-accuracy-drop", type=float, metavar="SHARE", help="and this drop of accuracy, such as 0.01"
    )


def _add_head(add_command: AddCommand) -> None:
    head = add_command("head", help="start a local Ray head, unless one runs, or stop it")
    head.add_argument("--num-cpus", type=int, help="logical CPUs that Ray may hand out")
    head.add_argument("--port", type=int, default=6379, help="port of the cluster (default 6379)")
    head.add_argument("--dashboard-port", type=int, default=8265, help="port for jobs and the dashboard (default 8265)")
    head.add_argument("--agent-port", type=int, default=52365, help="port of the job agent (default 52365)")
    head.add_argument("--temp-dir", metavar="DIR", help="an absolute, short path for logs and sockets")
    head.add_argument("--stop", action="store_true", help="stop the head at --port, and no other Ray")


def _add_doctor(add_command: AddCommand) -> None:
    doctor = add_command(
        "doctor",
        help="what is missing or broken on this machine or cluster",
        description="Looks at Python, packages, engine, GPUs, memory, disks, MLflow and the Hub, and says what mends "
        "what is broken; exit code 1 where something is. Nothing is changed.",
    )
    doctor.add_argument("--address", metavar="HOST:PORT", help="a Ray cluster to look at too; auto for this machine's")


def _add_init(add_command: AddCommand) -> None:
    init = add_command(
        "init",
        help="write a commented config for your teacher, student and problems",
        description="Asks for what it is not told (on a terminal; elsewhere the defaults hold), writes a config that "
        "passes every check, and says how to go on.",
    )
    init.add_argument(
        "file", metavar="FILE", nargs="?", default="stillery.yaml", help="where to (default: stillery.yaml)"
    )
    init.add_argument(
        "--teacher", metavar="MODEL", help="a model name, a folder, or the URL of an OpenAI-compatible server"
    )
    init.add_argument("--student", metavar="MODEL", help="a model name or a folder")
    init.add_argument("--problems", metavar="FILE", help="JSONL, CSV or Parquet with questions and answers")
    init.add_argument("--test", metavar="FILE", help="other problems, to measure the student on")
    init.add_argument("--name", metavar="NAME", help="of the run and of the registered model")
    init.add_argument("--force", action="store_true", help="write over a file that is there")
