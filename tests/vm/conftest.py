"""Fixtures of the tests that start machines; each of them is marked `vm`."""

from pathlib import Path

import pytest

from tests.framework.boxes import alpine, boxlite, boxlite_of_module, home
from tests.framework.home import alpine_rootfs
from tests.framework.registry import registry

__all__ = ["alpine", "alpine_rootfs", "boxlite", "boxlite_of_module", "home", "registry"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.vm)
