"""A guest that lies: what once got through to the host never does again. The seeds are those at which
`python -m tests.framework.fuzz_guest` found something, besides a few of each kind that are quick.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.framework.fuzz_guest import Host
from tests.framework.host_calls import hurry

FOUND = {
    100990: "a GOAWAY with an error code that does not exist: grpcio ends its process",
    1454: "a number of 5000 digits in a sparse map: ValueError",
    1462: "a sparse map that is no map, in what should be /etc/passwd: ValueError",
    2218: "the text of a GOAWAY, shown by grpcio as it came",
    2427: "QEMU hangs up after its greeting: AssertionError of qemu.qmp",
    3654: "a number of 5000 digits over QMP: ValueError",
}
QUICK = (1, 4, 5, 8, 10, 13, 14, 19, 28, 39, 59, 60, 66, 72)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's deadlines, short for this test only."""
    hurry(monkeypatch.setattr)


@pytest.mark.timeout(120)
async def test_host_answers_a_lying_guest_with_errors_of_its_own(tmp_path: Path, hurried: None) -> None:
    host = Host(tmp_path)
    await host.start_guest()
    try:
        for seed in (*FOUND, *QUICK):
            outcome = await host.play(seed)
            assert not outcome.problem, f"{FOUND.get(seed, '')}: {outcome}"
    finally:
        await host.stop_guest()
