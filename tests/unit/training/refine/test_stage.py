"""Plain data in messages to workers, and user errors found in their tracebacks."""

import json
import traceback

from stillery.config import RefineConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.stages.refine import user_error_of, worker_config


def test_workers_are_told_plain_data() -> None:
    told = worker_config(RefineConfig(seed=3), student="s", teacher="t", seed=7, out=Folder("/out"))
    assert json.loads(json.dumps(told)) == told
    assert told["seed"] == 3
    assert worker_config(RefineConfig(), student="s", teacher="t", seed=7, out=Folder("/out"))["seed"] == 7


def test_what_a_user_can_mend_is_found_in_a_workers_traceback() -> None:
    class WorkerGroupError(Exception):
        def __init__(self) -> None:
            self.worker_failures = {0: RuntimeError("gloo: connection closed"), 1: RuntimeError("")}

    error = WorkerGroupError()
    assert user_error_of(error) is None
    try:
        raise UserError("reward digits failed: KeyError: 'x'")
    except UserError:
        error.worker_failures[1] = RuntimeError(traceback.format_exc())
    assert str(user_error_of(error)) == "reward digits failed: KeyError: 'x'"
