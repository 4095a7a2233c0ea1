"""Volumes on the host's side: which of its files and directories a box is shown, and where in the shared directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from engine.errors import InvalidArgumentError, NotFoundError, UnsupportedError
from engine.fsutil import storage_error
from engine.layout import Layout
from engine.model import BoxRecord, VolumeKind, VolumeSpec
from engine.vmm.spec import Share
from guest.wire import portal_pb2 as wire


def shares_of(layout: Layout, record: BoxRecord) -> tuple[Share, ...]:
    """What the jail binds into the box's shared directory, the n-th at `n`. Anonymous volumes are made here.

    Raises NotFoundError for a path or volume that is not there, UnsupportedError for a box without a jail: the jail is what
    binds them.
    """
    shares = []
    for number, volume in enumerate(record.spec.volumes):
        if volume.kind is VolumeKind.TMPFS:
            continue
        if not record.spec.security.jailer_enabled:
            raise UnsupportedError(
                f"a volume at {volume.target} without a jail",
                hint="leave out --security disabled, or the volume",
            )
        source = _source(layout, record, volume, number)
        shares.append(Share(source=str(source), name=str(number), read_only=volume.read_only))
    return tuple(shares)


def _source(layout: Layout, record: BoxRecord, volume: VolumeSpec, number: int) -> Path:
    if volume.kind is VolumeKind.ANONYMOUS:
        path = layout.anonymous_volumes(record.id) / str(number)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o777)  # whoever the box's commands run as; on the host the home is closed
        except OSError as error:
            raise storage_error(error, "creating") from error
        return path
    assert volume.source is not None
    if volume.kind is VolumeKind.NAMED:
        from engine.runtime.volumes import volume_dir

        return volume_dir(layout, volume.source)
    path = Path(volume.source)
    if not path.exists():
        raise NotFoundError(f"volume host path {volume.source} does not exist")
    resolved = path.resolve()
    if not (resolved.is_dir() or resolved.is_file()):
        raise InvalidArgumentError(f"volume host path {volume.source} is neither a directory nor a file")
    return resolved


def mounts_of(volumes: Sequence[VolumeSpec], shares: Sequence[Share]) -> list[wire.Mount]:
    """The same, as the agent is told. A volume of ours that is empty gets what the image has at its place."""
    files = {share.name for share in shares if Path(share.source).is_file()}
    empty = {share.name for share in shares if share.name not in files and not any(os.scandir(share.source))}
    mounts = []
    for number, volume in enumerate(volumes):
        if volume.kind is VolumeKind.TMPFS:
            mounts.append(
                wire.Mount(
                    kind=wire.Mount.TMPFS,
                    target=volume.target,
                    tmpfs_size_bytes=volume.tmpfs_size_bytes or 0,
                    tmpfs_mode=volume.tmpfs_mode or 0,
                    tmpfs_exec=volume.tmpfs_exec,
                    read_only=volume.read_only,
                )
            )
        else:
            mounts.append(
                wire.Mount(
                    kind=wire.Mount.SHARE,
                    target=volume.target,
                    share_path=str(number),
                    read_only=volume.read_only,
                    is_file=str(number) in files,
                    fill=volume.kind is not VolumeKind.BIND
                    and not (volume.read_only or volume.no_copy)
                    and str(number) in empty,
                )
            )
    return mounts
