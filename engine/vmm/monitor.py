"""QMP, QEMU's control protocol, through qemu.qmp (the QEMU project's own client)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import DeadlineError, EngineError
from engine.shown import printable
from engine.vmm.arguments import BOX_NODE

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

COMMAND_TIMEOUT_S = 30.0
TRIPPED_OVER = (OSError, EOFError, AssertionError, ValueError, RecursionError)
"""What the library raises besides its own errors: it asserts what is not so when the other end hangs up at the wrong moment,
and expects of JSON that its numbers end."""
MAX_LINE_BYTES = 256 * 1024
"""Of QMP: nothing we ask for is as long. A guest that has won speaks for QEMU."""


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
        await self._ignore_shared_memory()
        await self.execute("migrate", {"uri": f"file:{path}"})
        async with asyncio.timeout(timeout_s):
            while True:
                status, error = await self._status("query-migrate")
                if status == "completed":
                    return
                if status in ("failed", "cancelled"):
                    raise EngineError(f"saving the machine {status}: {error}")
                await asyncio.sleep(0.01)

    async def restore(self, path: str) -> None:
        """Load the device state at `path` into a machine started with `-incoming defer`; it then runs.

        It is not announced to the network five times, as one that has moved there would be (migrate-set-parameters,
        announce-rounds): its only neighbour is its own network process.
        """
        await self._ignore_shared_memory()
        await self.execute("migrate-set-parameters", {"announce-rounds": 0})
        await self.execute("migrate-incoming", {"uri": f"file:{path}"})

    async def announce_disk_size(self, size_bytes: int) -> None:
        """Tell the guest the size of the box's disk, which is not that of the template's. Waits until the machine is
        restored, when its devices may be changed."""
        while (await self._status("query-status"))[0] == "inmigrate":  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await self.execute("block_resize", {"node-name": BOX_NODE, "size": size_bytes})

    async def _ignore_shared_memory(self) -> None:
        capability = {"capability": "x-ignore-shared", "state": True}
        await self.execute("migrate-set-capabilities", {"capabilities": [capability]})


@contextlib.asynccontextmanager
async def open_monitor(channel: socket.socket, *, timeout_s: float = 10.0) -> AsyncIterator[Monitor]:
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
