"""Metadata on the Hugging Face Hub: whether a model exists, is readable and loadable, and licences from model and
dataset cards."""

from pathlib import Path
from typing import Literal

from stillery.errors import UserError
from stillery.io.cards import CARD, licenses_in

_TIMEOUT_S = 5.0


def find_on_hub(key: str, model: str) -> str | None:
    """The source of a Hub model's small files: its name, or the copy in this machine's cache where the Hub cannot be
    reached. None if there is neither.

    Raises UserError if the Hub has no such model, denies this user access, or holds no loadable weights.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    api = HfApi()
    try:
        info = api.model_info(model, timeout=_TIMEOUT_S)
        api.auth_check(model)
    except HFValidationError:
        raise UserError(f"{key}={model}: neither a folder nor a name on the Hugging Face Hub (OWNER/NAME)") from None
    except GatedRepoError:
        raise UserError(
            f"{key}={model}: is gated; accept its terms at {api.endpoint}/{model} and set $HF_TOKEN on every node"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{key}={model}: the Hugging Face Hub has no such model, or $HF_TOKEN may not read it; correct the name, "
            "or give the path of a folder"
        ) from None
    except Exception:
        # Boundary: offline, a proxy, a time-out or an outage, all of which may be over when a worker loads it.
        return _cached(model)
    names = [file.rfilename for file in info.siblings or []]
    if not any(name.endswith(".safetensors") for name in names):
        raise UserError(f"{key}={model}: has no *.safetensors on the Hub; give a model that is saved as such")
    return model


def _cached(model: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json")
    return str(Path(found).parent) if isinstance(found, str) else None


def licenses_on_hub(name: str, *, kind: Literal["model", "dataset"]) -> list[str]:
    """The licences that the card of a model or dataset on the Hub names, from this machine's copy of the card where it
    has one. Empty where the card names none, or cannot be fetched."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, CARD, repo_type=kind)
        return licenses_in(Path(found).read_text(encoding="utf-8") if isinstance(found, str) else _card(name, kind))
    except HFValidationError:
        return []


def _card(name: str, kind: Literal["model", "dataset"]) -> str:
    """The text of a card, from the Hub. Empty where it cannot be fetched."""
    from huggingface_hub import HfApi, hf_hub_download

    try:
        api = HfApi()
        info = api.model_info if kind == "model" else api.dataset_info
        # Bounded: without an answer a download keeps retrying for minutes.
        info(name, timeout=_TIMEOUT_S)
        return Path(hf_hub_download(name, CARD, repo_type=kind)).read_text(encoding="utf-8")
    except Exception:
        # Boundary: offline, a proxy, a time-out, or no card. An unknown licence is reported as not stated.
        return ""
