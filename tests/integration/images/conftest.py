"""Fixtures of the tests that pull and import images."""

from tests.framework.home import layout
from tests.framework.registry import registry, registry_factory

__all__ = ["layout", "registry", "registry_factory"]
