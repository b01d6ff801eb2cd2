"""Training rows and prompts as rendered by chat templates of published models."""

import datetime
from pathlib import Path

import pytest

from stillery.config import SftConfig
from stillery.errors import UserError
from stillery.records import Message, Sample
from stillery.sampling.chat.conversation import (
    CUT,
    OTHER_PROMPT,
    REFUSED,
    ChatFormat,
    Conversation,
    continuation,
    open_conversation,
    student_format,
)
from support.chat_models import STUDENT, make_student, published_template

THINKING = "<think>\nTwo and two.\n</think>\n<answer>4</answer>"


def sample(completion: str, question: str = "2 + 2?") -> Sample:
    prompt, answer = [Message("user", question)], [Message("assistant", completion)]
    return Sample("s", "p", "t", "train", prompt, answer, [], "reasoning", "teacher")


def conversation(folder: Path, template: str, **settings: object) -> Conversation:
    """A conversation with the template of a published model."""
    student = make_student(folder, template=published_template(template), eos="<|im_end|>")
    return open_conversation(ChatFormat(str(student), **settings), key="sft.student")  # type: ignore[arg-type]


def text_of(conversation: Conversation, ids: list[int]) -> str:
    return conversation.tokenizer.decode(ids)


def test_a_row_is_the_prompt_as_the_model_is_asked_and_what_it_has_to_write(tmp_path: Path) -> None:
    chat = conversation(tmp_path / "m", "qwen2_5")
    (row,) = chat.rows([sample(THINKING)])
    prompt = "user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    assert text_of(chat, row.prompt_ids).endswith(prompt)
    assert text_of(chat, row.completion_ids) == f"{THINKING}<|im_end|>\n"
    assert row.labels() == [-100] * len(row.prompt_ids) + row.completion_ids
    assert row.labels(of_prompt=True) == row.input_ids == row.prompt_ids + row.completion_ids


@pytest.mark.parametrize("completion", [THINKING, THINKING.replace("\n", ""), THINKING.replace("\n", "\n\n"), "Plain."])
def test_a_template_that_writes_white_space_anew_loses_nothing(tmp_path: Path, completion: str) -> None:
    chat = conversation(tmp_path / "m", "qwen3")
    (row,) = chat.rows([sample(completion)])
    assert row.fault is None
    assert "".join(completion.split()) in "".join(text_of(chat, row.completion_ids).split())


def test_rows_that_a_template_cuts_are_marked_and_the_others_kept(tmp_path: Path) -> None:
    qwen = conversation(tmp_path / "q", "qwen3")
    twice = "<think>a</think><think>b</think><answer>4</answer>"
    as_tool = sample(THINKING, question="<tool_response>2 + 2?</tool_response>")
    assert [row.fault for row in qwen.rows([sample(THINKING), sample(twice), as_tool])] == [None, CUT, CUT]
    deepseek = conversation(tmp_path / "d", "deepseek_r1_distill", arguments={})
    # It asks with <think>, writes none before an answer, and cuts off what is thought.
    assert [row.fault for row in deepseek.rows([sample(THINKING), sample("Plain.")])] == [CUT, OTHER_PROMPT]
    assert qwen.rows([sample(twice)])[0].input_ids == []


def test_a_row_that_a_template_refuses_is_marked(tmp_path: Path) -> None:
    template = "{% for m in messages %}{% if 'tea' in m.content %}{{ raise_exception('no tea') }}{% endif %}{{ m.content }}{% endfor %}"  # noqa: E501
    student = make_student(tmp_path / "m", template=template)
    chat = open_conversation(ChatFormat(str(student)), key="sft.student")
    assert [row.fault for row in chat.rows([sample("tea"), sample("4")])] == [REFUSED, None]


def test_no_rows_are_no_rows() -> None:
    assert open_conversation(ChatFormat(str(STUDENT)), key="sft.student").rows([]) == []


@pytest.mark.parametrize(
    ("prompt", "whole", "rest"),
    [
        ("a: ", "a: b", "b"),
        ("a:<think>\n", "a:<think>b", "b"),
        ("a:<think>\n", "a: <think>\n\n b c", "b c"),
        ("a:<think>", "a:b", None),
        ("a:b", "a:", None),
        ("", "b", "b"),
    ],
)
def test_what_follows_a_prompt_up_to_white_space(prompt: str, whole: str, rest: str | None) -> None:
    assert continuation(prompt, whole) == rest


def test_arguments_and_the_system_prompt_reach_the_prompt_and_the_row(tmp_path: Path) -> None:
    chat = conversation(
        tmp_path / "m", "qwen3_5_nothink", arguments={"enable_thinking": True}, system_prompt="Be brief."
    )
    (row,) = chat.rows([sample(THINKING)])
    asked = chat.render([Message("user", "2 + 2?")], ask=True)
    assert asked == text_of(chat, row.prompt_ids)
    assert "system\nBe brief.<|im_end|>" in asked
    assert asked.endswith("assistant\n<think>\n")
    own = chat.render([Message("system", "Be long."), Message("user", "2 + 2?")], ask=True)
    assert "Be long." in own
    assert "Be brief." not in own


@pytest.mark.parametrize(("template", "printed"), [("llama3_2", "02 Jan 2026"), ("gptoss", "2026-01-02")])
def test_a_template_that_prints_the_date_prints_the_one_it_is_given(
    tmp_path: Path, template: str, printed: str
) -> None:
    now = datetime.datetime(2026, 1, 2, 23, 59)
    (tmp_path / "m").parent.mkdir(exist_ok=True)
    text = "{% set bos_token = '' %}" + published_template(template)
    student = make_student(tmp_path / "m", template=text)
    asked = [Message("user", "2 + 2?")]
    pinned = open_conversation(ChatFormat(str(student), now=now), key="sft.student")
    assert printed in pinned.render(asked, ask=True)
    assert printed in text_of(pinned, pinned.rows([sample("4")])[0].input_ids)
    clock = open_conversation(ChatFormat(str(student)), key="sft.student")
    assert printed not in clock.render(asked, ask=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"enable_thinkin": True},
            "chat_template_kwargs.enable_thinkin: .* no such argument; did you mean enable_thinking",
        ),
        ({"messages": []}, "chat_template_kwargs.messages is not an argument"),
        ({"a-b": 1}, "chat_template_kwargs.a-b is not an argument"),
        ({"bos_token": ""}, "chat_template_kwargs.bos_token is not an argument"),
    ],
)
def test_an_argument_that_a_template_does_not_read_is_named(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        conversation(tmp_path / "m", "qwen3", arguments=arguments)


def test_a_student_that_cannot_be_spoken_to_is_named(tmp_path: Path) -> None:
    silent = make_student(tmp_path / "silent")
    (silent / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"has no chat template; give one with sft\.trl\.chat_template_path"):
        open_conversation(ChatFormat(str(silent)), key="sft.student")
    with pytest.raises(UserError, match=r"no chat template; save one into its tokenizer"):
        open_conversation(ChatFormat(str(silent)), key="teacher.model")
    broken = make_student(tmp_path / "broken", template="{% for m in messages %}{{ m.content }")
    with pytest.raises(UserError, match="chat template is no Jinja: line 1"):
        open_conversation(ChatFormat(str(broken)), key="sft.student")
    (broken / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(UserError, match="its tokenizer cannot be loaded"):
        open_conversation(ChatFormat(str(broken)), key="sft.student")
    with pytest.raises(UserError, match=r"sft\.trl\.eos_token=<eot> is not a token"):
        open_conversation(ChatFormat(str(STUDENT), eos_token="<eot>"), key="sft.student")


def test_a_template_file_and_another_models_template_are_taken_as_trl_takes_them(tmp_path: Path) -> None:
    file = tmp_path / "t.jinja"
    file.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    by_file = student_format(SftConfig(trl={"chat_template_path": str(file)}))
    assert open_conversation(by_file, key="sft.student").render([Message("user", "x")], ask=True) == "x"
    other = make_student(
        tmp_path / "o", template="{{ messages[0].content }}<|eot|>", tokens={0: "<|eot|>"}, eos="<|eot|>"
    )
    taken = open_conversation(student_format(SftConfig(trl={"chat_template_path": str(other)})), key="sft.student")
    assert taken.tokenizer.eos_token == "<|eot|>"
    assert len(taken.tokenize(["<|eot|>"])[0]) == 1
    with pytest.raises(UserError, match=r"sft\.trl\.chat_template_path=.*gone\.jinja cannot be read: No such file"):
        student_format(SftConfig(trl={"chat_template_path": str(tmp_path / "gone.jinja")}))
