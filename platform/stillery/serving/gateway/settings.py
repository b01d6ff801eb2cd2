"""The settings of the gateway, read with OmegaConf like the rest of the configuration."""

from dataclasses import dataclass, field, fields

from stillery.errors import UserError

# Parameters that vLLM accepts but untrusted clients must not use: templates that run in its process, grammars and
# patterns with unbounded compilation, its plug-ins' parameters, queue-jumping, and fields that share a cache on
# purpose.
REFUSED_FIELDS = [
    "cache_salt",
    "chat_template",
    "chat_template_kwargs",
    "documents",
    "ec_transfer_params",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "kv_transfer_params",
    "logits_processors",
    "media_io_kwargs",
    "mm_processor_kwargs",
    "priority",
    "prompt_embeds",
    "request_id",
    "response_format",
    "structured_outputs",
    "tools",
    "use_beam_search",
    "vllm_xargs",
]


@dataclass
class KeyLimits:
    """The limits of one key: a token bucket that holds `burst` requests and refills at `requests_per_minute`, and
    `concurrency` requests at once."""

    requests_per_minute: float = 600.0
    burst: int = 60
    concurrency: int = 32


@dataclass
class ParameterBounds:
    """Bounds on a request's parameters; a request outside them gets a 400 that names the field.

    `max_total_tokens` bounds n (or best_of) x prompts x max_tokens. `refused_fields` get a 400 unless they are null.
    With `text_only`, a message whose content is not text is refused: it could make the server fetch an address.
    """

    max_n: int = 16
    max_tokens: int = 8192
    max_total_tokens: int = 65536
    max_logprobs: int = 20
    max_stop_strings: int = 16
    max_stop_length: int = 256
    max_token_ids: int = 256
    max_logit_bias: int = 300
    max_messages: int = 256
    max_prompts: int = 16
    max_prompt_token_ids: int = 131072
    text_only: bool = True
    refused_fields: list[str] = field(default_factory=lambda: list(REFUSED_FIELDS))


@dataclass
class GatewaySettings:
    """All settings of the gateway. The path of `key_file` is null for an endpoint without keys, which binds to loopback
    only.

    `limits` apply to every key that `key_limits` (by the key's name) does not mention. `max_in_flight` bounds the
    requests of one replica over all keys, including those that are still sending their body. `access_log` is `stderr`,
    `off`, or the path of a file. `open_paths` need no key and count towards no limit.
    """

    key_file: str | None = None
    open_paths: list[str] = field(default_factory=lambda: ["/", "/health", "/ready", "/favicon.ico"])

    limits: KeyLimits = field(default_factory=KeyLimits)
    key_limits: dict[str, KeyLimits] = field(default_factory=dict[str, KeyLimits])
    max_in_flight: int = 128
    retry_after_s: int = 2

    max_body_bytes: int = 1024 * 1024
    # A refused body is read and discarded up to this size, so that the client sees the response.
    max_drain_bytes: int = 256 * 1024 * 1024
    body_timeout_s: float = 20.0
    request_timeout_s: float = 600.0
    max_json_depth: int = 32
    max_headers: int = 64
    max_header_bytes: int = 16 * 1024
    max_target_bytes: int = 2048
    bounds: ParameterBounds = field(default_factory=ParameterBounds)

    cors_origins: list[str] = field(default_factory=list[str])
    # Strict-Transport-Security, for an endpoint behind TLS.
    hsts: bool = False
    access_log: str = "stderr"
    metrics_path: str | None = "/metrics"


def check_settings(settings: GatewaySettings) -> None:
    """Raise UserError, naming the key, for a value that the gateway cannot work with."""
    groups = {"": settings, "limits.": settings.limits, "bounds.": settings.bounds}
    groups |= {f"key_limits.{name}.": limits for name, limits in settings.key_limits.items()}
    for prefix, group in groups.items():
        for item in fields(group):
            value = getattr(group, item.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
                raise UserError(f"gateway.{prefix}{item.name} is {value}; it must be above 0")
    if "*" in settings.cors_origins and settings.key_file is None:
        raise UserError(
            "gateway.cors_origins holds * but gateway.key_file is unset: any page that you visit could use the "
            "endpoint; name the origins, or make a key with `stillery serve keys add NAME`"
        )
