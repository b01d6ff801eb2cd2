"""Whether a registered model can have the name given in a config."""

from stillery.config import RegisterConfig
from stillery.errors import UserError


def check_name(config: RegisterConfig) -> None:
    """Raise UserError for a model's or an experiment's name that MLflow refuses, or that is not valid in a reference to
    the model (models:/NAME@ALIAS)."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils import validation

    # The rules of the server that will create them: MLflow has no public way to check beforehand.
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
