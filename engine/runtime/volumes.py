"""Volumes: directories of the home that boxes mount by name, with whatever has become of those made for one box alone.

    volumes/named/NAME/volume.json      name, labels, when it was made
    volumes/named/NAME/data/            what boxes see
    volumes/anonymous/BOX/N/            the N-th volume of a box, known as BOX.N

One is made in a temporary place and renamed, and leaves in one step, so that it is whole or not there.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import InvalidArgumentError, InvalidStateError, MetadataError, NotFoundError
from engine.fsutil import discard_tree, disk_usage_bytes, hold_lock, remove_tree, storage_error
from engine.layout import Layout
from engine.model import BoxRecord, VolumeKind, VolumeSpec
from engine.model.volume import VOLUME_NAME_PATTERN, Volume
from engine.names import did_you_mean
from engine.runtime.context import Context
from engine.runtime.records import list_boxes

SCHEMA = 1


class VolumeLibrary:
    """All volumes of one home. Raises NotFoundError for a name that none has."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(self, name: str | None = None, *, labels: Mapping[str, str] | None = None) -> Volume:
        """Make a volume; one of that name that is there is left as it is, whatever its labels. No name: one of 64
        random hexadecimal digits."""
        chosen = secrets.token_hex(32) if name is None else _checked(name)
        async with hold_lock(self._context.layout.locks_dir / "volumes.lock"):
            await asyncio.to_thread(_make, self._context.layout, chosen, dict(labels or {}))
        return await self.get(chosen)

    async def list(self) -> Sequence[Volume]:
        """By name, the anonymous ones last."""
        records = await list_boxes(self._context, include_inactive=True)
        return await asyncio.to_thread(lambda: list(_find_all(self._context.layout, records)))

    async def get(self, name: str) -> Volume:
        found = next((volume for volume in await self.list() if volume.name == name), None)
        if found is None:
            raise _not_found(self._context.layout, name, "`boxlite volume ls` shows those there are")
        return found

    async def remove(self, name: str) -> Volume:
        """Delete a volume with everything in it. Raises InvalidStateError while a box mounts it, also one that does not
        run."""
        async with hold_lock(self._context.layout.locks_dir / "volumes.lock"):
            volume = await self.get(name)
            if volume.used_by:
                raise InvalidStateError(
                    f"volume {name!r} is mounted by {_listed(volume.used_by)}",
                    hint=f"remove what mounts it first: boxlite rm {' '.join(volume.used_by)}",
                    operation="volume rm",
                )
            await asyncio.to_thread(_discard, self._context.layout, volume)
        return volume

    async def prune(
        self, volumes: Iterable[Volume], *, dry_run: bool = False
    ) -> Sequence[tuple[Volume, int]]:
        """Remove those of the volumes that no box mounts by now; which went, or with `dry_run` would, and what each took."""
        gone = []
        for volume in volumes:
            size_bytes = await self.size_bytes(volume)
            if not dry_run:
                try:
                    await self.remove(volume.name)
                except (NotFoundError, InvalidStateError):
                    continue  # somebody else was faster, or has come to need it
            elif volume.used_by:
                continue
            gone.append((volume, size_bytes))
        return gone

    async def size_bytes(self, volume: Volume) -> int:
        """What it takes on disk."""
        return await asyncio.to_thread(disk_usage_bytes, Path(volume.path))


def volume_dir(layout: Layout, name: str) -> Path:
    """Where the files of a volume are. Raises NotFoundError."""
    if VOLUME_NAME_PATTERN.fullmatch(name):
        path = layout.named_volume(name) / "data"
        if path.is_dir():
            return path
        box_id, dot, number = name.rpartition(".")
        path = layout.anonymous_volumes(box_id) / number
        if dot and number.isdigit() and path.is_dir():
            return path
    raise _not_found(
        layout,
        name,
        f"make it (boxlite volume create {name}), or for a directory of the host give its path: -v ./DIR:/PATH"
        if VOLUME_NAME_PATTERN.fullmatch(name)
        else "`boxlite volume ls` shows those there are",
    )


def check_volumes(layout: Layout, volumes: Iterable[VolumeSpec]) -> None:
    """Raises NotFoundError for a named volume that is not there: none is made by being mounted."""
    for volume in volumes:
        if volume.kind is VolumeKind.NAMED:
            volume_dir(layout, volume.source or "")


def _not_found(layout: Layout, name: str, otherwise: str) -> NotFoundError:
    """The hint names a volume that is called nearly so, and what else to do."""
    try:
        names = [path.name for path in layout.named_volumes_dir.iterdir()]
    except OSError:
        names = []
    return NotFoundError(f"volume {name!r} not found", hint=did_you_mean(name, names, otherwise))


def _checked(name: str) -> str:
    if not VOLUME_NAME_PATTERN.fullmatch(name):
        raise InvalidArgumentError(f"volume name {name!r} is not two or more letters, digits, _ . -")
    return name


def _make(layout: Layout, name: str, labels: dict[str, str]) -> None:
    place = layout.named_volume(name)
    if place.is_dir():
        return
    scratch = layout.tmp_dir / f"volume-{secrets.token_hex(8)}"
    document = {
        "schema": SCHEMA,
        "name": name,
        "labels": labels,
        "created_at": datetime.now(UTC).isoformat(),
    }
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (scratch / "data").mkdir(parents=True)
        (scratch / "data").chmod(0o777)  # whoever a box's commands run as; on the host the home is closed
        scratch.chmod(0o700)
        (scratch / "volume.json").write_text(json.dumps(document))
        scratch.rename(place)
    except OSError as error:
        remove_tree(scratch)
        raise storage_error(error, "creating") from error


def _discard(layout: Layout, volume: Volume) -> None:
    if volume.is_anonymous:
        discard_tree(Path(volume.path), layout.tmp_dir)
        parent = Path(volume.path).parent
        if not any(parent.iterdir()):
            remove_tree(parent)
    else:
        discard_tree(layout.named_volume(volume.name), layout.tmp_dir)


def _find_all(layout: Layout, records: Sequence[BoxRecord]) -> Iterable[Volume]:
    users: dict[str, list[str]] = {}
    names = {record.id: record.name for record in records}
    for record in records:
        for number, volume in enumerate(record.spec.volumes):
            if volume.kind is VolumeKind.NAMED:
                users.setdefault(volume.source or "", []).append(record.name)
            elif volume.kind is VolumeKind.ANONYMOUS:
                users.setdefault(f"{record.id}.{number}", []).append(names[record.id])
    for place in _entries(layout.named_volumes_dir):
        yield _read(place, users)
    for box in _entries(layout.anonymous_volumes_dir):
        for place in _entries(box):
            name = f"{box.name}.{place.name}"
            yield Volume(
                name=name,
                path=str(place),
                created_at=datetime.fromtimestamp(box.stat().st_mtime, UTC),
                is_anonymous=True,
                used_by=tuple(dict.fromkeys(users.get(name, ()))),
            )


def _read(place: Path, users: Mapping[str, Sequence[str]]) -> Volume:
    try:
        document = json.loads((place / "volume.json").read_bytes())
        if document["schema"] > SCHEMA:
            raise MetadataError(
                f"volume {place.name} was made by a newer boxlite", hint="use that one, or remove the volume"
            )
        return Volume(
            name=place.name,
            path=str(place / "data"),
            created_at=datetime.fromisoformat(document["created_at"]),
            labels=dict(document["labels"]),
            used_by=tuple(dict.fromkeys(users.get(place.name, ()))),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetadataError(
            f"{place / 'volume.json'} cannot be read: {error}",
            hint=f"what the volume holds is in {place / 'data'}",
        ) from error


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"box {shown}" if len(names) == 1 else f"boxes {shown}"
