"""passt: one process per box that turns the machine's frames into the host user's own sockets.

It takes one end of a socket pair (`--fd`, which implies that it ends with its peer); the other end goes to QEMU, so
that QEMU itself can sit in an empty network namespace. Documentation: passt(1).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from engine.errors import NetworkError, UnsupportedError
from engine.model import PortSpec, Protocol
from engine.net.plan import DNS_ADDRESS
from engine.process import Command, find_program, start
from guest.wire.constants import BOX_ADDRESS, BOX_MTU, BOX_PREFIX_LENGTH, HOST_ADDRESS


def build_passt_argv(
    binary: str, fd: int, ports: Sequence[PortSpec], *, host_access: bool = True, resolver: str | None = None
) -> tuple[str, ...]:
    """passt's argument vector for a box. The gateway's address is the host's loopback, unless `host_access` is off.

    `resolver` is the host's name server that queries to DNS_ADDRESS are sent to.
    """
    words = [
        binary, "--foreground", "--quiet", "--fd", str(fd),
        "--address", BOX_ADDRESS, "--netmask", str(BOX_PREFIX_LENGTH), "--gateway", HOST_ADDRESS,
        "--mtu", str(BOX_MTU), "--no-dhcp", "--no-dhcpv6", "--no-ndp", "--no-ra",
    ]  # fmt: skip
    if resolver is not None:
        words += ("--dns", resolver, "--dns-forward", DNS_ADDRESS)
    if not host_access:
        words.append("--no-map-gw")
    for flag, protocol in (("--tcp-ports", Protocol.TCP), ("--udp-ports", Protocol.UDP)):
        published = [port for port in ports if port.protocol is protocol]
        if not published:
            words += (flag, "none")
        for port in published:
            words += (flag, f"{port.host_ip}/{port.host_port}:{port.box_port}")
    return tuple(words)


async def start_passt(
    ports: Sequence[PortSpec], *, host_access: bool, resolver: str | None, log_path: Path
) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """Start the network process of a box. Returns it and the machine's end of the pair."""
    binary = find_program("passt")
    if binary is None:
        raise UnsupportedError(
            "the program passt is not installed, so the box can have no network",
            hint="install the package passt, or run without a network: --network disabled",
        )
    ours, theirs = socket.socketpair()
    argv = build_passt_argv(binary, theirs.fileno(), ports, host_access=host_access, resolver=resolver)
    try:
        process = await start(Command(argv=argv, pass_fds=(theirs.fileno(),)), log_path=log_path)
    except OSError as error:
        ours.close()
        raise NetworkError(f"passt could not be started: {error.strerror}") from error
    finally:
        theirs.close()
    return process, ours
