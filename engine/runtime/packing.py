"""Files of the host as a tar stream."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.fsutil import storage_error
from guest.wire.tarpack import TreePacker, attributes_of_users, every_attribute

if TYPE_CHECKING:
    from engine.runtime.bridge import BridgeWriter


def pack(
    sink: BridgeWriter,
    path: str,
    name: str,
    *,
    with_top: bool,
    keep_owner: bool,
    on_bytes: Callable[[int], None],
) -> None:
    """Write `path` (a link is not followed) and what is below it, the top entry called `name`; without that entry
    unless `with_top`. Attributes that give rights go along with owners only. Sockets are left out. Raises members of
    BoxliteError only, except BrokenPipeError from `sink`."""
    keeps = every_attribute if keep_owner else attributes_of_users
    packer = TreePacker(sink, keeps=keeps, on_bytes=on_bytes)
    try:
        packer.pack(os.fsencode(path), os.fsencode(name), with_top=with_top)
        packer.finish()
        sink.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise storage_error(error, "copying") from error
