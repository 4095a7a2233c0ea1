"""Which numeric owner files get that are copied into a box: the user its commands run as."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator

from engine.errors import DeadlineError, NotFoundError, PortalError
from engine.model import BoxRecord
from engine.portal.files import download, stat_file
from engine.portal.session import GuestSession
from engine.runtime import images
from engine.runtime.context import Context
from guest.wire.tar import TarError
from guest.wire.tarread import TarReader

MAX_TABLE_BYTES = 1024 * 1024
"""Longest /etc/passwd or /etc/group that is read."""
READ_TIMEOUT_S = 30.0
MAX_ID_DIGITS = 10


async def owner_in_box(context: Context, record: BoxRecord, session: GuestSession) -> tuple[int, int]:
    """User and group id of the box's user; root's when it names one that the box does not have."""
    user = record.spec.user
    if user is None:
        user = (await images.source_of_box(context, record)).config.user
    name, _, group = (user or "").partition(":")
    if not name and not group:
        return 0, 0
    uid, gid = _number(name) if name else 0, _number(group) if group else None
    if uid is None or gid is None:
        for fields in _fields(await _read(session, b"/etc/passwd")):
            if len(fields) >= 4 and (fields[0] == name or (uid is not None and fields[2] == str(uid))):
                uid = _number(fields[2]) if uid is None else uid
                gid = _number(fields[3]) if gid is None and not group else gid
                break
    if gid is None and group:
        for fields in _fields(await _read(session, b"/etc/group")):
            if len(fields) >= 3 and fields[0] == group:
                gid = _number(fields[2])
                break
    return uid or 0, gid or 0


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS):
        return None
    return int(text) if int(text) < 2**32 - 1 else None


def _fields(table: bytes) -> Iterator[list[str]]:
    for line in table.decode("utf-8", "replace").splitlines():
        yield line.split(":")


async def _read(session: GuestSession, path: bytes) -> bytes:
    """A small file of the box; empty when it is none."""
    found = await stat_file(session, path, follow_link=True)
    if not found.exists or found.is_directory or found.size_bytes > MAX_TABLE_BYTES:
        return b""
    stream = bytearray()
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            async for chunk in download(session, found.resolved, name=b"table", follow_link=False):
                stream += chunk
                if len(stream) > 2 * MAX_TABLE_BYTES:
                    return b""
        reader = TarReader(io.BytesIO(stream))
        entry = reader.next()
        return reader.whole() if entry is not None and entry.is_file else b""
    except NotFoundError:
        return b""
    except TimeoutError as error:
        raise DeadlineError(f"the box did not send its {os.fsdecode(path)}", operation="cp") from error
    except TarError as error:
        raise PortalError(f"the box did not send a tar stream: {error}", operation="cp") from error
