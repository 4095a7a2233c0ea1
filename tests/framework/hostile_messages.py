"""Random messages and archives as a guest that lies would send them: right in form, wrong in what they say."""

from __future__ import annotations

import io
import random
import tarfile
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

NAMES = ("box", "box/a", "box/../x", "/etc/passwd", "..", ".", "", "box/\x1b[2J", "box/" + "d/" * 300 + "f", "box/l", "box/l/x",
         "x" * 300, "box/\n", "box//", "box/.", "other/a", "box/\udcff")  # fmt: skip
LINKS = ("/etc/passwd", "..", "box/a", "../../x", "x" * 5000, "", "box/l")
NUMBERS = (0, 1, -1, 2**31, 2**32 - 1, 2**32, 2**63, -(2**63), 10**30)
TIMES = ("0", "-1", "nan", "inf", "1e308", "9" * 400, "1700000000.5", "x")


def random_bytes(dice: random.Random, longest: int) -> bytes:
    return dice.randbytes(dice.randrange(longest + 1))


def random_message(dice: random.Random, kind: type[Any], *, longest: int, depth: int = 0) -> Any:
    """A message of a protobuf type with extreme values in some of its fields."""
    message = kind()
    for field in message.DESCRIPTOR.fields:
        if dice.random() < 0.4:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if depth < 3:
                inner = field.message_type._concrete_class
                for _ in range(dice.choice((0, 1, 3, 50)) if field.is_repeated else 1):
                    value = random_message(dice, inner, longest=longest // 20, depth=depth + 1)
                    if field.is_repeated:
                        getattr(message, field.name).append(value)
                    else:
                        getattr(message, field.name).CopyFrom(value)
        elif field.is_repeated:
            getattr(message, field.name).extend(
                _value(dice, field, longest // 20) for _ in range(dice.choice((0, 1, 5)))
            )
        else:
            setattr(message, field.name, _value(dice, field, longest))
    return message


def _value(dice: random.Random, field: Any, longest: int) -> Any:
    kind = FieldDescriptor
    if field.type == kind.TYPE_BOOL:
        return dice.random() < 0.5
    if field.type == kind.TYPE_STRING:
        return dice.choice(("", "x", "\x1b[2J\x07\x9b", "\u202egnp.exe", "a\nb", "é" * min(longest, 50000)))
    if field.type == kind.TYPE_BYTES:
        return random_bytes(dice, longest)
    if field.type in (kind.TYPE_INT32, kind.TYPE_SINT32):
        return dice.choice((0, 1, -1, 2**31 - 1, -(2**31)))
    if field.type in (kind.TYPE_INT64, kind.TYPE_SINT64):
        return dice.choice((0, 1, -1, 2**63 - 1, -(2**63)))
    if field.type == kind.TYPE_ENUM:
        return dice.choice((0, 1, 2, 77))
    if field.type == kind.TYPE_UINT32:
        return dice.choice((0, 1, 0o100644, 0o40755, 2**32 - 1))
    return dice.choice((0, 1, 2**63, 2**64 - 1))


def hostile_tar(dice: random.Random) -> bytes:
    """A tar stream that need not be one: entries no honest agent sends, then bytes changed, then perhaps cut or endless."""
    out = io.BytesIO()
    honest = _honest_entries() if dice.random() < 0.6 else []
    entries = honest + [_entry(dice) for _ in range(dice.randrange(3 if honest else 12))]
    if dice.random() < 0.5:
        dice.shuffle(entries)
    for entry in entries:
        out.write(entry)
    if dice.random() < 0.7:
        out.write(bytes(1024))
    stream = bytearray(out.getvalue())
    if stream and dice.random() < 0.5:
        for _ in range(dice.randrange(1, 12)):
            at = dice.randrange(len(stream))
            stream[at : at + 1] = (
                random_bytes(dice, 3) if dice.random() < 0.2 else bytes([dice.getrandbits(8)])
            )
        if dice.random() < 0.7:
            _mend_checksums(stream)
    if dice.random() < 0.2:
        del stream[dice.randrange(len(stream) + 1) :]
    if dice.random() < 0.05:
        stream += bytes(3 << 20)
    return bytes(stream)


def _honest_entries() -> list[bytes]:
    folder, file = tarfile.TarInfo("box"), tarfile.TarInfo("box/a")
    folder.type, folder.mode, file.size = tarfile.DIRTYPE, 0o755, 700
    file.pax_headers = {"SCHILY.xattr.user.a": "b"}
    return [folder.tobuf(), file.tobuf(tarfile.PAX_FORMAT) + bytes(1024)]


def _entry(dice: random.Random) -> bytes:
    """One header block with whatever it says, its extended headers before and its data after it."""
    data = random_bytes(dice, 1500)
    size = len(data) if dice.random() < 0.7 else dice.choice(NUMBERS)
    name = dice.choice(NAMES).encode("utf-8", "surrogateescape")
    kind = dice.choice(b"0000000055512346SKLxgV7\0")
    block = bytearray(512)
    block[0:100] = name[:100].ljust(100, b"\0")
    for start, length, value in ((100, 8, dice.choice((0o644, 0o7777, -1))), (108, 8, dice.choice(NUMBERS)),
                                 (116, 8, dice.choice(NUMBERS)), (124, 12, size), (136, 12, dice.choice(NUMBERS))):  # fmt: skip
        block[start : start + length] = _number(value, length)
    block[156] = kind
    block[157:257] = dice.choice(LINKS).encode()[:100].ljust(100, b"\0")
    block[257:265] = dice.choice((b"ustar\x0000", b"ustar  \0", bytes(8)))
    if kind == ord("S"):
        block[386:512] = random_bytes(dice, 126).ljust(126, b"\1")
    _seal(block, 0)
    padded = data + bytes(-len(data) % 512)
    before = b"".join(_extended(dice) for _ in range(dice.choice((0, 0, 1, 1, 2, 12))))
    return before + bytes(block) + padded


def _extended(dice: random.Random) -> bytes:
    """A pax header or a GNU long name."""
    kind = dice.choice(b"xxxxgLK")
    if kind in b"LK":
        body = dice.choice(NAMES + LINKS).encode("utf-8", "surrogateescape") + b"\0"
    else:
        records = {
            "size": str(dice.choice(NUMBERS)), "mtime": dice.choice(TIMES), "uid": str(dice.choice(NUMBERS)),
            "path": dice.choice((*NAMES, "box/" + "x/" * 4000, "box/a\0b")), "linkpath": dice.choice((*LINKS, "a\0b")),
            "SCHILY.xattr.user.x": "v" * dice.choice((1, 100, 70000)), "SCHILY.xattr.user.\0": "v",
            "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.size": str(dice.choice(NUMBERS)),
            "GNU.sparse.map": dice.choice(("0,1,2,3", "x", "-1,-1", "9" * 5000)), "GNU.sparse.name": "box/s",
            "GNU.sparse.numblocks": "1", "hdrcharset": dice.choice(("BINARY", "x")),
        }  # fmt: skip
        chosen = dice.sample(sorted(records), dice.randrange(1, 4))
        body = b"".join(_record(key, records[key]) for key in chosen)
        if dice.random() < 0.1:
            body = random_bytes(dice, 600)
    header = bytearray(512)
    header[0:12] = b"./PaxHeaders"
    header[124:136] = _number(len(body) if dice.random() < 0.95 else dice.choice(NUMBERS), 12)
    header[156] = kind
    header[257:265] = b"ustar\x0000"
    _seal(header, 0)
    return bytes(header) + body + bytes(-len(body) % 512)


def _record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode("utf-8", "surrogateescape")
    length = len(text) + 1
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text


def _number(value: int, length: int) -> bytes:
    """Octal where it fits, else base 256 as GNU tar has it, cut to the field."""
    if 0 <= value < 8 ** (length - 1):
        return f"{value:0{length - 1}o}".encode() + b"\0"
    bits = 8 * (length - 1)
    return (b"\x80" if value >= 0 else b"\xff") + (value % (1 << bits)).to_bytes(length - 1, "big")


def _seal(block: bytearray, start: int) -> None:
    """Write the right checksum."""
    block[start + 148 : start + 156] = b" " * 8
    block[start + 148 : start + 156] = f"{sum(block[start : start + 512]):06o}\0 ".encode()


def _mend_checksums(stream: bytearray) -> None:
    for start in range(0, len(stream) - 511, 512):
        if stream[start + 257 : start + 262] == b"ustar":
            _seal(stream, start)
