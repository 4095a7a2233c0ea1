"""`python -m engine.net FD`: the gateway process of one restricted box. Started by engine.net.restricted only.

Over the control socket: first the plan, pickled, after its length; then a line `counts` is answered by a JSON line
{"counts": …}; denials come as {"denied": …}. It ends with the shim (end of the control socket) or with the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
import struct
import sys
from pathlib import Path

from engine.net.plan import GatewayPlan

PLAN_HEADER = struct.Struct(">I")


def main() -> int:
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    plan = _receive_plan(control)
    if plan is None:
        return 0
    asyncio.run(_serve(plan, control))
    os._exit(0)  # nothing is left to be put away


def _receive_plan(control: socket.socket) -> GatewayPlan | None:
    with control.dup().makefile("rb") as stream:
        header = stream.read(PLAN_HEADER.size)
        if len(header) < PLAN_HEADER.size:
            return None
        document = stream.read(PLAN_HEADER.unpack(header)[0])
    plan = pickle.loads(document)  # noqa: S301  from our own parent, over a socket pair it made for us
    assert isinstance(plan, GatewayPlan)
    return plan


async def _serve(plan: GatewayPlan, control: socket.socket) -> None:
    from engine.net.connectionlog import ConnectionLog
    from engine.net.gateway import Gateway, is_of_host
    from engine.net.inbound import publish
    from engine.net.mux import Mux
    from engine.net.names import Names
    from engine.net.reports import Reports
    from engine.net.shaping import Shaper

    loop = asyncio.get_running_loop()
    control.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=control)

    def tell(message: dict[str, object]) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    restriction = plan.restriction
    servers = restriction.servers or _host_servers()
    names = Names(restriction.policy, servers, ipv6=restriction.ipv6, of_host=is_of_host)
    reports = Reports(ConnectionLog(Path(plan.log_path)), tell)
    interceptor = None
    if plan.secrets is not None:
        from engine.net.interception.interceptor import Interceptor

        interceptor = Interceptor(plan.secrets)
    gateway = Gateway(restriction.policy, names, reports, interceptor=interceptor)
    shaper = Shaper(tx_kbps=restriction.tx_kbps, rx_kbps=restriction.rx_kbps)
    mux = Mux(shaper, gateway.serve)
    await loop.create_unix_connection(lambda: mux, sock=socket.socket(fileno=plan.portal_fd))
    for fd, port in plan.listeners:
        await publish(mux, socket.socket(fileno=fd), port, reports)
    loop.call_soon(_load_dns)

    async def follow_control() -> None:
        while line := await reader.readline():
            if line == b"counts\n":
                tell({"counts": reports.counts.as_dict()})

    shim = asyncio.ensure_future(follow_control())
    await asyncio.wait((shim, mux.lost), return_when=asyncio.FIRST_COMPLETED)
    if mux.lost.done() and (reason := mux.lost.result()):
        tell({"failed": reason})
        await writer.drain()


def _load_dns() -> None:
    """What the first question will need: half a tenth of a second that nobody has to wait for."""
    import dns.asyncquery
    import dns.message
    import dns.rdtypes.IN.A
    import dns.rdtypes.IN.AAAA  # noqa: F401


def _host_servers() -> tuple[str, ...]:
    """What the host itself asks, a stub on its loopback included: the gateway sits beside it."""
    from engine.host.resolvers import FILES, parse_resolv_conf

    try:
        return parse_resolv_conf(FILES[0].read_text(errors="replace")).servers
    except OSError:
        return ()


if __name__ == "__main__":
    raise SystemExit(main())
