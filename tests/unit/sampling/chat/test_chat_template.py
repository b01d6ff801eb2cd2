"""The same template with other defaults, rendered by transformers and with vLLM's choice of arguments."""

from typing import Any

import pytest

from stillery.sampling.chat.template import is_variable, variables_of, with_defaults
from support.chat_models import published_template

ASKED = [{"role": "user", "content": "2 + 2?"}]


def render(template: str, messages: list[dict[str, str]] = ASKED, **arguments: Any) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    values = {"bos_token": "", "eos_token": "", **arguments}
    rendered, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **values)
    return rendered[0]


def test_without_defaults_a_template_stays_as_it_is() -> None:
    assert with_defaults("\n{{ messages }}", arguments={}, system_prompt=None) == "\n{{ messages }}"


@pytest.mark.parametrize(
    "value", [True, False, None, 7, 2.5, "a \"b\" 'c' {{ d }} {% e %}", "é\n😀\\n", ["x", {"y": None}], {"z": [1]}]
)
def test_a_value_comes_out_of_the_template_as_it_went_in(value: object) -> None:
    template = "{{ x | tojson }}"
    assert render(with_defaults(template, arguments={"x": value}, system_prompt=None)) == render(template, x=value)


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "qwen2_5", "llama3_2", "gemma3", "phi3", "glm4moe"])
@pytest.mark.parametrize("prompt", [None, "Be \"brief\".\nVery '{{ brief }}' \\n."])
def test_defaults_do_what_arguments_and_a_system_message_do(name: str, prompt: str | None) -> None:
    template = published_template(name)
    arguments = {"enable_thinking": False} if "enable_thinking" in variables_of(template) else {}
    baked = with_defaults(template, arguments=arguments, system_prompt=prompt)
    told = [{"role": "system", "content": prompt}, *ASKED] if prompt is not None else ASKED
    assert render(baked) == render(template, told, **arguments)
    own = [{"role": "system", "content": "Mine."}, *ASKED]
    assert render(baked, own, enable_thinking=True) == render(template, own, enable_thinking=True)
    # vLLM hands a template only those arguments that it reads.
    assert set(arguments) <= variables_of(baked)


def test_the_latest_defaults_hold() -> None:
    once = with_defaults(published_template("qwen3"), arguments={"enable_thinking": False}, system_prompt="Old.")
    twice = with_defaults(once, arguments={"enable_thinking": True}, system_prompt="New.")
    assert "<think>" in render(once)
    assert "<think>" not in render(twice)
    assert "New." in render(twice)
    assert "Old." not in render(twice)


def test_a_line_break_at_the_beginning_is_kept() -> None:
    template = "\n{{ x }}"
    assert render(with_defaults(template, arguments={"x": 1}, system_prompt=None)) == render(template, x=1) == "\n1"


def test_names_that_a_template_can_be_given() -> None:
    assert is_variable("enable_thinking")
    assert not any(is_variable(name) for name in ("messages", "tools", "strftime_now", "a b", "1a", ""))
    assert "reasoning_effort" in variables_of(published_template("gptoss"))
    assert "{% generation %}" in (trained := published_template("qwen3_training"))
    assert "enable_thinking" in variables_of(trained)
