"""Checks of the verification settings before anything is sampled."""

from stillery.config import Config
from stillery.verify.functions import load_function


def check_verification(config: Config) -> None:
    """Raise UserError for a verifier that does not exist or does not accept a GradingTask."""
    if config.verify.function is not None:
        load_function(config.verify.function, key="verify.function", arguments=1)
