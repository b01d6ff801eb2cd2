"""Whether a registered model can have the name that a config gives it."""

from stillery.config import RegisterConfig
from stillery.errors import UserError


def check_name(config: RegisterConfig) -> None:
    """Raise UserError for a model's or an experiment's name that MLflow refuses, or that no reference to the model can
    hold (models:/NAME@ALIAS)."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils import validation

    # The rules of the server that will be asked to create them: MLflow has no public way to ask before.
    model_name = validation._validate_model_name  # pyright: ignore[reportPrivateUsage]
    experiment_name = validation._validate_experiment_name  # pyright: ignore[reportPrivateUsage]
    for key, check, name in (
        ("register.name", model_name, config.name),
        ("register.experiment", experiment_name, config.experiment),
    ):
        try:
            check(name)
        except MlflowException as error:
            raise UserError(f"{key}={name!r}: MLflow refuses it ({str(error).strip().splitlines()[0]})") from None
    held = [character for character in "@'\"" if character in config.name]
    if held:
        raise UserError(f"register.name={config.name!r}: {held[0]} cannot stand in models:/NAME@ALIAS; leave it out")
