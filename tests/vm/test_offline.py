"""A box of an image that is here runs on a host without any network but loopback."""

from __future__ import annotations

import subprocess

import pytest

from engine.process import find_program
from tests.framework.cli import Boxlite

pytestmark = pytest.mark.vm


def test_run_of_a_local_image_needs_no_network(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "--rm", alpine, "true", check=True)  # what is made once for an image and a machine
    unshare = find_program("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed (Debian: util-linux)")
    done = subprocess.run(
        (unshare, "--net", "--map-root-user", "--", *boxlite.argv("run", "--rm", "--pull", "never", alpine, "echo", "alone")),
        env=boxlite.environment(), capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout == b"alone\n", done.stderr.decode()
