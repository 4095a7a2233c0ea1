"""A guest that lies: the far end of every socket that leads from a machine to the host, played from a seed.

    python -m tests.framework.lying_guest DIRECTORY

It listens on DIRECTORY/sockets/portal-0.sock (the agent's gRPC port) and DIRECTORY/channel.sock (console, events, output
or QMP), reads `{"kind": …, "seed": N}` a line from standard input, answers `ready`, and plays that to whoever connects.
What it sends depends on nothing but kind and seed, as far as the host's own timing allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.server import Server, Stream

from guest.wire import portal_pb2 as pb
from guest.wire.constants import (
    ERROR_TRAILER,
    HELLO_MAGIC,
    LANE_FRAME_BYTES,
    LANE_HEADER,
    LANE_MAGIC,
    LANES,
    NONCE_BYTES,
    REPLY_MAGIC,
    RUNS_METADATA,
    TICKET_BYTES,
)
from tests.framework.hostile_messages import hostile_tar, random_bytes, random_message
from tests.framework.lying_channels import SPEAKERS, drink, flood

STALL_S = 30.0
REPLIES = {
    "Guest": {"Init": pb.InitReply, "Boot": pb.BootReply, "Ping": pb.PingReply, "Shutdown": pb.ShutdownReply,
              "Metrics": pb.MetricsReply},
    "Execution": {"Exec": pb.ExecReply, "Attach": pb.Output, "Run": pb.Output, "SendInput": pb.InputReply,
                  "Wait": pb.WaitReply, "Kill": pb.KillReply, "ResizeTty": pb.ResizeReply, "List": pb.ListReply},
    "Files": {"Upload": pb.UploadReply, "Download": pb.DownloadChunk, "Stat": pb.StatReply},
}  # fmt: skip
STREAMS = {"Attach": Cardinality.UNARY_STREAM, "Run": Cardinality.UNARY_STREAM, "Download": Cardinality.UNARY_STREAM,
           "SendInput": Cardinality.STREAM_UNARY, "Upload": Cardinality.STREAM_UNARY}  # fmt: skip


class Script:
    """What to play next."""

    def __init__(self) -> None:
        self.kind = "messages"
        self.dice = random.Random(0)


class RawCodec(CodecBase):
    """Messages are bytes, right or wrong."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


# ---------------------------------------------------------------- the portal


async def serve_portal(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    dice = script.dice
    if script.kind == "greeting":
        await _greet_badly(dice, reader, writer)
        return
    nonce = await _read_hello(reader)
    writer.write(random_bytes(dice, 200) if dice.random() < 0.2 else b"")
    writer.write(REPLY_MAGIC + nonce)
    if script.kind == "http2":
        await _speak_bad_http2(dice, reader, writer)
    else:
        await _speak_grpc(dice, reader, writer)


async def _read_hello(reader: asyncio.StreamReader) -> bytes:
    await reader.readuntil(HELLO_MAGIC)
    return await reader.readexactly(NONCE_BYTES)


async def _greet_badly(
    dice: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    match dice.randrange(8):
        case 0:
            await asyncio.sleep(STALL_S)
        case 1:
            writer.write(random_bytes(dice, 5000))
        case 2:
            await flood(dice, writer)
        case 3:
            nonce = await _read_hello(reader)
            writer.write(REPLY_MAGIC + bytes(reversed(nonce)))
            await asyncio.sleep(STALL_S)
        case 4:
            nonce = await _read_hello(reader)
            writer.write((REPLY_MAGIC + nonce)[: dice.randrange(len(REPLY_MAGIC) + NONCE_BYTES)])
            writer.write_eof()
            await asyncio.sleep(STALL_S)
        case 5:
            nonce = await _read_hello(reader)
            for byte in REPLY_MAGIC + nonce:
                writer.write(bytes([byte]))
                await asyncio.sleep(dice.choice((0, 0.001, 0.05)))
        case 6:
            for _ in range(dice.randrange(2000)):
                writer.write(REPLY_MAGIC + random_bytes(dice, NONCE_BYTES))
        case 7:
            nonce = await _read_hello(reader)
            writer.write((REPLY_MAGIC + nonce) * 3)


def _frame(kind: int, flags: int, stream: int, payload: bytes, *, length: int | None = None) -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1), with a length that need not be its own."""
    return struct.pack(">I", len(payload) if length is None else length)[1:] + struct.pack(
        ">BBI", kind, flags, stream) + payload  # fmt: skip


async def _speak_bad_http2(
    dice: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    settings = b"".join(struct.pack(">HI", dice.randrange(9), dice.choice((0, 1, 2**14, 2**24 - 1, 2**31 - 1, 2**32 - 1)))
                        for _ in range(dice.randrange(6)))  # fmt: skip
    if dice.random() < 0.8:
        writer.write(_frame(4, 0, 0, settings if dice.random() < 0.4 else b""))
        writer.write(_frame(4, 1, 0, b""))
    drinking = asyncio.ensure_future(drink(reader)) if dice.random() < 0.8 else None
    try:
        for _ in range(dice.randrange(1, 40)):
            stream = dice.choice((0, 1, 1, 1, 3, 5, 2, 2**31 - 1))
            match dice.randrange(9):
                case 0:
                    piece = _frame(dice.randrange(12), dice.randrange(256), stream, random_bytes(dice, 300))
                case 1:
                    piece = _frame(
                        dice.randrange(10), 0, stream, random_bytes(dice, 50), length=dice.getrandbits(24)
                    )
                case 2:
                    piece = _frame(1, 4, stream, bytes([0x88]) + random_bytes(dice, 60))
                case 3:
                    piece = _frame(0, dice.randrange(2), stream,
                                   struct.pack(">BI", dice.randrange(3), dice.getrandbits(32)) + random_bytes(dice, 500))  # fmt: skip
                case 4:
                    piece = _frame(8, 0, stream, struct.pack(">I", dice.choice((0, 1, 2**31 - 1))))
                case 5:
                    piece = _frame(dice.choice((3, 7)), 0, stream, bytes(8))
                case 6:
                    piece = _frame(6, 0, 0, bytes(8)) * dice.choice((1, 1000))
                case 7:
                    piece = _frame(1, 0, stream, b"") + _frame(9, 0, stream, b"\x00\x01a\x01b" * 100) * 300
                case _:
                    piece = random_bytes(dice, 5000)
            if dice.random() < 0.03:
                await flood(dice, writer, piece)
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(dice.choice((0, 0, 0, 0.01)))
        await asyncio.sleep(dice.choice((0, 0, STALL_S)))
    finally:
        if drinking is not None:
            drinking.cancel()


# ---------------------------------------------------------------- lies in good grammar


class _Services:
    """Every call of the portal, answered as the dice fall."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"/boxlite.v1.{service}/{method}": Handler(
                self._answer(method, reply), STREAMS.get(method, Cardinality.UNARY_UNARY), bytes, bytes
            )
            for service, methods in REPLIES.items()
            for method, reply in methods.items()
        }

    def _answer(self, method: str, reply: type[Any]) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def handle(stream: Stream[Any, Any]) -> None:
            await stream.recv_message()
            dice = self._dice
            choice = dice.randrange(12)
            if choice == 0:
                await asyncio.sleep(STALL_S)
            elif choice in (1, 2):
                await self._fail(stream)
            elif choice == 3:
                raise RuntimeError("the agent failed")
            elif method in ("Attach", "Run", "Download"):
                await self._stream(stream, method)
            else:
                await stream.send_message(self._message(reply))

        return handle

    async def _fail(self, stream: Stream[Any, Any]) -> None:
        dice = self._dice
        detail = self._message(pb.ErrorDetail, longest=2000)
        if dice.random() < 0.6:
            codes = (
                "not_found",
                "jail_error",
                "command_not_found",
                "internal",
                "registry_auth",
                "x" * 300,
                "\x1b[2J",
            )
            detail = pb.ErrorDetail(
                code=dice.choice(codes), message="\x1b]0;owned\x07\n\r\x9b31m" * 20
            ).SerializeToString()
        metadata = {ERROR_TRAILER: detail} if dice.random() < 0.9 else {"x": "y" * dice.choice((1, 40000))}
        await stream.send_trailing_metadata(
            status=dice.choice(list(Status)[1:]), status_message="\x1b[31mno\x07" * 5, metadata=metadata
        )

    def _message(self, kind: type[Any], *, longest: int = 200000) -> bytes:
        found = random_message(self._dice, kind, longest=longest).SerializeToString()
        if self._dice.random() < 0.15:
            return random_bytes(self._dice, 3000)
        return bytes(found)

    async def _stream(self, stream: Stream[Any, Any], method: str) -> None:
        dice = self._dice
        messages = self._downloads() if method == "Download" else self._outputs()
        if method == "Run" and dice.random() < 0.8:
            await stream.send_initial_metadata(metadata={RUNS_METADATA: "1"})
        flood = dice.random() < 0.1
        for _ in range(400 if flood else 1):
            for message in messages:
                await stream.send_message(message)
                if not flood:
                    await asyncio.sleep(dice.choice((0, 0, 0, 0.01)))
        if dice.random() < 0.1:
            await asyncio.sleep(STALL_S)

    def _outputs(self) -> list[bytes]:
        """A right sequence, most often with something wrong in it."""
        dice = self._dice
        data = random_bytes(dice, 3000)
        right = [pb.Output(stream=0, offset=0, data=data), pb.Output(stream=1, offset=0, data=b"e"),
                 pb.Output(stream=0, offset=len(data), end=True), pb.Output(stream=1, offset=1, end=True),
                 pb.Output(status=pb.ExitStatus(exit_code=dice.choice((0, 1, 256, -1, 2**31 - 1))))]  # fmt: skip
        if dice.random() < 0.5:  # the ends come with the status
            ends = [
                pb.Output.End(stream=number, offset=message.offset)
                for number, message in enumerate(right[2:4])
            ]
            right[2:] = [pb.Output(status=pb.ExitStatus(), ends=ends * dice.choice((1, 1, 2)))]
        for _ in range(dice.randrange(4)):
            place = dice.randrange(len(right) + 1)
            match dice.randrange(4):
                case 0 if right:
                    del right[place - 1]
                case 1:
                    right.insert(place, random_message(dice, pb.Output, longest=100000))
                case 2:
                    dice.shuffle(right)
                case _ if right:
                    right.insert(place, right[place - 1])
        return [message.SerializeToString() for message in right]

    def _downloads(self) -> list[bytes]:
        dice = self._dice
        stream = hostile_tar(dice)
        size = dice.choice((1, 100, 512, 70000, 256 * 1024))
        size = max(size, len(stream) // 2000)
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        return [pb.DownloadChunk(data=piece).SerializeToString() for piece in pieces]


async def _speak_grpc(
    dice: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    server = Server([_Services(dice)], codec=RawCodec())
    protocol = server._protocol_factory()
    transport = writer.transport
    protocol.connection_made(transport)
    with contextlib.suppress(Exception):
        while chunk := await reader.read(65536):
            protocol.data_received(chunk)
    protocol.connection_lost(None)


# ---------------------------------------------------------------- lanes


async def serve_lane(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A lane greets as it should; what comes over it are frames, or not."""
    dice = random.Random(script.dice.random())
    await reader.readuntil(LANE_MAGIC)
    nonce = await reader.readexactly(NONCE_BYTES)
    await reader.readexactly(TICKET_BYTES)
    writer.write(REPLY_MAGIC + nonce)
    drinking = asyncio.ensure_future(drink(reader)) if dice.random() < 0.8 else None
    try:
        stream = hostile_tar(dice) if dice.random() < 0.7 else random_bytes(dice, 100000)
        step = max(dice.choice((1, 512, 70000, LANE_FRAME_BYTES)), len(stream) // 500)
        for start in range(0, len(stream), step):
            part = stream[start : start + step]
            length = (
                len(part) if dice.random() < 0.97 else dice.choice((0, 1, LANE_FRAME_BYTES + 1, 2**32 - 1))
            )
            writer.write(LANE_HEADER.pack(dice.choice((1,) * 20 + (2, 0, 255)), length) + part)
            await writer.drain()
        if dice.random() < 0.8:
            writer.write(LANE_HEADER.pack(1, 0) + LANE_HEADER.pack(2, 0))
        if dice.random() < 0.1:
            await flood(dice, writer, LANE_HEADER.pack(1, 0) * 100)
        await asyncio.sleep(dice.choice((0, 0.05, 0.05, STALL_S)))
    finally:
        if drinking is not None:
            drinking.cancel()


# ---------------------------------------------------------------- the other channels


async def serve_channel(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    dice = script.dice
    drinking = asyncio.ensure_future(drink(reader))
    try:
        speak = SPEAKERS[script.kind]
        for _ in range(dice.randrange(1, 30)):
            writer.write(speak(dice))
            await writer.drain()
        if dice.random() < 0.1:
            await flood(dice, writer, speak(dice))
        await asyncio.sleep(dice.choice((0, 0, 0.05)))
    finally:
        drinking.cancel()


# ---------------------------------------------------------------- the program


async def main(directory: Path) -> None:
    script = Script()
    tasks: set[asyncio.Task[Any]] = set()

    def player(play: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await play(script, reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)
                writer.transport.abort()

        return serve

    await asyncio.start_unix_server(player(serve_portal), directory / "sockets" / "portal-0.sock")
    for number in range(LANES):
        await asyncio.start_unix_server(player(serve_lane), directory / "sockets" / f"lane-{number}.sock")
    await asyncio.start_unix_server(player(serve_channel), directory / "channel.sock")
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        for task in tuple(tasks):
            task.cancel()
        order = json.loads(line)
        script.kind, script.dice = order["kind"], random.Random(order["seed"])
        print("ready", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
