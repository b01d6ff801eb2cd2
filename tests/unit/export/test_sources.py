"""The meaning of MODEL: folders, the embedded models, and refusals."""

import shutil
from pathlib import Path

import pytest

from stillery.config import RegisterConfig
from stillery.errors import UserError
from stillery.export.sources import open_source
from support.export_models import STUDENT


def test_a_folder_and_an_embedded_model_are_their_own_checkpoint(tmp_path: Path) -> None:
    embedded = open_source("embedded:student", RegisterConfig())
    assert (embedded.name, embedded.model, embedded.folder) == ("student", "embedded:student", STUDENT)
    assert embedded.run_id is None
    shutil.copytree(STUDENT, tmp_path / "mine")
    assert open_source(str(tmp_path / "mine"), RegisterConfig()).folder == tmp_path / "mine"


def test_a_hub_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"org/model: give a checkpoint folder, models:/NAME@ALIAS"):
        open_source("org/model", RegisterConfig())


@pytest.mark.parametrize("model", ["models:/", "models:/name", "models:/name@", "models:/a/b/c"])
def test_a_malformed_reference_is_refused(model: str) -> None:
    with pytest.raises(UserError, match="expected models:/NAME@ALIAS or models:/NAME/VERSION"):
        open_source(model, RegisterConfig())
