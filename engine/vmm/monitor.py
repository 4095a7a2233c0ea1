"""QMP, QEMU's control protocol, through qemu.qmp (the QEMU project's own client)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import DeadlineError, EngineError
from engine.vmm.arguments import BOX_NODE
from engine.vmm.spec import VmSpec

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

COMMAND_TIMEOUT_S = 30.0
RESTORE_INTERVAL_S = 0.002
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
        except (QMPError, OSError, EOFError) as error:
            raise EngineError(f"{command} failed: {error}") from error

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
                answer = await self.execute("query-migrate")
                if answer["status"] == "completed":
                    return
                if answer["status"] in ("failed", "cancelled"):
                    raise EngineError(
                        f"saving the machine {answer['status']}: {answer.get('error-desc', '')}"
                    )
                await asyncio.sleep(0.01)

    async def restore(self, path: str) -> None:
        """Load the device state at `path` into a machine started with `-incoming defer`; it then runs.

        It is not announced to the network five times, as one that has moved there would be (migrate-set-parameters,
        announce-rounds): its only neighbour is its own network process.
        """
        await self._ignore_shared_memory()
        await self.execute("migrate-set-parameters", {"announce-rounds": 0})
        await self.execute("migrate-incoming", {"uri": f"file:{path}"})

    async def wait_restored(self) -> None:
        """Until the machine's devices may be changed."""
        while (await self.execute("query-status"))["status"] == "inmigrate":  # noqa: ASYNC110
            await asyncio.sleep(RESTORE_INTERVAL_S)

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

    async def _ignore_shared_memory(self) -> None:
        capability = {"capability": "x-ignore-shared", "state": True}
        await self.execute("migrate-set-capabilities", {"capabilities": [capability]})


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
async def open_monitor(channel: socket.socket, *, timeout_s: float = 10.0) -> AsyncIterator[Monitor]:
    """Greet QEMU over our end of its control socket."""
    from qemu.qmp import QMPClient, QMPError

    client = QMPClient("boxlite")
    client.logger.disabled = True
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect(channel)
    except (TimeoutError, QMPError, OSError, EOFError) as error:
        raise EngineError(f"QEMU's control channel did not answer: {error}") from error
    try:
        yield Monitor(client)
    finally:
        with contextlib.suppress(QMPError, OSError, EOFError, asyncio.CancelledError):
            await client.disconnect()
