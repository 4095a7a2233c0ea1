"""The files of a box, one by one: read, written, listed, changed, without a command in the box.

Paths count from `/` and are resolved inside the box, so that no link there leads out of it. `user` (`name|uid[:group|gid]`) is
whose rights count; None: whom the box's commands run as.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import IO, TYPE_CHECKING

from engine.errors import (
    BoxliteError,
    DeniedError,
    InvalidArgumentError,
    ReadOnlyError,
    ResourceExhaustedError,
)
from engine.model.files import FileInfo
from guest.wire import portal_pb2 as wire

if TYPE_CHECKING:
    from engine.portal.session import GuestSession
    from engine.runtime.link import BoxLink

MAX_READ_BYTES = 256 * 1024 * 1024
"""How long a file `read_file` takes into memory unless told otherwise."""
_CHUNK_BYTES = 256 * 1024

Content = bytes | str | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes]


class BoxFiles:
    """The file operations of a box, for a class that has its link.

    They work while the box runs anything. A box that does not run is started if it has no command of its own; one that
    has is woken for each call without running it. Every method raises members of BoxliteError with the box and operation in
    them: NotFoundError, AlreadyExistsError, IsDirectoryError, NotDirectoryError, DirectoryNotEmptyError, DeniedError and
    its kind ReadOnlyError, ResourceExhaustedError when no space is left.
    """

    def _file_link(self) -> BoxLink:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def _session(self, operation: str) -> AsyncIterator[GuestSession]:
        link = self._file_link()
        try:
            async with link.files(operation) as session:
                yield session
        except BoxliteError as error:
            error.operation = operation
            raise _with_hint(await link.explain(error, operation)) from error.__cause__

    async def read_file(
        self,
        path: str,
        *,
        offset: int = 0,
        size: int | None = None,
        user: str | None = None,
        max_bytes: int = MAX_READ_BYTES,
    ) -> bytes:
        """A regular file's bytes from `offset` on, at most `size` of them. Raises ResourceExhaustedError for more than
        `max_bytes`: use `iter_file`."""
        content = bytearray()
        async with self._session("read_file") as session:
            async for chunk in _read(session, path, offset, size, user):
                content += chunk
                if len(content) > max_bytes:
                    raise ResourceExhaustedError(
                        f"{path}: longer than {max_bytes} bytes",
                        hint="read it in pieces with iter_file, or raise max_bytes",
                    )
        return bytes(content)

    async def read_text(self, path: str, *, encoding: str = "utf-8", user: str | None = None) -> str:
        """The same as text. Raises UnicodeDecodeError for bytes that are none in that encoding."""
        return (await self.read_file(path, user=user)).decode(encoding)

    async def iter_file(
        self, path: str, *, offset: int = 0, size: int | None = None, user: str | None = None
    ) -> AsyncIterator[bytes]:
        """A regular file's bytes in pieces of up to 256 KiB; a reader that is slow holds the box back."""
        async with self._session("iter_file") as session:
            async for chunk in _read(session, path, offset, size, user):
                yield chunk

    async def write_file(
        self,
        path: str,
        content: Content,
        *,
        mode: int | None = None,
        user: str | None = None,
        overwrite: bool = True,
        make_parents: bool = False,
    ) -> int:
        """Make a file of bytes, of text (as UTF-8), of a file open for reading, or of anything that gives bytes piece by
        piece; how many bytes that was.

        A file that is there is replaced in one step once everything has come, and keeps its mode (unless `mode` says
        another) and owner: nobody ever sees a part, and after a failure it is what it was. (A file that is a mount of its
        own, as /etc/hosts, or whose directory `user` may not write to, is written in place.) With `overwrite` False
        one that is there is AlreadyExistsError. A new file belongs to `user`, mode 0644.
        """
        kind = wire.WriteHeader.REPLACE if overwrite else wire.WriteHeader.CREATE
        return await self._write("write_file", path, content, kind, mode, user, make_parents)

    async def append_file(
        self,
        path: str,
        content: Content,
        *,
        mode: int | None = None,
        user: str | None = None,
        make_parents: bool = False,
    ) -> int:
        """Add to the end of a file, which is made when missing; how many bytes that was."""
        return await self._write(
            "append_file", path, content, wire.WriteHeader.APPEND, mode, user, make_parents
        )

    async def _write(
        self,
        operation: str,
        path: str,
        content: Content,
        kind: wire.WriteHeader.Kind,
        mode: int | None,
        user: str | None,
        make_parents: bool,
    ) -> int:
        from engine.portal.fileops import write_chunks

        header = wire.WriteHeader(
            path=_encoded(path),
            user=user or "",
            kind=kind,
            mode=0 if mode is None else _mode(mode) + 1,
            make_parents=make_parents,
        )
        async with self._session(operation) as session:
            return await write_chunks(session, header, _pieces(content))

    async def list_dir(self, path: str = "/", *, user: str | None = None) -> list[FileInfo]:
        """What a directory holds, sorted by name; links as they are, not followed."""
        from engine.portal.fileops import list_files

        async with self._session("list_dir") as session:
            return await list_files(session, _checked(path), user=user or "", is_pattern=False)

    async def glob(self, pattern: str, *, user: str | None = None) -> list[FileInfo]:
        """What matches a shell pattern: `*`, `?`, `[…]`, and `**` for any directories. A leading dot must be written out,
        and `**` follows no links. Nothing matches what `user` may not read."""
        from engine.portal.fileops import list_files

        async with self._session("glob") as session:
            return await list_files(session, _checked(pattern), user=user or "", is_pattern=True)

    async def stat(self, path: str, *, follow_links: bool = True, user: str | None = None) -> FileInfo:
        """What a path is."""
        from engine.portal.fileops import get_file

        async with self._session("stat") as session:
            return await get_file(session, _checked(path), user=user or "", follow_links=follow_links)

    async def exists(self, path: str, *, follow_links: bool = True, user: str | None = None) -> bool:
        """Is something there? A link that leads nowhere is not, unless `follow_links` is False."""
        from engine.portal.fileops import find_file

        async with self._session("exists") as session:
            found = await find_file(session, _checked(path), user=user or "", follow_links=follow_links)
        return found is not None

    async def mkdir(
        self,
        path: str,
        *,
        mode: int = 0o755,
        parents: bool = False,
        exist_ok: bool = False,
        user: str | None = None,
    ) -> None:
        """Make a directory; with `parents` those above it too."""
        wanted = wire.ChangeRequest.MakeDirectory(mode=_mode(mode), parents=parents, exist_ok=exist_ok)
        await self._change("mkdir", wire.ChangeRequest(make_directory=wanted), path, user)

    async def remove_file(
        self, path: str, *, recursive: bool = False, missing_ok: bool = False, user: str | None = None
    ) -> None:
        """Remove a file, a link, an empty directory, or with `recursive` a directory with all that is in it."""
        wanted = wire.ChangeRequest.Remove(recursive=recursive, missing_ok=missing_ok)
        await self._change("remove_file", wire.ChangeRequest(remove=wanted), path, user)

    async def rename_file(
        self, path: str, target: str, *, overwrite: bool = True, user: str | None = None
    ) -> None:
        """Give a file or directory another path, in one step. Raises UnsupportedError where that lies in another mount."""
        wanted = wire.ChangeRequest.Rename(target=_encoded(target), overwrite=overwrite)
        await self._change("rename_file", wire.ChangeRequest(rename=wanted), path, user)

    async def chmod(self, path: str, mode: int, *, recursive: bool = False, user: str | None = None) -> None:
        """Set the permission bits (0o755)."""
        wanted = wire.ChangeRequest.ChangeMode(mode=_mode(mode), recursive=recursive)
        await self._change("chmod", wire.ChangeRequest(change_mode=wanted), path, user)

    async def chown(
        self, path: str, owner: str, *, recursive: bool = False, user: str | None = "root"
    ) -> None:
        """Set owner and group: `name|uid[:group|gid]`, names as the box has them, without a group the owner's own. Done by root
        unless `user` says otherwise."""
        if not owner:
            raise InvalidArgumentError("the owner is empty", operation="chown")
        wanted = wire.ChangeRequest.ChangeOwner(owner=owner, recursive=recursive)
        await self._change("chown", wire.ChangeRequest(change_owner=wanted), path, user)

    async def _change(self, operation: str, request: wire.ChangeRequest, path: str, user: str | None) -> None:
        from engine.portal.fileops import change_file

        request.path, request.user = _encoded(path), user or ""
        async with self._session(operation) as session:
            await change_file(session, request, operation)


def _read(
    session: GuestSession, path: str, offset: int, size: int | None, user: str | None
) -> AsyncIterator[bytes]:
    from engine.portal.fileops import read_chunks

    if offset < 0 or (size is not None and size < 0):
        raise InvalidArgumentError(f"{path}: offset and size must not be negative")
    return read_chunks(session, _checked(path), user=user or "", offset=offset, size=size)


async def _pieces(content: Content) -> AsyncIterator[bytes]:
    """Whatever a caller gives, as pieces of bytes; what blocks is read in a thread."""
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes | bytearray | memoryview):
        yield bytes(content)
    elif isinstance(content, AsyncIterable):
        async for piece in content:
            yield piece
    elif hasattr(content, "read"):
        while piece := await asyncio.to_thread(content.read, _CHUNK_BYTES):
            if not isinstance(piece, bytes):
                raise InvalidArgumentError("the file to write from is open for text, not for bytes")
            yield piece
    else:
        pieces = iter(content)
        while (following := await asyncio.to_thread(lambda: next(pieces, None))) is not None:
            yield following


def _checked(path: str) -> str:
    if not path or "\0" in path:
        raise InvalidArgumentError(f"path {path!r} is empty or holds a NUL byte")
    return path


def _encoded(path: str) -> bytes:
    return os.fsencode(_checked(path))


def _mode(mode: int) -> int:
    if not 0 <= mode <= 0o7777:
        raise InvalidArgumentError(f"mode {mode:#o} is not between 0 and 0o7777")
    return mode


def _with_hint(error: BoxliteError) -> BoxliteError:
    if isinstance(error, ReadOnlyError):
        error.hint = error.hint or "write to another directory, or mount this one for writing (without :ro)"
    elif isinstance(error, DeniedError):
        error.hint = error.hint or 'do it as another user, for example user="root"'
    elif isinstance(error, ResourceExhaustedError):
        error.hint = error.hint or "free space in the box, or create it with a larger disk"
    return error
