"""Completing connections that the network process brings.

Versions of passt up to 2023 take a server's SYN-ACK and do not acknowledge it before the client has sent something: a server that
greets first then waits for a connection which its client has had for long. Here the kernel gets the acknowledgement from two BPF
programs at the interface (type sched_cls, attached by tcx). It vouches for nothing that is not so: the client's connection stood
before passt asked for one here. Where the network process acknowledges too, its segment counts, with its window.

The server may answer only after passt has taken the SYN-ACK: these versions never come out of a bunch of frames that has a SYN-ACK
and more of the same connection. So the outgoing program keeps the acknowledgement (the SYN-ACK, turned round) in a map, lets the
SYN-ACK go, and sends a question after it that passt answers at once, for the hardware address of the gateway. Where such a question
gives the asker's own hardware address, this one has a number, which comes back with the answer. The incoming program makes of the
answer the acknowledgement with that number. A network process that does not answer loses nothing by it.

Sources: bpf(2), bpf-helpers(7), RFC 826 (ARP).
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
    JUMP_ABOVE,
    JUMP_BELOW,
    JUMP_EQUAL,
    JUMP_EQUAL_32,
    JUMP_NOT_EQUAL,
    JUMP_NOT_EQUAL_32,
    LOAD_64,
    LOAD_PACKET_HALF,
    LOAD_PACKET_WORD,
    LOAD_WORD,
    MOVE,
    MOVE_REGISTER,
    PSEUDO_MAP_FD,
    STORE_BYTE,
    STORE_IMMEDIATE_WORD,
    STORE_WORD,
    TCX_NEXT,
    Code,
    attach_to_interface,
    make_array,
)
from guest.segments import (
    ACK,
    ETHERTYPE_AT,
    FLAGS_AT,
    HEADER_BYTES,
    OVER_IPV4,
    SYN,
    FrameFields,
    add_for_segments,
)
from guest.wire.constants import HOST_ADDRESS

_LOOKUP_ELEMENT, _STORE_BYTES, _CLONE_REDIRECT, _REDIRECT = 1, 9, 13, 23
_LOAD_BYTES, _CHANGE_TAIL, _CHECKSUM_LEVEL = 26, 38, 135
_INCOMING, _IS_VERIFIED = 1, 1
"""BPF_F_INGRESS; BPF_CSUM_LEVEL_INC."""
_LENGTH, _MARK = 0, 8
"""Offsets in struct __sk_buff."""
_SENT = 0x0B0C5ACE
"""The mark of a SYN-ACK that was seen before."""
_FRAMES, _SLOT_BYTES, _SLOT_LENGTH_AT = 1024, 128, 124
"""More than are ever between question and answer. Slot 0 counts; each of the others has a frame, and its length."""
_SHORTEST, _LONGEST = OVER_IPV4.tcp_at + HEADER_BYTES, 120
_MAC_BYTES, _PORT_BYTES, _NUMBER_BYTES = 6, 2, 4
_WINDOW = 512
"""Counted in the units that the client's host gave in its SYN, 128 bytes as a rule: what the server may send before the network
process has said how much it takes."""
_ARP, _REQUEST, _REPLY = 0x0806, 1, 2
_OPERATION_AT, _ASKER_AT, _ASKED_FOR_AT = 20, 22, 32
"""In a frame with an ARP message; the asker's hardware address comes back where the one asked for was left open."""
_SIGNATURE = 0xB0C5
_NOBODY = "192.0.2.1"
"""Who asks (an address that no host has, RFC 5737): a network process may remember the asker's hardware address."""
_SLOT_PLACE, _QUESTION_PLACE = -4, -40
"""Below the frame pointer."""


class HandshakeCompleter:
    """In force for an interface for as long as this lives. Raises OSError where the kernel cannot do it."""

    def __init__(self, interface: str) -> None:
        index = socket.if_nametoindex(interface)
        self._kept = make_array(1 + _FRAMES, _SLOT_BYTES)
        self._incoming = attach_to_interface(
            build_incoming_program(self._kept, index), interface, incoming=True
        )
        self._outgoing = attach_to_interface(
            build_outgoing_program(self._kept, index), interface, incoming=False
        )


def build_outgoing_program(kept: int, index: int) -> bytes:
    """Let everything pass; after a SYN-ACK ask, and keep what acknowledges it. `kept` is a descriptor of the map, `index` the
    interface's number."""
    code = Code()
    code.add(MOVE_REGISTER, 6, 1)
    code.add(LOAD_WORD, 0, 6, _MARK)
    code.jump(JUMP_EQUAL_32, 0, _SENT, "pass")
    add_for_segments(code, SYN | ACK, lambda code, fields: _keep_and_ask(code, fields, kept, index))
    code.label("pass")
    code.add(MOVE, 0, immediate=TCX_NEXT)
    code.add(EXIT)
    return code.assemble()


def build_incoming_program(kept: int, index: int) -> bytes:
    """Let everything pass, but turn an answer to one of our questions into what was kept with it."""
    code = Code()
    code.add(MOVE_REGISTER, 6, 1)
    for offset, expected in ((ETHERTYPE_AT, _ARP), (_OPERATION_AT, _REPLY), (_ASKED_FOR_AT, _SIGNATURE)):
        code.add(LOAD_PACKET_HALF, immediate=offset)
        code.jump(JUMP_NOT_EQUAL_32, 0, expected, "pass")
    _load_to_stack(code, _ASKED_FOR_AT + 2, _SLOT_PLACE, _NUMBER_BYTES)
    _find_slot(code, kept)
    code.add(MOVE_REGISTER, 7, 0)
    code.add(LOAD_WORD, 8, 7, _SLOT_LENGTH_AT)
    _check_length(code)
    _call(code, _CHANGE_TAIL, (MOVE_REGISTER, 8), (MOVE, 0))
    code.jump(JUMP_NOT_EQUAL, 0, 0, "pass")
    _call(code, _STORE_BYTES, (MOVE, 0), (MOVE_REGISTER, 7), (MOVE_REGISTER, 8), (MOVE, 0))
    _call(
        code, _CHECKSUM_LEVEL, (MOVE, _IS_VERIFIED)
    )  # a segment has no checksum yet where it leaves the kernel
    code.add(MOVE, 1, immediate=index)
    code.add(MOVE, 2, immediate=_INCOMING)
    code.add(CALL, immediate=_REDIRECT)
    code.add(EXIT)
    code.label("pass")
    code.add(MOVE, 0, immediate=TCX_NEXT)
    code.add(EXIT)
    return code.assemble()


def _keep_and_ask(code: Code, fields: FrameFields, kept: int, index: int) -> None:
    code.add(LOAD_WORD, 8, 6, _LENGTH)
    _check_length(code)
    _take_slot(code, kept)
    code.add(STORE_WORD, 7, 8, _SLOT_LENGTH_AT)
    _keep_turned_round(code, fields)
    code.add(MOVE, 1, immediate=_SENT)
    code.add(STORE_WORD, 6, 1, _MARK)
    _call(code, _CLONE_REDIRECT, (MOVE, index), (MOVE, 0))
    code.jump(JUMP_NOT_EQUAL, 0, 0, "pass")
    _make_question(code)


def _take_slot(code: Code, kept: int) -> None:
    """The next one; its address in register 7, its number on the stack."""
    code.add(STORE_IMMEDIATE_WORD, 10, 0, _SLOT_PLACE, immediate=0)
    _find_slot(code, kept)
    code.add(LOAD_WORD, 1, 0, 0)
    code.add(ADD, 1, immediate=1)
    code.add(STORE_WORD, 0, 1, 0)
    code.add(AND, 1, immediate=_FRAMES - 1)
    code.add(ADD, 1, immediate=1)
    code.add(STORE_WORD, 10, 1, _SLOT_PLACE)
    _find_slot(code, kept)
    code.add(MOVE_REGISTER, 7, 0)


def _find_slot(code: Code, kept: int) -> None:
    """The address of the slot whose number is on the stack, in register 0."""
    code.add(LOAD_64, 1, PSEUDO_MAP_FD, immediate=kept)
    code.add(0)
    code.add(MOVE_REGISTER, 2, 10)
    code.add(ADD, 2, immediate=_SLOT_PLACE)
    code.add(CALL, immediate=_LOOKUP_ELEMENT)
    code.jump(JUMP_EQUAL, 0, 0, "pass")


def _check_length(code: Code) -> None:
    code.jump(JUMP_ABOVE, 8, _LONGEST, "pass")
    code.jump(JUMP_BELOW, 8, _SHORTEST, "pass")


def _keep_turned_round(code: Code, fields: FrameFields) -> None:
    """Options stay as they are: nobody reads those of a SYN in a segment that is none."""
    tcp, source, destination = fields.tcp_at, fields.source_at, fields.destination_at
    _call(code, _LOAD_BYTES, (MOVE, 0), (MOVE_REGISTER, 7), (MOVE_REGISTER, 8))
    for start, target, size in (
        (_MAC_BYTES, 0, _MAC_BYTES),
        (0, _MAC_BYTES, _MAC_BYTES),
        (destination, source, fields.address_bytes),
        (source, destination, fields.address_bytes),
        (tcp + _PORT_BYTES, tcp, _PORT_BYTES),
        (tcp, tcp + _PORT_BYTES, _PORT_BYTES),
        (tcp + 8, tcp + 4, _NUMBER_BYTES),  # the number that it acknowledges is the client's
    ):
        code.add(MOVE_REGISTER, 1, 6)
        code.add(MOVE, 2, immediate=start)
        code.add(MOVE_REGISTER, 3, 7)
        code.add(ADD, 3, immediate=target)
        code.add(MOVE, 4, immediate=size)
        code.add(CALL, immediate=_LOAD_BYTES)
    code.add(LOAD_PACKET_WORD, immediate=tcp + 4)
    code.add(ADD, 0, immediate=1)  # a SYN counts as one byte
    code.add(BIG_ENDIAN, 0, immediate=32)
    code.add(STORE_WORD, 7, 0, tcp + 8)
    for offset, byte in enumerate((ACK, *_WINDOW.to_bytes(2))):
        code.add(MOVE, 1, immediate=byte)
        code.add(STORE_BYTE, 7, 1, tcp + FLAGS_AT + 1 + offset)


def _make_question(code: Code) -> None:
    """Of the frame that is left, whose clone is on its way: what is behind the question is padding."""
    question = struct.pack(
        ">HHHBBHHI4s6x4s2x",
        _ARP, 1, 0x0800, _MAC_BYTES, _NUMBER_BYTES, _REQUEST,
        _SIGNATURE, 0, socket.inet_aton(_NOBODY), socket.inet_aton(HOST_ADDRESS),
    )  # fmt: skip
    number_at = _ASKER_AT + 2 - ETHERTYPE_AT
    for offset, (word,) in enumerate(struct.iter_unpack("=I", question)):
        code.add(STORE_IMMEDIATE_WORD, 10, 0, _QUESTION_PLACE + 4 * offset, immediate=word)
    code.add(LOAD_WORD, 1, 10, _SLOT_PLACE)
    code.add(STORE_WORD, 10, 1, _QUESTION_PLACE + number_at)
    code.add(MOVE_REGISTER, 1, 6)
    code.add(MOVE, 2, immediate=ETHERTYPE_AT)
    code.add(MOVE_REGISTER, 3, 10)
    code.add(ADD, 3, immediate=_QUESTION_PLACE)
    code.add(MOVE, 4, immediate=len(question) - 2)
    code.add(MOVE, 5, immediate=0)
    code.add(CALL, immediate=_STORE_BYTES)


def _load_to_stack(code: Code, offset: int, place: int, size: int) -> None:
    code.add(MOVE_REGISTER, 1, 6)
    code.add(MOVE, 2, immediate=offset)
    code.add(MOVE_REGISTER, 3, 10)
    code.add(ADD, 3, immediate=place)
    code.add(MOVE, 4, immediate=size)
    code.add(CALL, immediate=_LOAD_BYTES)


def _call(code: Code, function: int, *arguments: tuple[int, int]) -> None:
    """Call a helper with the context and more: each a number (MOVE) or what a register has (MOVE_REGISTER)."""
    code.add(MOVE_REGISTER, 1, 6)
    for register, (operation, value) in enumerate(arguments, start=2):
        if operation == MOVE:
            code.add(MOVE, register, immediate=value)
        else:
            code.add(MOVE_REGISTER, register, value)
    code.add(CALL, immediate=function)
