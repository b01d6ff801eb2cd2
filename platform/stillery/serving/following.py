"""Follows the registry: which version to serve, when to change it, and what to do with one that fails.

The registry and Serve are passed in, so the logic runs without either. A version that failed is not tried again until
the reference names another; the previous one is deployed again, so that a replica that is lost later is replaced by a
working one.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from stillery.registry.resolve import NoSuchVersionError, ServedModel
from stillery.serving.settings import ServeSettings

log = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class FollowState:
    """The state that `/ready` reports. `serving` is the version that takes traffic, on `num_replicas` replicas at the
    last count; `starting` is the one that is coming up; `failed` maps a rejected version to the reason; `registry` is
    the registry's error, if any; `fallback` whether the served model replaces one that the registry does not have.
    `since` is a time in seconds since 1970."""

    reference: str
    serving: ServedModel | None = None
    num_replicas: int = 0
    starting: ServedModel | None = None
    fallback: bool = False
    registry: str = ""
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    since: float = 0.0


class RolloutFailedError(RuntimeError):
    """A version that did not come up; the message gives the reason."""


class Following:
    """The follower's logic, with the registry and the deploying passed in: `find` resolves a reference, `deploy` brings
    a version into service or raises RolloutFailedError with the old one still serving, `running` returns the version
    that an earlier follower left in service, `count` the number of replicas that take requests."""

    def __init__(
        self,
        settings: ServeSettings,
        *,
        find: Callable[[str], ServedModel],
        deploy: Callable[[ServedModel], None],
        running: Callable[[], ServedModel | None],
        count: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._find = find
        self._deploy = deploy
        self._running = running
        self._count = count
        self._looked = False
        self.state = FollowState(settings.model)

    def step(self) -> None:
        """Poll once, and change versions if there is a new one."""
        if not self._looked:
            self.state = replace(self.state, serving=self._running(), since=time.time())
            self._looked = True
        # Also before a roll-out, which takes minutes: the serving version is ready all the while.
        self.state = replace(self.state, num_replicas=self._count())
        self._follow()
        self.state = replace(self.state, num_replicas=self._count())

    def _follow(self) -> None:
        wanted, fallback = self._wanted()
        if wanted is None:
            return
        failed = {v: reason for v, reason in self.state.failed.items() if v == wanted.version}
        self.state = replace(self.state, failed=failed)
        if wanted == self.state.serving:
            self.state = replace(self.state, fallback=fallback)
        elif wanted.version not in failed:
            self._change(wanted, fallback=fallback)
        elif self.state.serving is None and self._running() == wanted:
            log.info("version %s came up late, and is serving", wanted.version)
            self.state = replace(self.state, serving=wanted, failed={}, fallback=fallback, since=time.time())

    def _wanted(self) -> tuple[ServedModel | None, bool]:
        """The version to serve, and whether it is the fallback. None where the registry gives no answer."""
        try:
            found = self._find(self._settings.model)
        except Exception as error:
            # Boundary: whatever is wrong with the registry, the current version keeps serving.
            self._note(error)
            # An unreachable registry is no reason to serve another model under this one's name.
            stands_in = isinstance(error, NoSuchVersionError) and self.state.serving is None
            if not stands_in or self._settings.fallback is None:
                return None, False
            return self._find(self._settings.fallback), True
        self.state = replace(self.state, registry="")
        return found, False

    def _note(self, error: Exception) -> None:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if reason != self.state.registry:
            log.warning("the registry does not tell which version to serve: %s", reason)
        self.state = replace(self.state, registry=reason)

    def _change(self, wanted: ServedModel, *, fallback: bool) -> None:
        before = self.state.serving
        log.info("bringing up version %s (%s)", wanted.version, wanted.source)
        self.state = replace(self.state, starting=wanted)
        try:
            self._deploy(wanted)
        except RolloutFailedError as error:
            log.error("version %s was refused: %s", wanted.version, error)
            self.state = replace(self.state, starting=None, failed={**self.state.failed, wanted.version: str(error)})
            if before is not None:
                self._restore(before)
            return
        log.info("version %s is serving", wanted.version)
        self.state = replace(self.state, serving=wanted, starting=None, fallback=fallback, since=time.time())

    def _restore(self, before: ServedModel) -> None:
        """Make the old version Serve's target again."""
        try:
            self._deploy(before)
        except RolloutFailedError as error:
            log.error("version %s, which is serving, could not be deployed again: %s", before.version, error)
