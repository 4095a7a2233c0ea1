"""gvproxy, where passt is missing: one process per box that turns the machine's frames into the host user's own sockets.

It listens where QEMU is to connect. The machine's end of the network was made before it was known who would be at the other, so
the shim stands between and carries frames over; they are framed alike (QEMU's stream backend: four bytes of length each).
IPv4 alone, and no pings but to itself; DNS, gateway and host have the addresses that they have with passt. Source: the program's
own help and the documentation of gvisor-tap-vsock, 0.8.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.errors import NetworkError
from engine.jailer.grants import Identity, Jail, Limits, read, write
from engine.jailer.identity import gives_ids
from engine.jailer.ownership import Claim
from engine.jailer.programs import program_grants
from engine.jailer.room import jailed
from engine.jailer.syscalls import gvproxy_profile
from engine.model import PortSpec
from engine.process import Command, start, terminate
from engine.sockets import connect_unix
from guest.wire.constants import BOX_ADDRESS, BOX_MTU

MEMORY_BYTES = 4 << 30
"""What it may map: Go reserves far more than it uses."""
START_TIMEOUT_S = 10.0
EXPOSE_TIMEOUT_S = 5.0
MOST_ANSWER_BYTES = 4096
_LOOK_EVERY_S = 0.005
_PIECE_BYTES = 256 * 1024
_INSIDE = "/net"
"""Where the jail shows the directory of the sockets, whose path may be too long for one (unix(7))."""
_MACHINE_SOCKET, _CONTROL_SOCKET = "machine.sock", "control.sock"


def build_gvproxy_argv(binary: str, directory: str) -> tuple[str, ...]:
    """gvproxy's argument vector for a box. Its sockets are made in `directory`; without `-ssh-port -1` it would publish a port
    of its own accord."""
    return (
        binary,
        "-listen-qemu", f"unix://{directory}/{_MACHINE_SOCKET}",
        "-listen", f"unix://{directory}/{_CONTROL_SOCKET}",
        "-mtu", str(BOX_MTU),
        "-ssh-port", "-1",
    )  # fmt: skip


def expose_document(port: PortSpec) -> dict[str, str]:
    """What asks for a port to be published."""
    host = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
    return {
        "local": f"{host}:{port.host_port}",
        "remote": f"{BOX_ADDRESS}:{port.box_port}",
        "protocol": str(port.protocol),
    }


def gvproxy_jail(
    binary: str,
    directory: Path,
    ports: Sequence[PortSpec] = (),
    *,
    resolver_file: str | None = None,
    enabled: bool = True,
    identity: Identity | None = None,
) -> Jail:
    """A view of gvproxy, what names it reads, and the directory of its sockets, in the host's network. It serves requests to
    publish ports to the box as well: here the kernel refuses all but those that are published anyway (landlock(7), TCP)."""
    names = [read("/etc/hosts", optional=True)]
    if resolver_file is not None:
        names.append(read(resolver_file, target="/etc/resolv.conf", optional=True))
    return Jail(
        grants=(*program_grants(binary), *names, write(str(directory), target=_INSIDE)),
        network=True,
        enabled=enabled,
        listens=tuple(sorted({port.host_port or 0 for port in ports} - {0})),
        identity=identity,
        syscalls=gvproxy_profile(),
        limits=Limits(memory_bytes=MEMORY_BYTES),
    )


class GvproxyNetwork:
    """The network of one run of a machine, as engine.net.passt.Network is. `directory` is its own, and made by it."""

    def __init__(
        self,
        far_end: socket.socket,
        ports: Sequence[PortSpec],
        *,
        binary: str,
        directory: Path,
        resolver_file: str | None,
        log_path: Path,
        home: Path,
        jail_enabled: bool = True,
    ) -> None:
        """`far_end` is the end of the pair that is not the machine's; it is ours from now on."""
        far_end.setblocking(False)
        self._far_end = far_end
        self._binary = binary
        self._ports = tuple(ports)
        self._directory = directory
        self._resolver_file = resolver_file
        self._log_path = log_path
        self._home = home
        self._jail_enabled = jail_enabled
        self._claim = Claim.of() if gives_ids() and jail_enabled else None
        self._process: asyncio.subprocess.Process | None = None
        self._near_end: socket.socket | None = None

    async def open(self) -> None:
        """Start gvproxy now if it has ports to publish. Raises NetworkError."""
        if self._ports:
            await self._start()

    async def run(self) -> int | None:
        """Carry frames until the machine or gvproxy has ended; None when the machine is gone. Raises NetworkError."""
        loop = asyncio.get_running_loop()
        first = b""
        if self._process is None:
            first = await _receive(self._far_end)
            if not first:
                return None
            await self._start()
        assert self._near_end is not None
        assert self._process is not None
        with contextlib.suppress(OSError):  # either side is gone
            if first:
                await loop.sock_sendall(self._near_end, first)
            carrying = [
                asyncio.ensure_future(_carry(self._far_end, self._near_end)),
                asyncio.ensure_future(_carry(self._near_end, self._far_end)),
            ]
            try:
                await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in carrying:
                    task.cancel()
                await asyncio.gather(*carrying, return_exceptions=True)
        return self._process.returncode

    async def close(self) -> None:
        """End gvproxy."""
        for end in (self._far_end, self._near_end):
            if end is not None:
                end.close()
        if self._process is not None:
            await terminate(self._process, grace_s=0.5)
        for name in (_MACHINE_SOCKET, _CONTROL_SOCKET):
            (self._directory / name).unlink(missing_ok=True)
        if self._claim is not None:
            self._claim.close()

    async def _start(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for name in (_MACHINE_SOCKET, _CONTROL_SOCKET):
            (self._directory / name).unlink(missing_ok=True)  # of a run that was killed
        jail = gvproxy_jail(
            self._binary, self._directory, self._ports, resolver_file=self._resolver_file,
            enabled=self._jail_enabled, identity=None if self._claim is None else self._claim.identity,
        )  # fmt: skip
        inside = _INSIDE if self._jail_enabled and sys.platform == "linux" else str(self._directory)
        command = Command(argv=build_gvproxy_argv(self._binary, inside))
        try:
            async with jailed(command, jail, home=self._home) as wrapped:
                self._process = await start(wrapped, log_path=self._log_path)
        except OSError as error:
            raise NetworkError(f"gvproxy could not be started: {error.strerror}") from error
        for port in self._ports:
            await self._expose(port)
        self._near_end = await self._connect(_MACHINE_SOCKET)

    async def _connect(self, name: str) -> socket.socket:
        """It tells nobody when it listens: look until it does."""
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while self._process.returncode is None:
                    try:
                        found = connect_unix(self._directory / name)
                    except OSError:
                        await asyncio.sleep(_LOOK_EVERY_S)
                    else:
                        found.setblocking(False)
                        return found
        raise NetworkError(
            "gvproxy does not listen for the machine", hint=f"{self._log_path} has what it said, if anything"
        )

    async def _expose(self, port: PortSpec) -> None:
        from http.client import HTTPException

        with await self._connect(_CONTROL_SOCKET) as control:
            control.settimeout(EXPOSE_TIMEOUT_S)
            try:
                refusal = await asyncio.to_thread(_ask_to_expose, control, port)
            except (OSError, HTTPException):
                refusal = "no answer"
        if refusal is not None:
            raise NetworkError(f"gvproxy does not publish {port.host_ip}:{port.host_port}: {refusal}")


def _ask_to_expose(control: socket.socket, port: PortSpec) -> str | None:
    """Why it does not, or None when it does. Blocks. Raises OSError, HTTPException."""
    from http.client import HTTPConnection

    connection = HTTPConnection("gvproxy")
    connection.sock = control
    connection.request("POST", "/services/forwarder/expose", body=json.dumps(expose_document(port)))
    answer = connection.getresponse()
    said = answer.read(MOST_ANSWER_BYTES).decode(errors="replace").strip()
    return None if answer.status == 200 else said or f"status {answer.status}"


async def _receive(source: socket.socket) -> bytes:
    try:
        return await asyncio.get_running_loop().sock_recv(source, _PIECE_BYTES)
    except OSError:
        return b""


async def _carry(source: socket.socket, sink: socket.socket) -> None:
    while data := await _receive(source):
        await asyncio.get_running_loop().sock_sendall(sink, data)
