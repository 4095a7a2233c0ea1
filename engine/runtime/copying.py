"""`cp`: files between the host and a box, or two boxes, as one tar stream that is never held whole.

    host ── thread: tarfile ── Bridge ── gRPC ──▶ agent, in the container's view       (and the same way back)

Paths in a box count from `/` and are resolved in the box; on the host nothing that comes from a box is believed
(see engine.runtime.unpacking).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO

from engine.errors import (
    BoxliteError,
    InvalidStateError,
    NotDirectoryError,
    NotFoundError,
    ReadOnlyError,
    ResourceExhaustedError,
)
from engine.events import EventKind
from engine.fsutil import storage_error
from engine.model import BoxRecord
from engine.portal.files import CHUNK_BYTES, BoxFile, download, stat_file, upload
from engine.portal.session import GuestSession
from engine.progress import Progress
from engine.runtime.box_users import owner_in_box
from engine.runtime.bridge import Bridge, BridgeReader, BridgeWriter
from engine.runtime.context import Context
from engine.runtime.copy_rules import (
    CopyOptions,
    Destination,
    Source,
    TargetKind,
    choose_destination,
    source_name,
)
from engine.runtime.outliving import outliving
from engine.runtime.packing import pack
from engine.runtime.records import get_box
from engine.runtime.resting import files_of_box
from engine.runtime.running import session_with
from engine.runtime.unpacking import Unpacker
from engine.stdio import read_chunks, write_all
from guest.wire import portal_pb2 as wire

REPORT_INTERVAL_S = 0.2
_HINTS: dict[type[BoxliteError], str] = {
    ReadOnlyError: "copy to another directory, or mount this one for writing (without :ro)",
    ResourceExhaustedError: "free space in the box, or create it with a larger disk",
}
"""What helps with what the box reports; what happens on the host comes with its own."""
WIRE_NAME = "box"
"""What the top entry of a stream from a box is called: the host does not let the box choose."""


async def copy_in(context: Context, ref: str, source_path: str, box_path: str, options: CopyOptions) -> None:
    """Copy a file or directory of the host into a box. Raises NotFoundError when it is not there."""
    await outliving(
        context, (ref,), lambda: _copy_in(context, ref, source_path, box_path, options), options=options
    )


async def _copy_in(context: Context, ref: str, source_path: str, box_path: str, options: CopyOptions) -> None:
    source = await asyncio.to_thread(_host_source, source_path, options)
    path = os.path.realpath(source_path) if _follows(source_path, options) else source_path
    async with _files(context, ref) as (record, session):
        place, kind = await _place_in_box(session, source, box_path)
        header = await _header(context, record, session, place, options)
        bridge = Bridge()
        report = _reporter(context, Path(path).name)

        def work() -> None:
            with_top = bool(source.name) or kind is TargetKind.MISSING
            try:
                pack(
                    BridgeWriter(bridge),
                    path,
                    place.name or ".",
                    with_top=with_top,
                    keep_owner=options.keep_owner,
                    on_bytes=report,
                )
            finally:
                bridge.put(b"")

        async with _beside(bridge, work) as failure:
            await upload(session, header, _checked(bridge.chunks(), failure))
        await context.store.record_event(record, EventKind.COPIED_IN, path=box_path)


async def copy_out(context: Context, ref: str, box_path: str, target: str, options: CopyOptions) -> None:
    """Copy a file or directory of a box to the host. Raises NotFoundError when it is not there."""
    await outliving(
        context, (ref,), lambda: _copy_out(context, ref, box_path, target, options), options=options
    )


async def _copy_out(context: Context, ref: str, box_path: str, target: str, options: CopyOptions) -> None:
    async with _files(context, ref) as (record, session):
        found, source = await _box_source(session, box_path, options)
        place = choose_destination(source, target, await asyncio.to_thread(_host_kind, target))
        top_fd = await asyncio.to_thread(_open_directory, place.directory)
        bridge = Bridge()
        unpacker = Unpacker(
            top_fd,
            place=place.directory,
            wire_name=WIRE_NAME if source.name else "",
            name=place.name,
            overwrite=options.overwrite,
            keep_owner=options.keep_owner,
            on_bytes=_reporter(context, source.name or source.path),
        )
        try:
            async with _beside(bridge, lambda: unpacker.unpack(BridgeReader(bridge))) as failure:
                name = WIRE_NAME.encode() if source.name else b"."
                chunks = download(session, found.resolved, name=name, follow_link=False)
                async with contextlib.aclosing(chunks):
                    async for chunk in chunks:
                        if failure.done():
                            break
                        await bridge.send(chunk)
                await bridge.send(b"")
        finally:
            os.close(top_fd)
        await context.store.record_event(record, EventKind.COPIED_OUT, path=box_path)


async def copy_between(
    context: Context, from_ref: str, from_path: str, to_ref: str, to_path: str, options: CopyOptions
) -> None:
    """Copy from one box to another, or within one; the stream passes through this process, not through its disk."""
    await outliving(
        context,
        (from_ref, to_ref),
        lambda: _copy_between(context, from_ref, from_path, to_ref, to_path, options),
        options=options,
    )


async def _copy_between(
    context: Context, from_ref: str, from_path: str, to_ref: str, to_path: str, options: CopyOptions
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        record, session = await stack.enter_async_context(_files(context, from_ref))
        other = await get_box(context, to_ref)
        to_record, to_session = record, session
        if other.id != record.id:
            to_record, to_session = await stack.enter_async_context(_files(context, to_ref))
        found, source = await _box_source(session, from_path, options)
        place, _ = await _place_in_box(to_session, source, to_path)
        header = await _header(context, to_record, to_session, place, options)
        name = os.fsencode(place.name) or b"."
        chunks = download(session, found.resolved, name=name, follow_link=False)
        await upload(to_session, header, chunks)


async def copy_tar_in(
    context: Context, ref: str, source: IO[bytes], box_path: str, options: CopyOptions
) -> None:
    """Extract a tar archive (not compressed) that is read from `source` in a directory of a box, made when missing."""
    async with _files(context, ref) as (record, session):
        place = Destination(directory=box_path, name="")
        header = await _header(context, record, session, place, options)
        await upload(session, header, _chunks_of(source))


async def copy_tar_out(
    context: Context, ref: str, box_path: str, sink: IO[bytes], options: CopyOptions
) -> None:
    """Write a file or directory of a box to `sink` as a tar archive. Raises BrokenPipeError when nobody reads it."""
    written = False

    def note_written() -> None:
        nonlocal written
        written = True

    await outliving(
        context,
        (ref,),
        lambda: _copy_tar_out(context, ref, box_path, sink, options, note_written),
        options=options,
        may_repeat=lambda: not written,
    )


async def _copy_tar_out(
    context: Context,
    ref: str,
    box_path: str,
    sink: IO[bytes],
    options: CopyOptions,
    on_written: Callable[[], None],
) -> None:
    async with _files(context, ref) as (_, session):
        found, source = await _box_source(session, box_path, options)
        name = os.fsencode(source.name) or b"."
        sink.flush()
        fd = _descriptor(sink)
        async for chunk in download(session, found.resolved, name=name, follow_link=False):
            on_written()
            if fd is None:
                await asyncio.to_thread(sink.write, chunk)
            else:
                await write_all(fd, chunk)
        await asyncio.to_thread(sink.flush)


@contextlib.asynccontextmanager
async def _files(context: Context, ref: str) -> AsyncIterator[tuple[BoxRecord, GuestSession]]:
    """A session with a box for its files. One that does not run is woken for them, without its command."""
    record = await get_box(context, ref)
    try:
        async with contextlib.AsyncExitStack() as stack:
            if record.status.is_active:
                session = await stack.enter_async_context(session_with(context, record, "cp"))
            else:
                try:
                    session = await stack.enter_async_context(files_of_box(context, record))
                except InvalidStateError:  # started by somebody while we waited for our turn
                    record = await get_box(context, record.id)
                    session = await stack.enter_async_context(session_with(context, record, "cp"))
            yield record, session
    except BoxliteError as error:
        if error.hint is None:
            error.hint = next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), None)
        raise error.at(box=record.name, operation="cp") from error.__cause__


# ---------------------------------------------------------------- what is where


def _host_source(path: str, options: CopyOptions) -> Source:
    try:
        mode = os.stat(path, follow_symlinks=_follows(path, options)).st_mode  # noqa: PTH116  a last slash counts
    except NotADirectoryError as error:
        raise NotDirectoryError(f"{path} is not a directory") from error
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist on the host") from error
    except OSError as error:
        raise storage_error(error, "looking at") from error
    return _source(path, stat.S_ISDIR(mode), options)


def _follows(path: str, options: CopyOptions) -> bool:
    """Is a source that is a link what it leads to? As the kernel has it, where the path ends in a slash."""
    return options.follow_link or path.endswith(("/", "/."))


def _source(path: str, is_directory: bool, options: CopyOptions) -> Source:
    name = source_name(path, include_parent=options.include_parent or not is_directory)
    return Source(path=path, name=name, is_directory=is_directory)


async def _box_source(session: GuestSession, path: str, options: CopyOptions) -> tuple[BoxFile, Source]:
    absolute = posixpath.join("/", path)
    follow = _follows(path, options)
    found = await stat_file(session, os.fsencode(absolute), follow_link=follow)
    if not found.exists:
        raise NotFoundError(f"{absolute} does not exist in the box")
    if not follow:  # the link itself, in its directory as that is resolved
        plain = absolute.rstrip("/") or "/"
        found = BoxFile(
            exists=True, mode=found.mode, size_bytes=found.size_bytes, resolved=os.fsencode(plain)
        )
    return found, _source(absolute, found.is_directory, options)


def _host_kind(path: str) -> TargetKind:
    if Path(path).is_dir():
        return TargetKind.DIRECTORY
    return TargetKind.FILE if os.path.lexists(path.rstrip("/") or "/") else TargetKind.MISSING


async def _place_in_box(session: GuestSession, source: Source, path: str) -> tuple[Destination, TargetKind]:
    absolute = posixpath.join("/", path)
    found = await stat_file(session, os.fsencode(absolute.rstrip("/") or "/"), follow_link=True)
    kind = TargetKind.MISSING
    if found.exists:
        kind = TargetKind.DIRECTORY if found.is_directory else TargetKind.FILE
    if kind is TargetKind.FILE and not absolute.endswith("/"):
        absolute = os.fsdecode(found.resolved)  # through a link: what it leads to, as Docker does
    return choose_destination(source, absolute, kind), kind


async def _header(
    context: Context, record: BoxRecord, session: GuestSession, place: Destination, options: CopyOptions
) -> wire.UploadHeader:
    uid, gid = (0, 0) if options.keep_owner else await owner_in_box(context, record, session)
    return wire.UploadHeader(
        path=os.fsencode(place.directory),
        make_parents=True,
        overwrite=options.overwrite,
        keep_owner=options.keep_owner,
        uid=uid,
        gid=gid,
        no_dir_overwrite=True,
    )


def _open_directory(path: str) -> int:
    try:
        os.makedirs(path, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotDirectoryError(f"{path} is not a directory") from error
    except OSError as error:
        raise storage_error(error, "opening") from error


# ---------------------------------------------------------------- streams and threads


@contextlib.asynccontextmanager
async def _beside(bridge: Bridge, work: Callable[[], object]) -> AsyncIterator[asyncio.Future[object]]:
    """A thread at the far end of a bridge. Its failure is the cause where both sides fail."""
    thread = asyncio.ensure_future(asyncio.to_thread(work))

    def ended(future: asyncio.Future[object]) -> None:
        if not future.cancelled() and future.exception() is not None:
            bridge.close()

    thread.add_done_callback(ended)
    try:
        yield thread
        await thread
    except BaseException:
        bridge.close()
        with contextlib.suppress(BrokenPipeError):
            await asyncio.shield(thread)
        raise


async def _checked(chunks: AsyncIterator[bytes], thread: asyncio.Future[object]) -> AsyncIterator[bytes]:
    """The chunks a thread makes, then its failure if it had one."""
    async for chunk in chunks:
        yield chunk
    await asyncio.shield(thread)


async def _chunks_of(source: IO[bytes]) -> AsyncIterator[bytes]:
    fd = _descriptor(source)
    if fd is not None:
        async for chunk in read_chunks(fd):
            yield chunk
        return
    while chunk := await asyncio.to_thread(source.read, CHUNK_BYTES):
        yield chunk


def _descriptor(file: IO[bytes]) -> int | None:
    """That of a pipe, socket or terminal: no thread then waits for its other side, and a copy can be broken off meanwhile."""
    try:
        fd = file.fileno()
    except (AttributeError, OSError):  # io.UnsupportedOperation is one
        return None
    return None if stat.S_ISREG(os.fstat(fd).st_mode) else fd


def _reporter(context: Context, item: str) -> Callable[[int], None]:
    """Tell the progress sink how far a copy is, now and then."""
    due = time.monotonic() + REPORT_INTERVAL_S

    def report(done_bytes: int) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + REPORT_INTERVAL_S
            context.progress(Progress(stage="copy", item=item, done=done_bytes))

    return report
