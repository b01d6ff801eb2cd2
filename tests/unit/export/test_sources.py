"""What MODEL means: folders, the embedded models, and what is refused."""

from pathlib import Path

import pytest

from export_models import STUDENT
from stillery.config import RegisterConfig
from stillery.errors import UserError
from stillery.export.sources import log_artifact, open_source


def test_a_folder_and_an_embedded_model_are_their_own_checkpoint(tmp_path: Path) -> None:
    embedded = open_source("embedded:student", RegisterConfig())
    assert (embedded.name, embedded.model, embedded.folder) == ("student", "embedded:student", STUDENT)
    assert embedded.run_id is None
    assert open_source(str(tmp_path), RegisterConfig()).folder == tmp_path


def test_a_hub_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"org/model: give a checkpoint folder, models:/NAME@ALIAS"):
        open_source("org/model", RegisterConfig())


@pytest.mark.parametrize("model", ["models:/", "models:/name", "models:/name@", "models:/a/b/c"])
def test_a_malformed_reference_is_refused(model: str) -> None:
    with pytest.raises(UserError, match="expected models:/NAME@ALIAS or models:/NAME/VERSION"):
        open_source(model, RegisterConfig())


def test_nothing_is_logged_for_a_model_that_is_not_registered(tmp_path: Path) -> None:
    """With an address that nobody answers at: a try to log would raise."""
    source = open_source("embedded:student", RegisterConfig())
    log_artifact(source, tmp_path, RegisterConfig(tracking_uri="http://127.0.0.1:9"), tags={"a": "b"})
