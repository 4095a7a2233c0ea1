"""Ports under lock: one holder at a time, and a mark of one that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.portal.leases import lease_port
from engine.portal.ports import find_lease
from guest.wire.constants import PORTAL_PORTS

HOLDER = """
import sys
from pathlib import Path
from engine.portal.ports import find_lease
lease = find_lease(Path(sys.argv[1]), "portal", range(2))
print(lease.number, flush=True)
sys.stdin.read()
lease.release()
"""


@pytest.mark.parametrize("is_killed", [True, False])
def test_lease_of_a_port_tells_whether_its_last_holder_gave_it_back(tmp_path: Path, is_killed: bool) -> None:
    holder = subprocess.Popen(
        (sys.executable, "-c", HOLDER, str(tmp_path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"0\n"
    beside = find_lease(tmp_path, "portal", range(2))
    assert beside is not None and (beside.number, beside.was_abandoned) == (1, False)
    beside.release()
    if is_killed:
        holder.kill()
    holder.communicate(timeout=20)

    found = find_lease(tmp_path, "portal", range(2))
    assert found is not None and (found.number, found.was_abandoned) == (0, is_killed)
    found.release()
    again = find_lease(tmp_path, "portal", range(1))
    assert again is not None and not again.was_abandoned
    again.release()


async def test_lease_port_waits_for_one_and_says_so(tmp_path: Path) -> None:
    import asyncio

    held = [await lease_port(tmp_path) for _ in range(PORTAL_PORTS)]
    assert sorted(lease.number for lease in held) == list(range(PORTAL_PORTS))
    said: list[str] = []
    waiting = asyncio.create_task(lease_port(tmp_path, lambda: said.append("waiting")))
    await asyncio.sleep(0.1)
    assert said == ["waiting"] and not waiting.done()
    held[5].release()
    assert (await asyncio.wait_for(waiting, 5)).number == held[5].number
    for lease in (*held, waiting.result()):
        lease.release()
