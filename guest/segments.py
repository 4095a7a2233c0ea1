"""Where the fields of a TCP segment lie in a frame, for BPF programs at the machine's interface.

Headers of IP without options are looked at alone: the network process sends no others, and the kernel none with TCP.
Sources: IEEE 802.3, RFC 791, RFC 8200, RFC 9293 (section 3.1).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from guest.bpf import (
    AND,
    JUMP,
    JUMP_EQUAL_32,
    JUMP_NOT_EQUAL_32,
    LOAD_PACKET_BYTE,
    LOAD_PACKET_HALF,
    MOVE_REGISTER,
    Code,
)

ETHERTYPE_AT = 12
FLAGS_AT, WINDOW_AT, CHECKSUM_AT, HEADER_BYTES = 12, 14, 16, 20
"""In the header of TCP: the length of the header and the flags, in two bytes; and so on."""
ALL_FLAGS, SYN, RST, ACK = 0x3F, 0x02, 0x04, 0x10
_IPV4, _IPV6 = 0x0800, 0x86DD


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFields:
    """Offsets in a frame that carries TCP over one version of IP, in bytes."""

    protocol_at: int
    source_at: int
    address_bytes: int
    tcp_at: int

    @property
    def destination_at(self) -> int:
        return self.source_at + self.address_bytes


OVER_IPV4 = FrameFields(protocol_at=23, source_at=26, address_bytes=4, tcp_at=34)
OVER_IPV6 = FrameFields(protocol_at=20, source_at=22, address_bytes=16, tcp_at=54)


def add_for_segments(code: Code, flags: int, act: Callable[[Code, FrameFields], None]) -> None:
    """Instructions that act on segments with just these flags, and go on to the label `pass` with all others. Register 6 has to
    have the context; where `act` begins, register 7 has the two bytes at FLAGS_AT."""
    code.add(LOAD_PACKET_HALF, immediate=ETHERTYPE_AT)
    code.jump(JUMP_EQUAL_32, 0, _IPV6, "ip6")
    code.jump(JUMP_NOT_EQUAL_32, 0, _IPV4, "pass")
    _add_for_version(code, OVER_IPV4, flags, act)
    code.jump(JUMP, 0, 0, "pass")
    code.label("ip6")
    _add_for_version(code, OVER_IPV6, flags, act)


def _add_for_version(
    code: Code, fields: FrameFields, flags: int, act: Callable[[Code, FrameFields], None]
) -> None:
    code.add(LOAD_PACKET_BYTE, immediate=fields.protocol_at)
    code.jump(JUMP_NOT_EQUAL_32, 0, socket.IPPROTO_TCP, "pass")
    code.add(LOAD_PACKET_HALF, immediate=fields.tcp_at + FLAGS_AT)
    code.add(MOVE_REGISTER, 7, 0)
    code.add(AND, 0, immediate=ALL_FLAGS)
    code.jump(JUMP_NOT_EQUAL_32, 0, flags, "pass")
    act(code, fields)
