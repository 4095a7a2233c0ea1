"""`boxlite network`: what boxes tried to reach, and tunnels to their ports."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boxlite_cli import output
from boxlite_cli.command import as_command, as_group
from boxlite_cli.failures import say
from boxlite_cli.humane import size_text
from boxlite_cli.output import Format
from boxlite_cli.parsers import parse_integer, parse_listen
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.net.connectionlog import ConnectionEntry

if TYPE_CHECKING:
    from engine.runtime.network import ListenAddress


def log(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    settings: Settings,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is tried from now on.")
    ] = False,
    denied: Annotated[bool, typer.Option("--denied", help="Only what was refused.")] = False,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="json (one object a line) or a template.")
    ] = None,
) -> int:
    """Show what a restricted box tried to reach, and what became of it.

    A refusal says which rule it was and which flag would allow it.
    """
    kind, template = output.parse_format(format_, (Format.JSON, Format.TEMPLATE), default=Format.TABLE)
    return run_async(_log(settings, box, follow=follow, denied=denied, kind=kind, template=template))


async def _log(
    settings: Settings, box: str, *, follow: bool, denied: bool, kind: Format, template: str
) -> int:
    render = None
    if kind is Format.TEMPLATE:
        from boxlite_cli.templates import compile_template

        render = compile_template(template).render
    async with settings.open_runtime() as runtime:
        async for entry in runtime.network.log(box, follow=follow):
            if denied and entry.verdict != "denied":
                continue
            if render is not None:
                line = render(_object(entry))
            elif kind is Format.JSON:
                line = json.dumps(_object(entry), ensure_ascii=False)
            else:
                line = entry_line(entry)
            output.print_lines([line])
            sys.stdout.flush()
    return 0


_KEYS = {
    "time": "Time", "verdict": "Verdict", "protocol": "Protocol", "name": "Name", "address": "Address", "port": "Port",
    "rule": "Rule", "reason": "Reason", "remedy": "Remedy",
}  # fmt: skip


def _object(entry: ConnectionEntry) -> dict[str, Any]:
    return {_KEYS[field]: value for field, value in asdict(entry).items()}


def entry_line(entry: ConnectionEntry) -> str:
    """`2025-01-31T08:00:00.123Z denied tcp evil.example:443 (192.0.2.7): reason; to allow it: --allow-net evil.example`."""
    line = f"{entry.time} {entry.verdict:7} {entry.protocol:4} {entry.target}"
    if entry.name and entry.address:
        line += f" ({entry.address})"
    if entry.reason:
        line += f": {entry.reason}"
    elif entry.rule:
        line += f" by {entry.rule}"
    return f"{line}; to allow it: {entry.remedy}" if entry.remedy else line


def hosts(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    settings: Settings,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="table, json or yaml. [default: table]")
    ] = None,
) -> int:
    """Show how much a restricted box that runs exchanged with which hosts.

    Counted since its start, from the box's point of view.
    """
    kind, _ = output.parse_format(format_, (Format.TABLE, Format.JSON, Format.YAML), default=Format.TABLE)
    return run_async(_hosts(settings, box, kind))


async def _hosts(settings: Settings, box: str, kind: Format) -> int:
    async with settings.open_runtime() as runtime:
        counts = await runtime.network.counts(box)
    if kind is not Format.TABLE:
        output.print_document(kind, counts)
        return 0
    by_host: Any = counts.get("by_host", {})
    rows = [
        (name, str(count["connections"]), str(count["denied"]), size_text(count["bytes_sent"]), size_text(count["bytes_received"]))
        for name, count in sorted(by_host.items(), key=lambda item: -item[1]["bytes_sent"] - item[1]["bytes_received"])
    ]  # fmt: skip
    output.print_table(("HOST", "CONNECTIONS", "DENIED", "SENT", "RECEIVED"), rows)
    return 0


def tunnel(
    box: Annotated[str, typer.Argument(metavar="BOX")],
    port: Annotated[str, typer.Argument(metavar="PORT")],
    result: ResultOptions,
    settings: Settings,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="ADDRESS", help="PORT, IP:PORT, [IPv6]:PORT or unix:/PATH; port 0: any."
        ),
    ] = "0",
) -> int:
    """Forward a local address to a TCP port of a running box, until Ctrl-C.

    Prints the address it listens on. The port need not be published, and the box may be without a network.
    """
    number = parse_integer(port, what="port", minimum=1)
    return run_async(_tunnel(settings, box, number, listen, result.open()))


async def _tunnel(settings: Settings, box: str, port: int, listen: str, results: Results) -> int:
    address = parse_listen(listen)
    async with (
        settings.open_runtime() as runtime,
        runtime.network.tunnel(box, port, address, on_failure=say) as bound,
    ):
        results.print_one([str(bound)], _bound_object(box, port, bound))
        await runtime.wait(box)
        say(f"box {box} has ended, and the tunnel with it")
        await asyncio.sleep(0)
    return 0


def _bound_object(box: str, port: int, bound: ListenAddress) -> dict[str, Any]:
    where = {"Path": bound.path} if bound.path else {"HostIp": bound.host, "HostPort": bound.port}
    return {"Box": box, "BoxPort": port, "Address": str(bound)} | where


LOG_EXAMPLES = """
  boxlite network log agent
  boxlite network log -f --denied agent
  boxlite network log --format json agent
"""
TUNNEL_EXAMPLES = """
  boxlite network tunnel web 8080 --listen 127.0.0.1:9000
  boxlite network tunnel db 5432 --listen unix:/tmp/db.sock
"""

COMMAND = as_group(
    "network",
    "See what boxes tried to reach, and reach their ports",
    {
        "log": as_command(log, "log", examples=LOG_EXAMPLES),
        "hosts": as_command(hosts, "hosts", examples="boxlite network hosts agent"),
        "tunnel": as_command(tunnel, "tunnel", examples=TUNNEL_EXAMPLES),
    },
)
