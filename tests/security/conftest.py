"""Fixtures of attempts to break out: those of the tests with machines."""

from tests.framework.boxes import alpine, boxlite, boxlite_of_module, home
from tests.framework.home import alpine_rootfs
from tests.framework.registry import registry

__all__ = ["alpine", "alpine_rootfs", "boxlite", "boxlite_of_module", "home", "registry"]
