"""Chat templates as source text: the variables one reads, and the same template with other defaults.

Pure: Jinja source in, Jinja source out.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

# transformers' blocks that mark the assistant's part; Jinja itself does not know them.
_GENERATION_BLOCK = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_NAME = re.compile(r"[A-Za-z_]\w*")

# The names that apply_chat_template passes or reserves.
RESERVED = frozenset(
    "messages conversation tools documents chat_template add_generation_prompt continue_final_message tokenize padding "
    "truncation max_length return_tensors return_dict return_assistant_tokens_mask tokenizer_kwargs strftime_now "
    "raise_exception bos_token eos_token pad_token unk_token".split()
)


def variables_of(template: str) -> set[str]:
    """The free variables of a template. Raises jinja2.TemplateSyntaxError."""
    import jinja2.meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    return jinja2.meta.find_undeclared_variables(environment.parse(_GENERATION_BLOCK.sub("", template)))


def with_defaults(template: str, *, arguments: Mapping[str, Any], system_prompt: str | None) -> str:
    """The template with values for the variables that a caller leaves out, and a system message for a conversation that
    has none. Without either it is the template itself.

    Any program that reads the template then prompts the model as in training, and a caller's own values still take
    precedence.
    """
    lines = [
        f"{{%- if {name} is not defined %}}{{%- set {name} = {_literal(value)} %}}{{%- endif %}}"
        for name, value in sorted(arguments.items())
    ]
    if system_prompt is not None:
        message = f"{{'role': 'system', 'content': {_literal(system_prompt)}}}"
        lines.append(
            "{%- if not messages or messages[0]['role'] not in ['system', 'developer'] %}"
            f"{{%- set messages = [{message}] + messages %}}{{%- endif %}}"
        )
    if not lines:
        return template
    # A block swallows the line break after it, with which the template may begin.
    guard = "{{ '' }}" if template[:1] == "\n" else ""
    return "".join(lines) + guard + template


def is_variable(name: str) -> bool:
    """Whether a value can be passed to a template under this name."""
    return _NAME.fullmatch(name) is not None and name not in RESERVED


def _literal(value: Any) -> str:
    """A plain value as a Jinja literal: JSON except for its three keywords; unlike JSON, Jinja has no surrogate pairs,
    so characters are written unescaped."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_literal(inner) for inner in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return json.dumps(value, ensure_ascii=False)
