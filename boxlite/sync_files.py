"""The file operations of a box for programs without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from boxlite.background import background, iterate
from engine.runtime.files import MAX_READ_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.model import FileInfo
    from engine.runtime.files import BoxFiles

    SyncContent = bytes | str | IO[bytes] | Iterable[bytes]


class SyncFiles:
    """`BoxFiles`, called plainly."""

    def _async_files(self) -> BoxFiles:
        raise NotImplementedError

    def read_file(
        self,
        path: str,
        *,
        offset: int = 0,
        size: int | None = None,
        user: str | None = None,
        max_bytes: int = MAX_READ_BYTES,
    ) -> bytes:
        """See `Box.read_file`."""
        return background.run(
            self._async_files().read_file(path, offset=offset, size=size, user=user, max_bytes=max_bytes)
        )

    def read_text(self, path: str, *, encoding: str = "utf-8", user: str | None = None) -> str:
        """See `Box.read_text`."""
        return background.run(self._async_files().read_text(path, encoding=encoding, user=user))

    def iter_file(
        self, path: str, *, offset: int = 0, size: int | None = None, user: str | None = None
    ) -> Iterator[bytes]:
        """See `Box.iter_file`."""
        return iterate(self._async_files().iter_file(path, offset=offset, size=size, user=user))

    def write_file(
        self,
        path: str,
        content: SyncContent,
        *,
        mode: int | None = None,
        user: str | None = None,
        overwrite: bool = True,
        make_parents: bool = False,
    ) -> int:
        """See `Box.write_file`."""
        return background.run(
            self._async_files().write_file(
                path, content, mode=mode, user=user, overwrite=overwrite, make_parents=make_parents
            )
        )

    def append_file(
        self,
        path: str,
        content: SyncContent,
        *,
        mode: int | None = None,
        user: str | None = None,
        make_parents: bool = False,
    ) -> int:
        """See `Box.append_file`."""
        return background.run(
            self._async_files().append_file(path, content, mode=mode, user=user, make_parents=make_parents)
        )

    def list_dir(self, path: str = "/", *, user: str | None = None) -> list[FileInfo]:
        """See `Box.list_dir`."""
        return background.run(self._async_files().list_dir(path, user=user))

    def glob(self, pattern: str, *, user: str | None = None) -> list[FileInfo]:
        """See `Box.glob`."""
        return background.run(self._async_files().glob(pattern, user=user))

    def stat(self, path: str, *, follow_links: bool = True, user: str | None = None) -> FileInfo:
        """See `Box.stat`."""
        return background.run(self._async_files().stat(path, follow_links=follow_links, user=user))

    def exists(self, path: str, *, follow_links: bool = True, user: str | None = None) -> bool:
        """See `Box.exists`."""
        return background.run(self._async_files().exists(path, follow_links=follow_links, user=user))

    def mkdir(
        self,
        path: str,
        *,
        mode: int = 0o755,
        parents: bool = False,
        exist_ok: bool = False,
        user: str | None = None,
    ) -> None:
        """See `Box.mkdir`."""
        background.run(
            self._async_files().mkdir(path, mode=mode, parents=parents, exist_ok=exist_ok, user=user)
        )

    def remove_file(
        self, path: str, *, recursive: bool = False, missing_ok: bool = False, user: str | None = None
    ) -> None:
        """See `Box.remove_file`."""
        background.run(
            self._async_files().remove_file(path, recursive=recursive, missing_ok=missing_ok, user=user)
        )

    def rename_file(self, path: str, target: str, *, overwrite: bool = True, user: str | None = None) -> None:
        """See `Box.rename_file`."""
        background.run(self._async_files().rename_file(path, target, overwrite=overwrite, user=user))

    def chmod(self, path: str, mode: int, *, recursive: bool = False, user: str | None = None) -> None:
        """See `Box.chmod`."""
        background.run(self._async_files().chmod(path, mode, recursive=recursive, user=user))

    def chown(self, path: str, owner: str, *, recursive: bool = False, user: str | None = "root") -> None:
        """See `Box.chown`."""
        background.run(self._async_files().chown(path, owner, recursive=recursive, user=user))
