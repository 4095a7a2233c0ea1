"""`boxlite port`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from boxlite_cli.command import as_command
from boxlite_cli.parsers import parse_integer
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import InvalidArgumentError, InvalidStateError, NotFoundError
from engine.model import BoxRecord, PortSpec, Protocol


def port(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    result: ResultOptions,
    settings: Settings,
    box_port: Annotated[str | None, typer.Argument(metavar="[PORT[/udp]]")] = None,
) -> int:
    """Show where the ports of a running box are on the host.

    With a port of the box: only its address here.
    """
    return run_async(_port(settings, box, _parse(box_port) if box_port else None, result.open()))


async def _port(settings: Settings, box: str, wanted: tuple[int, Protocol] | None, results: Results) -> int:
    async with settings.open_runtime() as runtime:
        record = await runtime.get(box)
    if not record.status.is_active:
        raise InvalidStateError(
            f"it is {record.status}, and only a running box has ports on the host",
            hint=f"boxlite start {record.name}",
            box=record.name,
            operation="port",
        )
    for one in record.state.ports if wanted is None else _published(record, *wanted):
        address = _address(one)
        line = f"{one.box_port}/{one.protocol} -> {address}" if wanted is None else address
        results.add([line], _object(one))
    results.close()
    return 0


def _object(one: PortSpec) -> dict[str, Any]:
    return {
        "BoxPort": one.box_port,
        "Protocol": str(one.protocol),
        "HostIp": one.host_ip,
        "HostPort": one.host_port,
    }


def _published(record: BoxRecord, number: int, protocol: Protocol) -> list[PortSpec]:
    found = [one for one in record.state.ports if (one.box_port, one.protocol) == (number, protocol)]
    if not found:
        raise NotFoundError(
            f"port {number}/{protocol} is not published",
            hint="a box is created with its ports: run -p [HOST:]BOX",
            box=record.name,
            operation="port",
        )
    return found


def _address(one: PortSpec) -> str:
    host = f"[{one.host_ip}]" if ":" in one.host_ip else one.host_ip
    return f"{host}:{one.host_port}"


def _parse(word: str) -> tuple[int, Protocol]:
    number, slash, protocol = word.partition("/")
    try:
        return parse_integer(number, what="port", minimum=1), Protocol(protocol.lower() if slash else "tcp")
    except ValueError:
        raise InvalidArgumentError(f"port {word!r}: {protocol!r} is neither tcp nor udp") from None


COMMAND = as_command(port, "port", examples="boxlite port web\nboxlite port web 80\nboxlite port dns 53/udp")
