"""What an emulated box does once before its first command of exec, so that nobody has to wait for it then."""

from __future__ import annotations

import platform
import time

import pytest

from tests.framework.cli import Boxlite
from tests.framework.waiting import inspect

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="there is only crun's way into a container"),
]

ENOUGH_S = 3.0


def test_rehearsal_uses_up_one_process_id_and_leaves_nothing_else(boxlite: Boxlite, alpine: str) -> None:
    boxlite("create", "--name", "quiet", "--auto-stop", "60s", alpine, check=True)
    boxlite("start", "quiet", check=True)
    if inspect(boxlite, "quiet")["Accel"] != "tcg":
        pytest.skip("only an emulated processor rehearses")
    time.sleep(ENOUGH_S)
    assert boxlite.out("exec", "quiet", "sh", "-c", "echo $$").strip() == "3"
    assert boxlite.out("exec", "quiet", "sh", "-c", "echo $$").strip() == "4"
    commands = boxlite.out("top", "-a", "quiet", "--format", "{{.Command}}").splitlines()
    assert sorted(commands) == ["/bin/sh", *["sh -c echo $$"] * 2]
    assert boxlite.out("exec", "quiet", "sh", "-c", "ls -d /proc/[0-9]*").split()[0] == "/proc/1"
