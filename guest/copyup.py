"""What an image has where a new volume goes: put into the volume before it is mounted there, as Docker does.

The files of a volume have one owner for all. What in the image belonged to somebody else than root could then not be used by
the one it was for, so that everybody gets the rights its owner had.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path

from guest.rootfs import open_in_root
from guest.tarstream import ExtractOptions, extract_tar
from guest.wire.tarpack import TreePacker, attributes_of_users

_OPTIONS = ExtractOptions(owner=(0, 0), owner_for_all=True)


def fill_volume(rootfs: Path, target: str, volume: str) -> bool:
    """Copy what is at `target` of an image into an empty volume; whether there was anything. All of it, or after a failure
    nothing. Raises OSError."""
    root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY)
    try:
        image_fd = open_in_root(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    finally:
        os.close(root_fd)
    try:
        if not os.listdir(image_fd) or os.listdir(volume):  # another box was faster
            return False
        try:
            _copy(image_fd, os.fsencode(volume))
        except BaseException:
            _empty(volume)
            raise
    finally:
        os.close(image_fd)
    return True


def _copy(image_fd: int, volume: bytes) -> None:
    read_fd, write_fd = os.pipe()
    failures: list[Exception] = []

    def pack() -> None:
        try:
            with open(write_fd, "wb") as sink:
                packer = TreePacker(sink, keeps=attributes_of_users)
                packer.pack(b"/proc/self/fd/%d/." % image_fd, b".", with_top=False)
                packer.finish()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=pack)
    thread.start()
    try:
        with open(read_fd, "rb") as source:
            extract_tar(source, volume, _OPTIONS)
            while source.read(4096):  # what follows the archive's end
                pass
    except OSError as error:
        thread.join()
        raise failures[0] if failures and not isinstance(failures[0], BrokenPipeError) else error from None
    thread.join()
    if failures:
        raise failures[0]


def _empty(volume: str) -> None:
    with contextlib.suppress(OSError):
        for entry in Path(volume).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
