"""A config from its layers (defaults, a YAML file, `key=value` arguments), read with OmegaConf, and back to YAML."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from stillery.config.checks import check_values
from stillery.config.run import Config
from stillery.config.suggestion import suggest
from stillery.errors import UserError

# The project's own configs, which are found by name.
SHIPPED = Path(__file__).parents[1] / "configs"


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Defaults, overridden by the YAML file at `path` (or a shipped config's name), overridden by `key=value`
    arguments.

    Raises UserError for a missing or malformed file, an unknown key, or a value of the wrong type.
    """
    merged = OmegaConf.structured(Config)
    layers = [(str(path), _read_yaml(Path(path)))] if path is not None else []
    layers += [(argument, _read_argument(argument)) for argument in overrides]
    for origin, layer in layers:
        _reject_unknown_keys(OmegaConf.to_container(layer), Config, origin=origin)
        try:
            merged = OmegaConf.merge(merged, layer)
        except OmegaConfBaseException as error:
            raise UserError(f"{origin}: {error.full_key or 'config'}: {_first_line(error)}") from None
    try:
        config = cast(Config, OmegaConf.to_object(merged))
    except InterpolationResolutionError as error:
        unset = re.search(r"Environment variable '(\w+)' not found", str(error))
        reason = f"${unset[1]} is not set; set it, or give {error.full_key}=VALUE" if unset else _first_line(error)
        raise UserError(f"config: {error.full_key}: {reason}") from None
    except OmegaConfBaseException as error:
        raise UserError(f"config: {error.full_key}: {_first_line(error)}") from None
    check_values(config)
    return config


def to_yaml(config: Config) -> str:
    """The resolved config as YAML, as stored with a run."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def settings_of(section: Any) -> dict[str, Any]:
    """One section as plain data, for fingerprints."""
    return dataclasses.asdict(section)


def _read_yaml(path: Path) -> Any:
    shipped = SHIPPED / f"{path}.yaml"
    if not path.is_file() and shipped.is_file() and path.name == str(path):
        path = shipped
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
        raise UserError(f"config file {path} does not exist; give a file, or the name of a shipped one: {names}")
    try:
        loaded = OmegaConf.load(path)
    except Exception as error:
        raise UserError(f"config file {path} is not valid YAML: {_first_line(error)}") from None
    if not OmegaConf.is_dict(loaded):
        raise UserError(f"config file {path} must be a mapping of sections, such as `teacher:` and `sft:`")
    return loaded


def _read_argument(argument: str) -> Any:
    key, equals, _ = argument.partition("=")
    if not equals or not key:
        raise UserError(f"argument {argument!r}: expected key=value, such as teacher.samples_per_prompt=16")
    return OmegaConf.from_dotlist([argument])


def _reject_unknown_keys(layer: Any, record: Any, *, origin: str, prefix: str = "") -> None:
    known = {f.name: f for f in dataclasses.fields(record)}
    if not isinstance(layer, Mapping):
        raise UserError(f"{origin}: {prefix.rstrip('.') or 'config'} must be a mapping of {', '.join(known)}")
    for key, value in cast(Mapping[Any, Any], layer).items():
        if key not in known:
            raise UserError(f"{origin}: unknown key {prefix}{key}{suggest(str(key), list(known))}")
        inner = known[key].type
        if dataclasses.is_dataclass(inner):
            _reject_unknown_keys(value, inner, origin=origin, prefix=f"{prefix}{key}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
