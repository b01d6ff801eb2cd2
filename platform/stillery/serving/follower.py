"""The Serve deployment that keeps the endpoint at the version that the registry names.

A thread polls the registry every few seconds. A new version is deployed over the old one with Serve's own rolling
update: with `max_surge_percent` new replicas start beside the old ones, and take traffic only once their constructor,
including the probe, has returned; then the old ones drain. If the new ones fail, Serve stops the roll-out and keeps
routing to the old ones.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from stillery.errors import UserError
from stillery.registry.resolve import find_version
from stillery.serving.following import Following
from stillery.serving.rollout import count_replicas, is_deployed, roll_out, running_version
from stillery.serving.settings import load_settings

log = logging.getLogger("ray.serve")

# How long the endpoint waits for the registry and the start of the model's application before it counts as up anyway.
_DEPLOYED_WITHIN_S = 30.0
_LOOK_S = 0.2


class Follower:
    """The Serve deployment: one replica, a thread of its own, state for `/ready`.

    It is up once the model's application exists, if the registry names one: KubeRay sends requests to a new cluster as
    soon as every application that it finds there runs, and must not find only the endpoint's.
    """

    def __init__(self, args: Mapping[str, Any]) -> None:
        settings = load_settings(args)
        self._poll_s = settings.follow.poll_s
        self._following = Following(
            settings,
            find=lambda model: find_version(model, tracking_uri=settings.tracking_uri),
            deploy=lambda served: roll_out(served, settings),
            running=lambda: running_version(settings),
            count=count_replicas,
        )
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _DEPLOYED_WITHIN_S
        while time.monotonic() < deadline and not (self._error or self._following.state.registry or is_deployed()):
            time.sleep(_LOOK_S)

    def state(self) -> dict[str, Any]:
        """The FollowState as plain data."""
        return asdict(self._following.state)

    def check_health(self) -> None:
        """Serve replaces a follower whose thread has died."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            try:
                self._following.step()
            except UserError as error:
                log.error("%s", error)
            except Exception as error:
                log.exception("the follower failed")
                self._error = error
                return
            time.sleep(self._poll_s)
