"""Making refusals of the network process understood.

Versions of passt up to 2023 answer a connection that is refused with a reset that acknowledges nothing. The kernel takes such a
one for a forgery while it is connecting (RFC 9293, section 3.10.7.3), and tries again for two minutes. A BPF program at the
interface (type sched_cls, attached by tcx) adds the flag: the number that is acknowledged is in the segment already.
Documentation: bpf(2), bpf-helpers(7).
"""

from __future__ import annotations

from guest.bpf import (
    ADD,
    BIG_ENDIAN,
    CALL,
    EXIT,
    MOVE,
    MOVE_REGISTER,
    OR,
    STORE_BYTE,
    TCX_NEXT,
    Code,
    attach_to_interface,
)
from guest.segments import ACK, CHECKSUM_AT, FLAGS_AT, RST, FrameFields, add_for_segments

_STORE_BYTES, _REPLACE_CHECKSUM = 9, 11
_TWO_BYTES = 2


class ResetAmender:
    """In force for an interface for as long as this lives. Raises OSError where the kernel cannot do it."""

    def __init__(self, interface: str) -> None:
        self._attached = attach_to_interface(build_program(), interface, incoming=True)


def build_program() -> bytes:
    """Let everything pass; of a segment that has no flag but RST, acknowledge what its number says."""
    code = Code()
    code.add(MOVE_REGISTER, 6, 1)
    add_for_segments(code, RST, _acknowledge)
    code.label("pass")
    code.add(MOVE, 0, immediate=TCX_NEXT)
    code.add(EXIT)
    return code.assemble()


def _acknowledge(code: Code, fields: FrameFields) -> None:
    code.add(MOVE_REGISTER, 8, 7)
    code.add(OR, 8, immediate=ACK)
    code.add(STORE_BYTE, 10, 8, -1)  # the flags are the lower byte
    code.add(MOVE_REGISTER, 1, 6)
    code.add(MOVE, 2, immediate=fields.tcp_at + FLAGS_AT + 1)
    code.add(MOVE_REGISTER, 3, 10)
    code.add(ADD, 3, immediate=-1)
    code.add(MOVE, 4, immediate=1)
    code.add(MOVE, 5, immediate=0)
    code.add(CALL, immediate=_STORE_BYTES)
    code.add(MOVE_REGISTER, 1, 6)
    code.add(MOVE, 2, immediate=fields.tcp_at + CHECKSUM_AT)
    for register, value in ((3, 7), (4, 8)):
        code.add(MOVE_REGISTER, register, value)
        code.add(BIG_ENDIAN, register, immediate=16)
    code.add(MOVE, 5, immediate=_TWO_BYTES)
    code.add(CALL, immediate=_REPLACE_CHECKSUM)
