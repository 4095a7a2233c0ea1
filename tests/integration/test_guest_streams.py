from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from guest.streams import OutputStream, Reader

CAPACITY = 64


async def _drain(reader: Reader) -> bytes:
    """Everything a reader can get now, checking that offsets leave no gap and overlap nothing."""
    got = b""
    start = reader.offset
    while True:
        waiting = asyncio.ensure_future(reader.next())
        await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
            return got
        chunk = waiting.result()
        assert chunk.offset == start + len(got)
        got += chunk.data
        reader.consumed(chunk)
        if chunk.end:
            return got


@given(st.lists(st.binary(min_size=1, max_size=CAPACITY), max_size=40), st.integers(0, 3000))
def test_output_stream_late_reader_gets_an_unbroken_tail(writes: list[bytes], offset: int) -> None:
    async def scenario() -> None:
        stream = OutputStream(capacity=CAPACITY)
        for data in writes:
            stream.append(data)
        stream.finish()
        everything = b"".join(writes)

        reader = stream.attach(offset)

        start = reader.offset
        wanted = min(offset, len(everything))
        assert await _drain(reader) == everything[start:]
        assert start >= wanted
        assert len(everything) - start >= min(CAPACITY, len(everything) - wanted)

    asyncio.run(scenario())


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=CAPACITY), st.booleans()), max_size=40))
def test_output_stream_attached_reader_misses_nothing(steps: list[tuple[bytes, bool]]) -> None:
    async def scenario() -> None:
        stream = OutputStream(capacity=CAPACITY)
        reader = stream.attach(0)
        written = got = b""
        for data, read_now in steps:
            taken = data[: stream.room()]
            stream.append(taken)
            written += taken
            if read_now:
                got += await _drain(reader)
        stream.finish()
        assert got + await _drain(reader) == written

    asyncio.run(scenario())


def test_output_stream_slow_reader_holds_the_writer_back_until_it_reads() -> None:
    async def scenario() -> None:
        stream = OutputStream(capacity=CAPACITY)
        reader = stream.attach(0)
        stream.append(b"x" * CAPACITY)
        assert stream.room() == 0
        resumed = asyncio.Event()
        stream.when_room(resumed.set)

        reader.consumed(await reader.next())
        await asyncio.wait_for(resumed.wait(), 1)

        assert stream.room() == CAPACITY

    asyncio.run(scenario())


def test_output_stream_vanished_reader_holds_nothing_back() -> None:
    async def scenario() -> None:
        stream = OutputStream(capacity=CAPACITY)
        reader = stream.attach(0)
        stream.append(b"x" * CAPACITY)
        resumed = asyncio.Event()
        stream.when_room(resumed.set)

        reader.close()

        await asyncio.wait_for(resumed.wait(), 1)

    asyncio.run(scenario())


def test_output_stream_held_keeps_everything_for_the_first_reader() -> None:
    async def scenario() -> None:
        stream = OutputStream(held=True, capacity=CAPACITY)
        stream.append(b"x" * CAPACITY)
        assert stream.room() == 0

        stream.release()

        assert stream.room() == CAPACITY

    asyncio.run(scenario())
