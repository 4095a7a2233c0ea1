"""Fixtures of the tests that make disks."""

from tests.framework.home import alpine_rootfs, layout

__all__ = ["alpine_rootfs", "layout"]
