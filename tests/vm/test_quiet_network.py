"""A box that does not use its network takes none of the host's memory for it."""

from __future__ import annotations

import time

import pytest

from tests.framework.cli import Boxlite
from tests.framework.processes import processes_of

pytestmark = pytest.mark.vm

DELAYED_S = 3.0
"""The kernel's own announcements (addresses, groups, a question for routers) come within two seconds of a link's start."""


def test_box_that_does_not_use_its_network_sends_nothing_and_has_no_network_process(
    boxlite: Boxlite, alpine: str
) -> None:
    boxlite("run", "-d", "--name", "quiet", alpine, "sleep", "600", check=True)
    time.sleep(DELAYED_S)
    assert [one for one in processes_of(boxlite.home) if one.role == "network"] == []
    script = "cat /sys/class/net/eth0/statistics/tx_packets; grep eth0 /proc/net/if_inet6"
    sent = boxlite("exec", "quiet", "sh", "-c", script).stdout
    assert sent == b"0\n", "and no address that the kernel gave itself"
