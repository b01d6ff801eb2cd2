"""A student's conversation tried before a run: what it loses, how it begins and where it ends."""

import re
from pathlib import Path

import pytest

from stillery.errors import UserError
from stillery.sampling.chat.checkpoint import missing_stops, open_student
from stillery.sampling.chat.conversation import ChatFormat
from support.chat_models import STUDENT, make_student, published_template

_CHATML = published_template("qwen2_5")


def refusal(student: Path, **settings: object) -> str:
    with pytest.raises(UserError) as error:
        open_student(ChatFormat(str(student), **settings))  # type: ignore[arg-type]
    message = str(error.value)
    assert message.startswith(f"sft.student={student}: its chat template ")
    assert "\n" not in message
    return message


def end_of(student: Path, **settings: object) -> tuple[str, bool]:
    _, end = open_student(ChatFormat(str(student), **settings))  # type: ignore[arg-type]
    return end.token, end.is_stop


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "qwen3_8", "qwen2_5", "lfm2", "nemotron_3_nano"])
def test_a_published_template_whose_end_is_a_stop_passes(tmp_path: Path, name: str) -> None:
    assert end_of(make_student(tmp_path / "m", template=published_template(name))) == ("<|im_end|>", True)


def test_an_end_that_is_a_special_token_can_be_made_a_stop(tmp_path: Path) -> None:
    base = make_student(tmp_path / "base", template=_CHATML, eos="<|endoftext|>", stops=0)
    assert end_of(base) == ("<|im_end|>", False)
    listed = make_student(tmp_path / "listed", template=_CHATML, eos="<|endoftext|>", stops=[0, 2])
    assert end_of(listed) == ("<|im_end|>", True)
    assert end_of(base, eos_token="<|im_end|>") == ("<|im_end|>", True)


@pytest.mark.parametrize(
    ("name", "token"), [("gemma3", "<end_of_turn>"), ("llama3_2", "<|eot_id|>"), ("deepseek_r1_distill_training", "")]
)
def test_the_ends_of_other_families(tmp_path: Path, name: str, token: str) -> None:
    token = token or "<｜end▁of▁sentence｜>"
    text = "{% set bos_token = '' %}" + published_template(name)
    known = make_student(tmp_path / "known", template=text, tokens={2: token}, eos="<|endoftext|>", stops=0)
    assert end_of(known) == (token, False)
    unknown = make_student(tmp_path / "unknown", template=text)
    assert f"ends an answer with '{token}" in refusal(unknown)
    assert "generation stops at <|im_end|>" in refusal(unknown)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "writes nothing at the end"),
        ("{% for m in messages %}{{ m.content }}\n\n{% endfor %}", "writes nothing at the end"),
        ("{% for m in messages %}{{ m.content }}[END]{% endfor %}", r"ends an answer with '\[END\]', which is no"),
        # The token also opens every answer: stopping at it would end all of them at once.
        ("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}<|im_start|>{{ m.content }}"
         "<|im_start|>{% endif %}{% endfor %}", "no special token"),
    ],
)  # fmt: skip
def test_a_template_without_an_end_is_refused(tmp_path: Path, template: str, message: str) -> None:
    student = make_student(tmp_path / "m", template=template, eos="<|endoftext|>", stops=0)
    assert re.search(message, refusal(student))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (published_template("deepseek_r1_distill"), "cuts the thinking out"),
        (published_template("deepseekv3"), "cuts the thinking out"),
        (_CHATML.replace("message.content", "message.content.split('</answer>')[-1]"), "leaves out|cuts"),
        (published_template("qwen3_5_nothink"), "asks for an answer with .* but writes one that begins otherwise"),
        (published_template("smolvlm"), "leaves out the question"),
        ("{{ messages[0].contents.strip() }}", "fails: .*has no attribute 'contents'"),
        ("{{ raise_exception('not today') }}", "fails: not today"),
        ("{{ 'a' + 1 }}", "fails: "),
    ],
)
def test_a_template_that_does_not_say_what_it_is_given_is_refused(tmp_path: Path, template: str, message: str) -> None:
    assert re.search(message, refusal(make_student(tmp_path / "m", template=template)))


def test_a_thinking_switch_that_closes_the_thinking_is_refused_and_one_that_opens_it_passes(tmp_path: Path) -> None:
    closed = make_student(tmp_path / "m", template=published_template("qwen3"))
    assert "sft.chat_template_kwargs" in refusal(closed, arguments={"enable_thinking": False})
    switched = make_student(tmp_path / "n", template=published_template("qwen3_5_nothink"))
    assert end_of(switched, arguments={"enable_thinking": True}) == ("<|im_end|>", True)


def test_a_system_prompt_that_a_template_does_not_take_is_refused(tmp_path: Path) -> None:
    text = "{% set bos_token = '' %}" + published_template("gemma")
    gemma = make_student(tmp_path / "m", template=text, tokens={2: "<end_of_turn>"}, eos="<|endoftext|>")
    assert end_of(gemma) == ("<end_of_turn>", True)
    assert "System role not supported (sft.system_prompt is set)" in refusal(gemma, system_prompt="Be brief.")
    deaf = "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    student = make_student(tmp_path / "deaf", template=deaf)
    assert "leaves out sft.system_prompt" in refusal(student, system_prompt="Be brief.")


def test_a_stop_is_added_where_the_model_itself_has_none(tmp_path: Path) -> None:
    base = make_student(tmp_path / "base", template=_CHATML, eos="<|endoftext|>", stops=0)
    assert missing_stops(str(base), ChatFormat(str(base))) == (2,)
    assert missing_stops("embedded:student", ChatFormat(str(base))) == ()
    assert missing_stops(str(STUDENT), ChatFormat(str(STUDENT))) == ()
