"""The gateway of a restricted box: what the box opens is decided, named, connected and counted here, on the host.

One process per box, beside its shim (`python -m engine.net`, see engine.net.__main__). Nothing of it trusts the agent
inside: what arrives over the network port may have been written by the box's root.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from engine.net.flow import Flow, StreamFlow, Target, carry, relay
from engine.net.hello import MAX_HELLO_BYTES, Opening, Speech, read_opening
from engine.net.mux import Channel, PacketChannel, StreamChannel
from engine.net.names import Names
from engine.net.policy import Attempt, Decision, Hello, Policy, Verdict, Way, decide
from engine.net.refusals import refuse
from engine.net.reports import Reports
from engine.net.rules import Address
from guest.wire.flows import ICMP, Reason

if TYPE_CHECKING:
    from engine.net.interception.interceptor import Interceptor

NAME_TIMEOUT_S = 10.0
"""How long a program may take to say a name where it has to."""
SPEECH_TIMEOUT_S = 1.0
"""How long a refusal waits for the first bytes, which tell how to say it; on ports where clients speak first, longer."""
CLIENT_FIRST_PORTS = frozenset({80, 443, 853, 3000, 5000, 8000, 8080, 8443, 8888})
CONNECT_TIMEOUT_S = 10.0
STREAM_LIMIT_BYTES = 1024 * 1024
_HOST_ADDRESSES = ("127.0.0.1", "::1")


class _Whom(TypedDict):
    name: str
    address: str
    port: int


class Gateway:
    """Serves the flows of one box. `serve` is what Mux calls for each."""

    def __init__(
        self, policy: Policy, names: Names, reports: Reports, *, interceptor: Interceptor | None = None
    ) -> None:
        self._policy = policy
        self._names = names
        self._reports = reports
        self._interceptor = interceptor

    async def serve(self, channel: Channel) -> None:
        """One flow, from its opening to its end."""
        address = ipaddress.ip_address(channel.address)
        if isinstance(channel, StreamChannel):
            await self._serve_stream(channel, address)
        elif isinstance(channel, PacketChannel):
            from engine.net.packets import serve_packets, serve_pings

            serving = serve_pings if channel.protocol == ICMP else serve_packets
            await serving(channel, address, self._policy, self._names, self._reports)

    # ------------------------------------------------------------ TCP

    async def _serve_stream(self, channel: StreamChannel, address: Address) -> None:
        attempt = Attempt(way=Way.TCP, address=address, port=channel.port, of_host=is_of_host(address))
        decision = decide(self._policy, attempt)
        speech = Speech.OTHER
        if decision.verdict is Verdict.RESOLVE:
            await self._answer_questions(channel)
            return
        if decision.verdict is Verdict.READ_NAME:
            if self._server_may_begin(attempt):
                await self._watch(channel, attempt)
                return
            opening = await _read(channel)
            speech = opening.speech
            attempt = replace(attempt, hello=opening.hello, name=opening.name)
            decision = decide(self._policy, attempt)
        await self._carry_out(channel, attempt, decision, speech)

    def _server_may_begin(self, attempt: Attempt) -> bool:
        """Is a name only looked for because it might be a denied one? Then a server that speaks first may do so."""
        if any(rule.covers_port(attempt.port) for rule in self._policy.grants):
            return False
        return not decide(self._policy, replace(attempt, hello=Hello.NAMELESS)).denied

    async def _watch(self, channel: StreamChannel, attempt: Attempt) -> None:
        """Connect to the address chosen, but let nothing of the box through before its first bytes were looked at."""
        decision = decide(self._policy, replace(attempt, hello=Hello.NAMELESS))
        far = await self._connect_or_refuse(channel, attempt, decision, self._chosen(attempt))
        if far is None:
            return
        try:
            with self._following(channel, attempt):
                await self._relay_watched(channel, far, attempt)
        except OSError:
            channel.abort()
            far.abort()
        finally:
            far.close()

    async def _relay_watched(self, channel: StreamChannel, far: Flow, attempt: Attempt) -> None:
        answers = asyncio.ensure_future(carry(far, channel))
        try:
            opening = await _read(channel, timeout_s=None)
            attempt = replace(attempt, hello=opening.hello, name=opening.name)
            judged = decide(self._policy, attempt)
            if not judged.denied:
                judged = await self._as_denied_host(attempt) or judged
            if judged.denied:
                self._deny(attempt, judged)
                answers.cancel()
                far.abort()
                await refuse(channel, opening.speech, judged, _text(attempt))
                return
            self._allow(attempt, judged)
            await carry(channel, far)
            await answers
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)

    async def _as_denied_host(self, attempt: Attempt) -> Decision | None:
        """A denial, if the address is one that a host denied by its exact name has now."""
        for rule in self._policy.deny:
            if not rule.name or rule.wildcard or not rule.covers_port(attempt.port):
                continue
            if attempt.address in await self._names.addresses(rule.name):
                return decide(self._policy, replace(attempt, hello=Hello.NAMED, name=rule.name))
        return None

    async def _carry_out(
        self, channel: StreamChannel, attempt: Attempt, decision: Decision, speech: Speech
    ) -> None:
        target, refusal = await self._target(attempt, decision)
        if refusal is not None:
            self._deny(attempt, refusal)
            if attempt.hello is Hello.UNREAD:  # it was refused unheard, but is to be told in its own words
                first = channel.port in CLIENT_FIRST_PORTS
                speech = (await _read(channel, NAME_TIMEOUT_S if first else SPEECH_TIMEOUT_S)).speech
            await refuse(channel, speech, refusal, _text(attempt))
            return
        if self._interceptor is not None and self._interceptor.wants(target.name, target.port):
            await self._intercept(self._interceptor, channel, attempt, decision, target)
            return
        far = await self._connect_or_refuse(channel, attempt, decision, target)
        if far is None:
            return
        self._allow(attempt, decision)
        with self._following(channel, attempt):
            await relay(channel, far)

    async def _intercept(
        self,
        interceptor: Interceptor,
        channel: StreamChannel,
        attempt: Attempt,
        decision: Decision,
        target: Target,
    ) -> None:
        self._allow(attempt, decision)
        with self._following(channel, attempt):
            result = await interceptor.intercept(channel, target, lambda: connect_to(target))
        if result.failure is not None:
            self._reports.failed("tcp", decision, **self._of(attempt), reason=result.failure)

    async def _target(self, attempt: Attempt, decision: Decision) -> tuple[Target, Decision | None]:
        """Where an attempt that is allowed leads; or why it is refused after all."""
        port = attempt.port or 0
        match decision.verdict:
            case Verdict.DENY:
                return self._chosen(attempt), decision
            case Verdict.HOST:
                return Target(name=None, port=port, addresses=_HOST_ADDRESSES), None
            case Verdict.ALLOW_NAME:
                assert attempt.name is not None
                addresses, refusal = await self._names.allowed_addresses(attempt.name, port)
                texts = tuple(str(address) for address in addresses)
                return Target(name=attempt.name, port=port, addresses=texts), None if texts else refusal
        return self._chosen(attempt), None

    def _chosen(self, attempt: Attempt) -> Target:
        return Target(name=None, port=attempt.port or 0, addresses=(str(attempt.address),))

    async def _connect_or_refuse(
        self, channel: StreamChannel, attempt: Attempt, decision: Decision, target: Target
    ) -> Flow | None:
        try:
            return await connect_to(target)
        except OSError as error:
            reason = error.strerror or str(error)
            self._reports.failed("tcp", decision, **self._of(attempt), reason=reason)
            refused = error.errno == errno.ECONNREFUSED
            channel.reset(Reason.REFUSED if refused else Reason.UNREACHABLE)
            return None

    # ------------------------------------------------------------ reports

    def _of(self, attempt: Attempt) -> _Whom:
        address = str(attempt.address)
        return {
            "name": attempt.name or self._names.name_of(address),
            "address": address,
            "port": attempt.port or 0,
        }

    def _deny(self, attempt: Attempt, decision: Decision) -> None:
        self._reports.denied("tcp", decision, **self._of(attempt))

    def _allow(self, attempt: Attempt, decision: Decision) -> None:
        self._reports.allowed("tcp", decision, **self._of(attempt))

    def _following(self, channel: Channel, attempt: Attempt) -> contextlib.AbstractContextManager[None]:
        whom = self._of(attempt)
        return self._reports.counts.following(whom["name"] or whom["address"], channel)

    # ------------------------------------------------------------ DNS over TCP

    async def _answer_questions(self, channel: StreamChannel) -> None:
        """RFC 7766: each message behind its length in two bytes."""
        pending = b""
        with contextlib.suppress(OSError):
            while data := await channel.read():
                pending += data
                while len(pending) >= 2 and len(pending) >= 2 + (length := int.from_bytes(pending[:2])):
                    query, pending = pending[2 : 2 + length], pending[2 + length :]
                    reply = await self._names.answer(query, stream=True)
                    if reply is None:
                        channel.abort()
                        return
                    if reply.decision is not None:
                        self._reports.denied("dns", reply.decision, name=reply.name, address="", port=0)
                    await channel.write(len(reply.wire).to_bytes(2) + reply.wire)
            await channel.write_eof()


async def _read(channel: StreamChannel, timeout_s: float | None = NAME_TIMEOUT_S) -> Opening:
    """What a connection says first; the bytes stay to be read. One that says nothing in time is nameless."""
    data = b""
    opening: Opening | None = None
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(timeout_s):
            while (opening := read_opening(data)) is None and len(data) < MAX_HELLO_BYTES:
                piece = await channel.read()
                if not piece:
                    break
                data += piece
    channel.unread(data)
    return opening or Opening(speech=Speech.OTHER, hello=Hello.NAMELESS)


async def connect_to(target: Target) -> Flow:
    """A connection to the first address of a target that takes it. Raises OSError, that of the last one tried."""
    failure = OSError(errno.EHOSTUNREACH, "its name has no address")
    for address in target.addresses:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(address, target.port, limit=STREAM_LIMIT_BYTES)
        except TimeoutError:
            failure = OSError(errno.ETIMEDOUT, "no answer within 10 s")
        except OSError as error:
            failure = OSError(error.errno, _strerror(error))
        else:
            return StreamFlow(reader, writer)
    raise failure


def _strerror(error: OSError) -> str:
    import os

    return os.strerror(error.errno) if error.errno else str(error)


def is_of_host(address: Address) -> bool:
    """Is this one of the host's own addresses? Only such a one can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _text(attempt: Attempt) -> str:
    host = attempt.name or str(attempt.address)
    return f"[{host}]:{attempt.port}" if ":" in host else f"{host}:{attempt.port}"
