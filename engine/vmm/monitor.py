"""QMP, QEMU's control protocol, through qemu.qmp (the QEMU project's own client)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import DeadlineError, EngineError
from engine.shown import printable
from engine.vmm.arguments import BOX_NODE
from engine.vmm.spec import VmSpec

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

COMMAND_TIMEOUT_S = 30.0
TRIPPED_OVER = (OSError, EOFError, AssertionError, ValueError, RecursionError)
"""What the library raises besides its own errors: it asserts what is not so when the other end hangs up at the wrong moment,
and expects of JSON that its numbers end."""
MAX_LINE_BYTES = 256 * 1024
"""Of QMP: nothing we ask for is as long. A guest that has won speaks for QEMU."""
DISK_NODE = "disk"
DISK_SET, BASE_SET = 1, 2
"""Sets of descriptors that QEMU opens as /dev/fdset/N (QMP reference manual, add-fd)."""


class Monitor:
    """A connected control channel of one machine."""

    def __init__(self, client: QMPClient) -> None:
        self._client = client

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """Send one command and return its answer (QMP reference manual). Raises EngineError, DeadlineError."""
        from qemu.qmp import QMPError

        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                return await self._client.execute(command, dict(arguments or {}))
        except TimeoutError as error:
            raise DeadlineError(f"QEMU did not answer {command} within {COMMAND_TIMEOUT_S:g} s") from error
        except (QMPError, *TRIPPED_OVER) as error:
            raise EngineError(f"{command} failed: {_reason(error)}") from error

    async def _status(self, command: str) -> tuple[str, str]:
        """The status that an answer names, and the error description beside it. Raises EngineError when it names none."""
        match await self.execute(command):
            case {"status": str(status), **rest}:
                return status, printable(str(rest.get("error-desc", "")))
        raise EngineError(f"{command} was not answered with a status")

    async def events(self) -> AsyncIterator[Mapping[str, Any]]:
        """What QEMU says without being asked, until the monitor is closed. To be followed by one task: what nobody reads
        is kept in memory."""
        async for event in self._client.events:
            yield event

    async def save(self, path: str, *, timeout_s: float = 60.0) -> None:
        """End the machine's run by writing its device state to `path`; memory stays in its (shared) file.

        docs/devel/migration: the capability x-ignore-shared leaves shared memory out of the stream. The machine is not
        stopped first: the state then says "running", and a restored machine runs by itself.
        """
        capability = {"capability": "x-ignore-shared", "state": True}
        await self.execute("migrate-set-capabilities", {"capabilities": [capability]})
        await self.execute("migrate", {"uri": f"file:{path}"})
        async with asyncio.timeout(timeout_s):
            while True:
                status, error = await self._status("query-migrate")
                if status == "completed":
                    return
                if status in ("failed", "cancelled"):
                    raise EngineError(f"saving the machine {status}: {error}")
                await asyncio.sleep(0.01)

    async def attach_disk(self, spec: VmSpec) -> None:
        """Put the box's disk in the place of the empty one. QEMU gets its files as open descriptors, not as paths."""
        assert spec.disk_path is not None and spec.base_path is not None
        await self._hand_over(spec.disk_path, os.O_RDWR, DISK_SET)
        await self._hand_over(spec.base_path, os.O_RDONLY, BASE_SET)
        await self.execute("blockdev-add", _disk_node())
        await self.execute(
            "blockdev-reopen",
            {"options": [{"driver": "raw", "node-name": BOX_NODE, "file": DISK_NODE, "discard": "unmap"}]},
        )

    async def _hand_over(self, path: str, flags: int, fdset: int) -> None:
        try:
            fd = os.open(path, flags | os.O_CLOEXEC)
        except OSError as error:
            raise EngineError(f"the box's disk cannot be opened: {path}: {error.strerror}") from error
        try:
            self._client.send_fd_scm(fd)
            await self.execute("add-fd", {"fdset-id": fdset})
        finally:
            os.close(fd)

    async def announce_disk_size(self, size_bytes: int) -> None:
        """Tell the guest the size of the box's disk, which is not that of the template's."""
        await self.execute("block_resize", {"node-name": BOX_NODE, "size": size_bytes})


def _disk_node() -> dict[str, object]:
    """The qcow2 is written without lazy reference counts: a machine is ended by a kill, after which a lazy one would be
    repaired, and every cluster of it reported, at the next start."""
    return {
        "driver": "qcow2",
        "node-name": DISK_NODE,
        "discard": "unmap",
        "file": {"driver": "file", "filename": f"/dev/fdset/{DISK_SET}", "discard": "unmap"},
        "backing": {
            "driver": "raw",
            "read-only": True,
            "file": {
                "driver": "file",
                "filename": f"/dev/fdset/{BASE_SET}",
                "locking": "off",
                "read-only": True,
            },
        },
    }


@contextlib.asynccontextmanager
async def open_monitor(channel: socket.socket, *, timeout_s: float = 30.0) -> AsyncIterator[Monitor]:
    """Greet QEMU over our end of its control socket. Raises EngineError."""
    from qemu.qmp import QMPClient, QMPError

    client = QMPClient("boxlite", readbuflen=MAX_LINE_BYTES)
    client.logger.disabled = True
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect(channel)
    except (TimeoutError, QMPError, *TRIPPED_OVER) as error:
        raise EngineError(f"QEMU's control channel did not answer: {_reason(error)}") from error
    try:
        yield Monitor(client)
    finally:
        with contextlib.suppress(QMPError, *TRIPPED_OVER, asyncio.CancelledError):
            await client.disconnect()


def _reason(error: BaseException) -> str:
    """What went wrong, without the bytes that the library shows beneath."""
    return printable(str(error).partition("\n")[0])
