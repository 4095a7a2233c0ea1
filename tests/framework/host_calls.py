"""What the host says to a guest and hears from it, each as one piece of work: its result in a few words, or an error of ours.

The host's own code, called as its commands and shims call it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from engine.errors import BoxliteError
from engine.portal import execution as executions
from engine.portal import files, greeting, listing, session
from engine.portal.boot import boot
from engine.portal.execution import Execution
from engine.portal.failures import translated
from engine.portal.listing import list_sessions
from engine.portal.session import GuestSession, ping
from engine.runtime import box_users
from engine.runtime.bridge import Bridge, BridgeReader
from engine.runtime.unpacking import Unpacker
from engine.shim import outputlog
from engine.shim.glances import Glances
from engine.shim.outputlog import OutputLog
from engine.vmm.channels import ConsoleTail, chunks, events
from engine.vmm.monitor import open_monitor
from guest.wire import portal_pb2 as wire


def hurry(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Shorten the host's deadlines: what they do is tested, not their length."""
    change(greeting, "HELLO_PATIENCE_S", (0.2, 0.4))
    change(greeting, "MAX_STALE_BYTES", 8 << 20)
    change(files, "STALL_S", 1.0)
    change(box_users, "READ_TIMEOUT_S", 1.0)
    change(executions, "BEGIN_DEADLINE_S", 1.5)
    change(session, "DEADLINES_S", dict.fromkeys(session.DEADLINES_S, 1.5))
    change(listing, "ANSWER_TIMEOUT_S", 1.0)
    change(outputlog, "CAP_BYTES", 1 << 20)


# ---------------------------------------------------------------- what the host asks


async def _ping(opened: GuestSession) -> str:
    await ping(opened, timeout_s=1.0)
    return "pong"


async def _run(opened: GuestSession) -> str:
    command = Execution(opened, "x")
    try:
        await command.begin(wire.ExecRequest(execution_id="x", argv=["true"]))
    except BaseException:
        await command.close()
        raise
    return await _follow(command)


async def _exec_and_attach(opened: GuestSession) -> str:
    with translated("exec"):
        await opened.exec(wire.ExecRequest(execution_id="x", argv=["true"]))
    return await _follow(Execution(opened, "x"))


async def _follow(execution: Execution) -> str:
    execution.attach(keep=True)

    async def read(stream: AsyncIterator[bytes]) -> None:
        async for _ in stream:
            pass

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read(execution.stdout))
            group.create_task(read(execution.stderr))
            status = group.create_task(execution.wait())
        return f"exit {status.result().exit_code}"
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        await execution.close()


async def _feed(opened: GuestSession) -> str:
    execution = Execution(opened, "x")
    with contextlib.suppress(BrokenPipeError):
        for _ in range(20):
            await execution.write_stdin(b"y" * 100_000)
        await execution.close_stdin()
    await execution.close()
    return "fed"


async def _boot(opened: GuestSession) -> str:
    execution = Execution(opened, "main")
    try:
        await boot(
            opened,
            execution,
            machine=wire.InitRequest(),
            container=wire.ContainerInitRequest(),
            attached=True,
        )
    except BaseException:
        await execution.close()
        raise
    return await _follow(execution)


async def _list(opened: GuestSession) -> str:
    shown = await list_sessions(opened)
    assert all(word.isprintable() for one in shown for word in (one.id, *one.argv))
    return f"{len(shown)} sessions"


async def _metrics(opened: GuestSession) -> str:
    with translated("stats"):
        await opened.metrics(wire.MetricsRequest(), timeout=1.0)
    return "metrics"


async def _owner(opened: GuestSession) -> str:
    fields = list(box_users._fields(await box_users._read(opened, b"/etc/passwd")))
    numbers = [box_users._number(word) for line in fields for word in line]
    return f"{len(numbers)} fields"


async def _upload(opened: GuestSession) -> str:
    async def chunks_() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"z" * 300_000

    await files.upload(opened, wire.UploadHeader(path=b"/x"), chunks_())
    return "uploaded"


async def _download(opened: GuestSession) -> str:
    """As copy_out does."""
    bridge = Bridge()
    with tempfile.TemporaryDirectory() as target, _directory_fd(target) as top_fd:
        unpacker = _unpacker(top_fd)
        thread = asyncio.ensure_future(asyncio.to_thread(unpacker.unpack, BridgeReader(bridge)))
        thread.add_done_callback(lambda future: bridge.close() if future.exception() else None)
        try:
            async with contextlib.aclosing(
                files.download(opened, b"/x", name=b"box", follow_link=False)
            ) as stream:
                async for chunk in stream:
                    if thread.done():
                        break
                    await bridge.send(chunk)
            await bridge.send(b"")
            return f"{(await thread).entries} entries"
        finally:
            bridge.close()
            with contextlib.suppress(BoxliteError, BrokenPipeError):
                await asyncio.shield(thread)


CALLS: tuple[Callable[[GuestSession], Awaitable[str]], ...] = (
    _ping, _run, _run, _exec_and_attach, _feed, _boot, _list, _metrics, _owner, _upload, _download, _download,
)  # fmt: skip


def _unpacker(top_fd: int) -> Unpacker:
    return Unpacker(
        top_fd, wire_name="box", name="copy", overwrite=True, keep_owner=True, on_bytes=lambda _: None
    )


def unpack_bytes(stream: bytes) -> str:
    with tempfile.TemporaryDirectory() as outside:
        target = Path(outside) / "target"
        target.mkdir()
        with _directory_fd(str(target)) as top_fd:
            try:
                answer = f"{_unpacker(top_fd).unpack(io.BytesIO(stream)).entries} entries"
            except BoxliteError as error:
                answer = type(error).__name__
        assert os.listdir(outside) == ["target"], "something was made outside of the destination"
        assert set(os.listdir(target)) <= {"copy"}, "something nobody asked for"
    return answer


@contextlib.contextmanager
def _directory_fd(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


# ---------------------------------------------------------------- what the shim follows


async def _follow_events(channel: socket.socket, _: Path) -> str:
    count, glances = 0, Glances(lambda _: None)
    asking = asyncio.ensure_future(glances.names("/", ""))
    await asyncio.sleep(0)
    async for event in events(channel):
        assert isinstance(event["event"], str)
        count += 1
        glances.take(event)
    asking.cancel()
    return f"{count} events"


async def _follow_output(channel: socket.socket, directory: Path) -> str:
    path = directory / "output.log"
    with contextlib.closing(OutputLog(path)) as log:
        async for chunk in chunks(channel):
            log.feed(chunk)
    with path.open("rb") as file:
        count = sum(1 for _ in outputlog.read_frames(file))
    assert (
        sum(one.stat().st_size for one in directory.glob("output.log*")) <= 2 * outputlog.CAP_BYTES + 70_000
    )
    for one in directory.glob("output.log*"):
        one.unlink()
    return f"{count} frames"


async def _follow_console(channel: socket.socket, _: Path) -> str:
    tail = ConsoleTail()
    await tail.follow(channel)
    assert all(c.isprintable() or c in "\n\t" for c in tail.text)
    return "console"


async def _control(channel: socket.socket, _: Path) -> str:
    async with open_monitor(channel, timeout_s=1.0) as monitor:
        following = asyncio.ensure_future(_count(monitor.events()))
        try:
            await monitor.execute("migrate-incoming", {"uri": "file:/state"})
            await monitor.announce_disk_size(1)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    return "monitored"


async def _count(stream: AsyncIterator[Any]) -> int:
    return sum([1 async for _ in stream])


CHANNELS: dict[str, Callable[[socket.socket, Path], Awaitable[str]]] = {
    "events": _follow_events, "output": _follow_output, "console": _follow_console, "qmp": _control,
}  # fmt: skip
