"""Some dozens of kills at random moments; `python -m tests.framework.crash --kills 500` does more."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.framework.crash import Crasher, crash_site

KILLS = 40
MOST_S = 180.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_at_random_moments_break_no_invariant(tmp_path: Path, alpine_rootfs: Path) -> None:
    """BOXLITE_TEST_SEED repeats a run; its seed is in the message of one that fails."""
    seed = int(os.environ.get("BOXLITE_TEST_SEED") or random.SystemRandom().randrange(1 << 31))
    with crash_site(tmp_path, alpine_rootfs) as (boxlite, registry, image):
        crasher = Crasher(boxlite, registry, image, seed)
        broken = crasher.run(KILLS, most_s=MOST_S)
    print(f"seed {seed}: {crasher.kills}")
    assert broken == []
    assert sum(crasher.kills.values()) >= KILLS / 2
