"""Making refusals of the network process understood.

Versions of passt up to 2023 answer a connection that is refused with a reset that acknowledges nothing. The kernel takes such a
one for a forgery while it is connecting (RFC 9293, section 3.10.7.3), and tries again for two minutes. A BPF program at the
interface (type sched_cls, attached by tcx) adds the flag: the number that is acknowledged is in the segment already.
Documentation: bpf(2), bpf-helpers(7).
"""

from __future__ import annotations

import socket
import struct

from guest.bpf import (
    ADD,
    AND,
    BIG_ENDIAN,
    CALL,
    EXIT,
    JUMP,
    JUMP_EQUAL_32,
    JUMP_NOT_EQUAL_32,
    LOAD_PACKET_BYTE,
    LOAD_PACKET_HALF,
    MOVE,
    MOVE_REGISTER,
    OR,
    STORE_BYTE,
    Code,
    bpf,
    load,
)

_LINK_CREATE = 28
_PROG_TYPE_SCHED_CLS, _ATTACH_TCX_INGRESS = 3, 46
_STORE_BYTES, _REPLACE_CHECKSUM = 9, 11
_TCX_NEXT = 0xFFFFFFFF
_ETHERTYPE_AT, _IPV4, _IPV6 = 12, 0x0800, 0x86DD
_IPV4_PROTOCOL_AT, _IPV4_TCP_AT = 23, 34
_IPV6_PROTOCOL_AT, _IPV6_TCP_AT = 20, 54
_FLAGS_AT, _CHECKSUM_AT = 12, 16
"""In the header of TCP: the length of the header and the flags, in two bytes; the checksum (RFC 9293, section 3.1)."""
_ALL_FLAGS, _RST, _ACK = 0x3F, 0x04, 0x10
_TWO_BYTES = 2


class ResetAmender:
    """In force for an interface for as long as this lives. Raises OSError where the kernel cannot do it."""

    def __init__(self, interface: str) -> None:
        self._program = load(build_program(), _PROG_TYPE_SCHED_CLS, _ATTACH_TCX_INGRESS)
        index = socket.if_nametoindex(interface)
        self._link = bpf(_LINK_CREATE, struct.pack("=IIII16x", self._program, index, _ATTACH_TCX_INGRESS, 0))


def build_program() -> bytes:
    """Let everything pass; of a segment that has no flag but RST, acknowledge what its number says. Headers of IP without
    options are looked at alone: the network process sends no others."""
    code = Code()
    code.add(MOVE_REGISTER, 6, 1)
    code.add(LOAD_PACKET_HALF, immediate=_ETHERTYPE_AT)
    code.jump(JUMP_EQUAL_32, 0, _IPV6, "ip6")
    code.jump(JUMP_NOT_EQUAL_32, 0, _IPV4, "pass")
    _look(code, _IPV4_PROTOCOL_AT, _IPV4_TCP_AT)
    code.jump(JUMP, 0, 0, "pass")
    code.label("ip6")
    _look(code, _IPV6_PROTOCOL_AT, _IPV6_TCP_AT)
    code.label("pass")
    code.add(MOVE, 0, immediate=_TCX_NEXT)
    code.add(EXIT)
    return code.assemble()


def _look(code: Code, protocol_at: int, tcp_at: int) -> None:
    code.add(LOAD_PACKET_BYTE, immediate=protocol_at)
    code.jump(JUMP_NOT_EQUAL_32, 0, socket.IPPROTO_TCP, "pass")
    code.add(LOAD_PACKET_HALF, immediate=tcp_at + _FLAGS_AT)
    code.add(MOVE_REGISTER, 7, 0)
    code.add(AND, 0, immediate=_ALL_FLAGS)
    code.jump(JUMP_NOT_EQUAL_32, 0, _RST, "pass")
    code.add(MOVE_REGISTER, 8, 7)
    code.add(OR, 8, immediate=_ACK)
    code.add(STORE_BYTE, 10, 8, -1)  # the flags are the lower byte
    code.add(MOVE_REGISTER, 1, 6)
    code.add(MOVE, 2, immediate=tcp_at + _FLAGS_AT + 1)
    code.add(MOVE_REGISTER, 3, 10)
    code.add(ADD, 3, immediate=-1)
    code.add(MOVE, 4, immediate=1)
    code.add(MOVE, 5, immediate=0)
    code.add(CALL, immediate=_STORE_BYTES)
    code.add(MOVE_REGISTER, 1, 6)
    code.add(MOVE, 2, immediate=tcp_at + _CHECKSUM_AT)
    for register, value in ((3, 7), (4, 8)):
        code.add(MOVE_REGISTER, register, value)
        code.add(BIG_ENDIAN, register, immediate=16)
    code.add(MOVE, 5, immediate=_TWO_BYTES)
    code.add(CALL, immediate=_REPLACE_CHECKSUM)
