"""Following the registry: when versions change, and the effect of a broken version or an unreachable registry."""

from collections.abc import Callable

from stillery.errors import UserError
from stillery.registry.resolve import NoSuchVersionError, ServedModel
from stillery.serving.following import Following, RolloutFailedError
from stillery.serving.settings import load_settings


class Registry:
    """A reference that a test can point to a version, and a cluster on which some versions do not start."""

    def __init__(self, *, running: ServedModel | None = None, fallback: str | None = "embedded:student") -> None:
        # A version, "" for none, None for a registry that does not answer.
        self.champion: str | None = "1"
        self.broken: set[str] = set()
        self.deployed: list[str] = []
        self.running = running
        self.following = Following(
            load_settings({"model": "models:/coin@champion", "fallback": fallback}),
            find=self._find,
            deploy=self._deploy,
            running=lambda: self.running,
            count=lambda: len(self.deployed),
        )

    def _find(self, model: str) -> ServedModel:
        if not model.startswith("models:/"):
            return ServedModel("unregistered", model)
        if self.champion is None:
            raise UserError("MLflow cannot be used")
        if not self.champion:
            raise NoSuchVersionError("no version has this alias")
        return version(self.champion)

    def _deploy(self, served: ServedModel) -> None:
        self.deployed.append(served.version)
        if served.version in self.broken:
            raise RolloutFailedError("it failed the probe")

    def steps(self, *moves: Callable[[], None]) -> None:
        self.following.step()
        for move in moves:
            move()
            self.following.step()

    @property
    def serving(self) -> str | None:
        served = self.following.state.serving
        return served and served.version


def version(number: str) -> ServedModel:
    return ServedModel(number, f"models:/coin/{number}")


def move(registry: Registry, champion: str | None) -> Callable[[], None]:
    return lambda: setattr(registry, "champion", champion)


def test_a_version_is_deployed_once_and_the_next_when_the_alias_moves() -> None:
    registry = Registry()
    registry.steps(lambda: None, move(registry, "2"), lambda: None)
    assert registry.deployed == ["1", "2"]
    assert registry.serving == "2"


def test_a_broken_version_never_replaces_a_working_one_and_is_tried_once() -> None:
    registry = Registry()
    registry.broken = {"2"}
    registry.steps(move(registry, "2"), lambda: None)
    # The old one is deployed again, so that a replica that is lost later is replaced by one that works.
    assert registry.deployed == ["1", "2", "1"]
    assert registry.serving == "1"
    assert registry.following.state.failed == {"2": "it failed the probe"}


def test_a_version_that_was_refused_is_tried_again_after_the_alias_was_elsewhere() -> None:
    registry = Registry()
    registry.broken = {"2"}
    registry.steps(move(registry, "2"), move(registry, "1"))
    registry.broken = set()
    registry.steps(move(registry, "2"))
    assert registry.serving == "2"
    assert registry.following.state.failed == {}


def test_a_silent_registry_changes_nothing() -> None:
    registry = Registry()
    registry.steps(move(registry, None), lambda: None)
    assert registry.serving == "1"
    assert registry.following.state.registry == "MLflow cannot be used"
    registry.steps(move(registry, "2"))
    assert (registry.serving, registry.following.state.registry) == ("2", "")


def test_the_fallback_stands_in_until_there_is_a_version() -> None:
    registry = Registry()
    registry.champion = ""
    registry.steps(lambda: None)
    assert (registry.serving, registry.following.state.fallback) == ("unregistered", True)
    registry.steps(move(registry, "1"))
    assert (registry.serving, registry.following.state.fallback) == ("1", False)
    assert registry.deployed == ["unregistered", "1"]


def test_the_fallback_does_not_stand_in_for_a_registry_that_is_away() -> None:
    registry = Registry()
    registry.champion = None
    registry.steps(lambda: None)
    assert (registry.deployed, registry.serving) == ([], None)
    registry.steps(move(registry, "1"))
    assert registry.serving == "1"


def test_without_a_fallback_nothing_is_deployed() -> None:
    registry = Registry(fallback=None)
    registry.champion = ""
    registry.steps(lambda: None)
    assert registry.deployed == []


def test_a_follower_that_was_restarted_keeps_what_it_finds() -> None:
    registry = Registry(running=version("1"))
    registry.steps()
    assert (registry.deployed, registry.serving) == ([], "1")


def test_a_first_version_that_is_broken_leaves_nothing_to_restore() -> None:
    registry = Registry()
    registry.broken = {"1"}
    registry.steps(lambda: None)
    assert (registry.deployed, registry.serving) == (["1"], None)


def test_a_first_version_that_comes_up_late_is_taken_as_it_is() -> None:
    registry = Registry()
    registry.broken = {"1"}
    registry.steps()
    assert registry.serving is None
    registry.steps(lambda: setattr(registry, "running", version("1")))
    assert registry.serving == "1"
    assert registry.following.state.failed == {}
    assert registry.deployed == ["1"]
