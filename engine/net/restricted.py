"""The shim's end of a restricted network: start the gateway, hear from it, end it."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import NetworkError, RpcTransportError
from engine.jailer.grants import Jail
from engine.jailer.ownership import Claim
from engine.jailer.room import jailed
from engine.model import PortSpec, Protocol
from engine.net.plan import GatewayPlan, Restriction, bind_port
from engine.net.secrets import SecretsGrant
from engine.process import Command, start, terminate

COUNTS_TIMEOUT_S = 5.0
_SOURCE_ROOT = str(Path(__file__).parents[2])


class RestrictedNetwork:
    """The gateway of one run of a machine. `far_end` is the end of its network port that is not the machine's.

    `on_denial` is called with the fields of a connection's entry; `jail` is what the gateway may see; `claim` who it is, closed
    with it;
    `home` the home directory.
    """

    def __init__(
        self,
        far_end: socket.socket,
        restriction: Restriction,
        ports: Sequence[PortSpec],
        *,
        box_name: str,
        log_path: Path,
        own_log_path: Path,
        on_denial: Callable[[dict[str, str]], None],
        secrets: SecretsGrant | None = None,
        jail: Jail,
        claim: Claim | None = None,
        home: Path,
    ) -> None:
        self._restriction = restriction
        self._ports = tuple(ports)
        self._box_name = box_name
        self._log_path = log_path
        self._own_log_path = own_log_path
        self._on_denial = on_denial
        self._secrets = secrets
        self._jail = jail
        self._claim = claim
        self._home = home
        self._far_end = far_end
        self._process: asyncio.subprocess.Process | None = None
        self._control: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None
        self._counts: asyncio.Future[dict[str, object]] | None = None

    async def open(self) -> None:
        """Bind the published ports and start the gateway, which goes on to load beside us. Raises NetworkError, PortInUseError."""
        ours, theirs = socket.socketpair()
        listeners: list[tuple[socket.socket, PortSpec]] = []
        try:
            for port in self._ports:
                listeners.append((bind_port(port), port))
            for listener, port in listeners:
                if port.protocol is Protocol.TCP:
                    listener.listen(128)
            inherited = (theirs, self._far_end, *(listener for listener, _ in listeners))
            command = Command(
                argv=(sys.executable, "-m", "engine.net", str(theirs.fileno())),
                env={
                    "PATH": os.defpath,
                    "PYTHONPATH": _SOURCE_ROOT,
                    "PYTHONSAFEPATH": "1",
                    "LC_ALL": "C.UTF-8",
                },
                pass_fds=tuple(one.fileno() for one in inherited),
            )
            plan = GatewayPlan(
                box_name=self._box_name,
                restriction=self._restriction,
                log_path=str(self._log_path),
                portal_fd=self._far_end.fileno(),
                listeners=tuple((listener.fileno(), port) for listener, port in listeners),
                secrets=self._secrets,
            )
            async with jailed(command, self._jail, home=self._home) as wrapped:
                self._process = await start(wrapped, log_path=self._own_log_path)
            ours.setblocking(False)
            self._reader, self._control = await asyncio.open_unix_connection(sock=ours)
            document = pickle.dumps(plan)
            self._control.write(len(document).to_bytes(4) + document)
        except OSError as error:
            ours.close()
            raise NetworkError(f"the gateway could not be started: {error.strerror}") from error
        finally:
            theirs.close()
            self._far_end.close()
            for listener, _ in listeners:
                listener.close()

    async def run(self) -> int | None:
        """Follow the gateway until it has ended; its status. Raises NetworkError when the machine's agent lied to it."""
        assert self._process is not None
        assert self._reader is not None
        failure = None
        while line := await self._next_line(self._reader):
            match _parsed(line):
                case {"denied": dict(fields)}:
                    self._on_denial({str(name): str(value) for name, value in fields.items()})
                case {"counts": dict(counts)} if self._counts is not None and not self._counts.done():
                    self._counts.set_result(counts)
                case {"failed": str(reason)}:
                    failure = reason
        status = await self._process.wait()
        if failure is not None:
            raise NetworkError(failure)
        return status

    async def _next_line(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readline()
        except (OSError, ValueError):  # it is gone, or wrote a line without end
            return b""

    async def counts(self) -> dict[str, object]:
        """What the box sent and received. Raises RpcTransportError when the gateway does not answer."""
        if self._control is None:
            raise RpcTransportError("the box's gateway is not there")
        if self._counts is None or self._counts.done():
            self._counts = asyncio.get_running_loop().create_future()
            self._control.write(b"counts\n")
        try:
            async with asyncio.timeout(COUNTS_TIMEOUT_S):
                return await asyncio.shield(self._counts)
        except TimeoutError as error:
            raise RpcTransportError("the box's gateway does not answer") from error

    async def close(self) -> None:
        """End the gateway."""
        self._far_end.close()
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            await terminate(self._process, grace_s=0.5)
        if self._claim is not None:
            self._claim.close()


def _parsed(line: bytes) -> object:
    """None for what a gateway of ours would not write."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
