"""A blob on its way: what has come of it, hashed as it comes, kept across interruptions."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from engine.errors import ImageError
from engine.images.manifest import Descriptor

_CHUNK_BYTES = 1 << 20


class PartialBlob:
    """The file that `blob` grows in. `held_bytes` is how much of it is there."""

    def __init__(self, blob: Descriptor, file: FileIO) -> None:
        self._blob = blob
        self._file = file
        self._digest = hashlib.new(blob.digest.partition(":")[0])
        self.held_bytes = 0
        file.seek(0)
        while piece := file.read(_CHUNK_BYTES):
            self._digest.update(piece)
            self.held_bytes += len(piece)
        if self.held_bytes > blob.size_bytes:
            self.restart()

    def restart(self) -> None:
        """Throw away what is held."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.new(self._digest.name)
        self.held_bytes = 0

    def append(self, piece: bytes, what: str) -> None:
        """Raise ImageError when it becomes longer than the manifest says."""
        self.held_bytes += len(piece)
        if self.held_bytes > self._blob.size_bytes:
            raise ImageError(f"{what} is longer than the {self._blob.size_bytes} bytes its manifest says")
        self._digest.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]

    @property
    def is_complete(self) -> bool:
        return self.held_bytes == self._blob.size_bytes

    def check(self, what: str) -> None:
        """Raise ImageError unless what is held is the blob."""
        actual = f"{self._digest.name}:{self._digest.hexdigest()}"
        if actual != self._blob.digest:
            raise ImageError(
                f"{what} has the digest {actual}",
                hint="the registry or something on the way changed it; try another registry or tell its operator",
            )


@contextlib.contextmanager
def open_partial(blob: Descriptor, path: Path) -> Iterator[PartialBlob]:
    """Go on with the blob in `path`. The file stays, unless what is in it turns out to be wrong."""
    with path.open("a+b", buffering=0) as file:  # what was appended is there for others to read
        try:
            yield PartialBlob(blob, file)
        except ImageError:
            path.unlink(missing_ok=True)
            raise
