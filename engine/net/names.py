"""Names for a restricted box: its questions answered as the policy says, and the addresses that connections go to.

Both ask the host's own name servers through dnspython, which checks answers and reads every record type; the C library's
resolver knows addresses only, without their lifetimes, and blocks a thread for each question. Documentation: RFC 1035,
RFC 8914 (the note in a refusal).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.net.plan import HOST_ALIAS
from engine.net.policy import Attempt, Decision, Policy, Verdict, Way, decide
from engine.net.rules import Address, normal_name, parse_ip
from guest.wire.constants import HOST_ADDRESS

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage
    from dns.rrset import RRset

QUERY_TIMEOUT_S = 4.0
MAX_CACHED = 1024
MIN_TTL_S, MAX_TTL_S = 5, 300
MAX_UDP_BYTES = 1232
ALIAS_TTL_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer on the wire, and what is to be logged about it: the name, and the decision unless it is a matter of course."""

    wire: bytes
    name: str = ""
    decision: Decision | None = None


class Names:
    """Resolves for one box. `servers` are addresses; `of_host` tells whether an address is the host's own."""

    def __init__(
        self, policy: Policy, servers: Sequence[str], *, ipv6: bool, of_host: Callable[[Address], bool]
    ) -> None:
        self._policy = policy
        self._servers = tuple(servers)
        self._ipv6 = ipv6
        self._of_host = of_host
        self._cache: dict[str, tuple[float, tuple[Address, ...]]] = {}
        self._names: dict[str, str] = {}

    # ------------------------------------------------------------ for connections

    async def addresses(self, name: str) -> tuple[Address, ...]:
        """What a name resolves to, IPv4 first; empty when it does not. Kept for as long as the answer allows."""
        known = self._cache.get(name)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        kinds = ("A", "AAAA") if self._ipv6 else ("A",)
        answers = await asyncio.gather(*(self._ask(name, kind) for kind in kinds))
        found: list[Address] = []
        ttl = MAX_TTL_S
        for answer in answers:
            for rrset in answer.answer if answer is not None else ():
                ttl = min(ttl, rrset.ttl)
                found += _addresses_in(rrset)
        if len(self._cache) >= MAX_CACHED:
            self._cache.pop(next(iter(self._cache)))
        self._cache[name] = (time.monotonic() + max(ttl, MIN_TTL_S), tuple(found))
        return tuple(found)

    async def allowed_addresses(self, name: str, port: int) -> tuple[tuple[Address, ...], Decision | None]:
        """Those of a name's addresses that the policy lets it lead to, and why the first other one was refused."""
        allowed: list[Address] = []
        refusal: Decision | None = None
        for address in await self.addresses(name):
            decision = self.decide_answer(name, address, port)
            if decision.denied:
                refusal = refusal or decision
            else:
                allowed.append(address)
        return tuple(allowed), refusal

    def name_of(self, address: str) -> str:
        """The name that the box last learned this address from, for the log and the counts; empty: none."""
        return self._names.get(address, "")

    def _learn(self, name: str, address: Address) -> None:
        self._names.pop(str(address), None)
        if len(self._names) >= MAX_CACHED:
            self._names.pop(next(iter(self._names)))
        self._names[str(address)] = name

    def decide_answer(self, name: str, address: Address, port: int | None) -> Decision:
        return decide(
            self._policy,
            Attempt(way=Way.ANSWER, address=address, port=port, name=name, of_host=self._of_host(address)),
        )

    # ------------------------------------------------------------ for the box's questions

    async def answer(self, query: bytes, *, stream: bool = False) -> Reply | None:
        """The answer to one question; None for what is no question. `stream`: it may be longer than a datagram."""
        import dns.exception
        import dns.message
        import dns.opcode
        import dns.rcode

        try:
            asked = dns.message.from_wire(query, ignore_trailing=True)
        except dns.exception.DNSException:
            return None
        if asked.flags & 0x8000 or len(asked.question) != 1:
            return None
        if asked.opcode() != dns.opcode.QUERY:
            return Reply(wire=_response(asked, dns.rcode.NOTIMP).to_wire())
        question = asked.question[0]
        name = normal_name(question.name.to_text()) or question.name.to_text(omit_final_dot=True).lower()
        decision = decide(self._policy, Attempt(way=Way.DNS, name=name))
        if decision.denied:
            return Reply(wire=_refusal(asked, decision).to_wire(), name=name, decision=decision)
        refusal: Decision | None = None
        if decision.verdict is Verdict.HOST:
            response = _alias(asked)
        else:
            response, refusal = await self._forward(asked, name)
        most = 65535 if stream else max(512, min(asked.payload or 512, MAX_UDP_BYTES))
        return Reply(wire=_fitting(response, most), name=name, decision=refusal)

    async def _forward(self, asked: Message, name: str) -> tuple[Message, Decision | None]:
        import dns.rcode
        import dns.rdatatype as types

        question = asked.question[0]
        if question.rdtype == types.ANY:
            return _response(asked, dns.rcode.NOTIMP), None
        encrypts = question.rdtype in (types.HTTPS, types.SVCB)
        if encrypts and self._policy.governs_names:  # they carry the keys for encrypted server names
            return _response(asked, dns.rcode.NOERROR), None
        found = await self._ask(question.name.to_text(), types.to_text(question.rdtype))
        if found is None:
            return _response(asked, dns.rcode.SERVFAIL), None
        response = _response(asked, found.rcode())
        refusal: Decision | None = None
        for rrset in found.answer:
            kept: RRset = rrset.copy()  # type: ignore[no-untyped-call]
            for record in rrset:
                address = parse_ip(getattr(record, "address", ""))
                decision = None if address is None else self.decide_answer(name, address, None)
                if decision is not None and decision.denied:
                    refusal = refusal or decision
                    kept.remove(record)  # type: ignore[no-untyped-call]
                elif address is not None:
                    self._learn(name, address)
            if kept:
                response.answer.append(kept)
        if refusal is not None and not any(_addresses_in(rrset) for rrset in response.answer):
            return _refusal(asked, refusal), refusal
        return response, refusal

    async def _ask(self, name: str, kind: str) -> Message | None:
        """Ask the host's servers in turn; None when none of them answers."""
        import dns.asyncquery
        import dns.exception
        import dns.message

        query: QueryMessage = dns.message.make_query(name, kind, use_edns=0, payload=MAX_UDP_BYTES)
        for server in self._servers:
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(query, server, timeout=QUERY_TIMEOUT_S)
            except (dns.exception.DNSException, OSError, EOFError):
                continue
            return answer
        return None


def _addresses_in(rrset: RRset) -> list[Address]:
    found = (parse_ip(getattr(record, "address", "")) for record in rrset)
    return [address for address in found if address is not None]


def _response(asked: Message, code: int) -> Message:
    import dns.flags
    import dns.message
    import dns.rcode

    response = dns.message.make_response(asked, recursion_available=True)
    response.set_rcode(dns.rcode.Rcode(code))
    return response


def _refusal(asked: Message, decision: Decision) -> Message:
    import dns.edns
    import dns.rcode

    response = _response(asked, dns.rcode.NXDOMAIN)
    if asked.edns >= 0:
        note = f"{decision.reason}; {decision.remedy}" if decision.remedy else decision.reason
        response.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.BLOCKED, note[:200])])
    return response


def _alias(asked: Message) -> Message:
    import dns.rcode
    import dns.rdataclass
    import dns.rdatatype
    import dns.rrset

    response = _response(asked, dns.rcode.NOERROR)
    if asked.question[0].rdtype == dns.rdatatype.A:
        response.answer.append(dns.rrset.from_text(f"{HOST_ALIAS}.", ALIAS_TTL_S, "IN", "A", HOST_ADDRESS))
    return response


def _fitting(response: Message, most: int) -> bytes:
    """The response, or where it is too long one that says so: the box asks again over TCP."""
    import dns.exception
    import dns.flags

    try:
        return response.to_wire(max_size=most)
    except dns.exception.TooBig:
        response.answer.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()
