"""The clocks of a box, with times of tenths of a second."""

import asyncio

from engine.shim.deadlines import Deadlines


def started(**times: float) -> tuple[Deadlines, list[str]]:
    reasons: list[str] = []
    clocks = Deadlines(
        timeout_s=times.get("timeout_s", 0.0), auto_stop_s=times.get("auto_stop_s", 0.0), stop=reasons.append
    )
    clocks.begin()
    return clocks, reasons


async def test_deadlines_of_zero_never_end_a_box() -> None:
    clocks, reasons = started()
    await asyncio.sleep(0.1)
    clocks.cancel()
    assert reasons == []


async def test_timeout_is_counted_from_the_first_begin() -> None:
    clocks, reasons = started(timeout_s=0.2)
    await asyncio.sleep(0.12)
    clocks.begin()
    clocks.note_activity()
    await asyncio.sleep(0.12)
    clocks.cancel()
    assert reasons == ["its --timeout of 0.2 s was over"]


async def test_auto_stop_is_put_off_by_activity_and_stands_still_while_paused() -> None:
    clocks, reasons = started(auto_stop_s=0.6)
    for _ in range(4):
        await asyncio.sleep(0.2)
        clocks.note_activity()
    clocks.hold()
    await asyncio.sleep(0.7)
    assert reasons == []
    clocks.resume()
    await asyncio.sleep(0.7)
    clocks.cancel()
    assert reasons == ["idle for 0.6 s (--auto-stop)"]


async def test_change_takes_deadlines_away_and_ends_what_is_over_by_the_new_measure() -> None:
    clocks, reasons = started(timeout_s=0.1, auto_stop_s=0.1)
    clocks.change(timeout_s=0.0, auto_stop_s=0.0)
    await asyncio.sleep(0.2)
    assert reasons == []
    clocks.change(timeout_s=0.05, auto_stop_s=0.0)
    await asyncio.sleep(0.02)
    clocks.cancel()
    assert reasons == ["its --timeout of 0.05 s was over"]
