"""The command line as a whole: help, renamed names, shipped configs, runs on this machine, the Python names."""

import json
from pathlib import Path

import pytest

import stillery
from stillery.cli.commands import GROUPS
from stillery.cli.commands.pipeline import STAGE_COMMANDS
from stillery.cli.main import main, parse_arguments
from stillery.config import load_config
from stillery.config.loading import SHIPPED
from stillery.errors import UserError
from stillery.io.run_folder import open_run
from stillery.pipeline.runner import report_finished, stages_of


def said(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    done = capsys.readouterr()
    return code, " ".join((done.out + done.err).split())


def test_the_help_lists_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said("--help", capsys=capsys)
    assert code == 0
    for command in (command for group in GROUPS.values() for command in group):
        assert f"{command.name} {command.help}" in text


@pytest.mark.parametrize("command", STAGE_COMMANDS)
def test_the_help_of_a_stage_names_the_stages_that_it_runs(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(command, "--help", capsys=capsys)
    config = load_config()
    config.bonds.enabled = config.bonds.enabled or command == "bonds"
    names = [stage.name for stage in stages_of(config, STAGE_COMMANDS[command][0])]
    assert code == 0
    assert f"not finished: {', '.join(names)}." in text
    assert STAGE_COMMANDS[command][2].split()[0] in text


def test_settings_may_stand_behind_options_and_what_is_unknown_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    parsed = parse_arguments(["benchmark", "m", "--tasks", "gsm8k", "evaluate.threads=2", "--greedy", "run.seed=3"])
    assert (parsed.model, parsed.overrides) == ("m", ["evaluate.threads=2", "run.seed=3"])
    parsed = parse_arguments(["run", "run.seed=3", "--config", "demo", "run.name=x"])
    assert parsed.overrides == ["run.seed=3", "run.name=x"]
    assert "unrecognized arguments: --gredy" in said("run", "--gredy", capsys=capsys)[1]
    assert "unrecognized arguments: a=b" in said("doctor", "a=b", capsys=capsys)[1]


def test_the_example_of_each_stage_is_a_setting() -> None:
    for _, _, example in STAGE_COMMANDS.values():
        load_config(None, example.split())


def test_a_command_that_had_another_name_says_its_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert said("train", capsys=capsys) == (2, "stillery: there is no command train; it is `stillery sft` now")
    assert "`stillery serve keys` now" in said("keys", "list", capsys=capsys)[1]


def test_a_key_that_had_another_name_says_its_new_one() -> None:
    with pytest.raises(UserError, match="it is called lookahead now"):
        load_config(None, ["teacher.ahead=2"])


def test_shipped_configs_are_found_by_name() -> None:
    names = [file.stem for file in SHIPPED.glob("*.yaml")]
    assert "demo" in names
    assert load_config("demo") == load_config(SHIPPED / "demo.yaml")
    with pytest.raises(UserError, match=r"config file dmeo does not exist; .*demo"):
        load_config("dmeo")


def test_keys_and_a_model_stand_behind_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / "keys.jsonl"
    assert said("serve", "keys", "add", "ann", "--file", str(keys), capsys=capsys)[0] == 0
    assert "ann" in said("serve", "keys", "list", "--file", str(keys), capsys=capsys)[1]
    assert "model: embedded:teacher" in said("serve", "embedded:teacher", "--show-config", capsys=capsys)[1]


def test_runs_are_listed_shown_and_reported_on_as_far_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no runs in" in said("runs", "list", capsys=capsys)[1]
    config = load_config(None, ["run.name=half", "prompts.num_train=6", "prompts.num_validation=6"])
    with pytest.raises(UserError, match=r"no stage of .* is finished"):
        report_finished(config)
    assert said("prompts", "run.name=half", "prompts.num_train=6", "prompts.num_validation=6", capsys=capsys)[0] == 0
    assert "half 1 prompts" in said("runs", "list", capsys=capsys)[1]
    page = Path(report_finished(config).summary["path"])
    assert "half" in page.read_text(encoding="utf-8")
    with open_run(config) as run:
        assert sorted(path.name for path in run.folder.local.glob("stages/*")) == ["prompts", "report"]
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    capsys.readouterr()
    assert said("runs", "open", "half", capsys=capsys) == (0, str(page))
    assert opened == [page.as_uri()]
    shown = said("runs", "show", "half", capsys=capsys)[1]
    manifest = json.loads((page.parent / "manifest.json").read_text())
    assert manifest["fingerprint"] in shown
    assert "no run other" in said("runs", "show", "other", capsys=capsys)[1]


def test_the_names_of_the_python_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stillery.same_answer("1/2", "0.5")
    assert stillery.grade("<think>2+2</think><answer>4</answer>", answer="4").verdict == "correct"
    assert stillery.analyze("First, 2+2=4. So the answer is 4.").atoms
    assert set(stillery.__all__) == {name for name in stillery.__all__ if callable(getattr(stillery, name))}
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = stillery.trian
