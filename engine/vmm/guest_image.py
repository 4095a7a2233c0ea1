"""The guest image: kernel, initramfs and root file system of every machine, addressed by what they hold.

The parts from Debian are made once per list of inputs and kept (`guest/debian-KEY/`). The agent's own code is a second
archive behind the first in the initramfs: changing it takes no package, no mmdebstrap and no new root.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from engine.errors import MetadataError
from engine.fsutil import locked, scratch_dir, storage_error, write_atomic
from engine.layout import Layout
from engine.progress import Progress, ProgressSink, ignore_progress
from engine.values import dataclass
from engine.vmm.cpio import CpioEntry, build_cpio, directory, regular_file
from engine.vmm.guest_root import (
    DebianParts,
    build_debian_tar,
    debian_arch,
    make_root_image,
    root_inputs_digest,
    split_tar,
)
from engine.vmm.kernel_modules import BOX_MODULES, ROOT_MODULES, load_modules

GUEST_FORMAT = 1
KERNEL_NAME = "vmlinuz"
INITRAMFS_NAME = "initramfs"
ROOT_NAME = "root.img"
METADATA_NAME = "guest.json"
CURRENT_NAME = "current"
_DEBIAN_INITRAMFS = "debian.cpio"
_AGENT_SUFFIXES = (".py",)
_STAGE = "guest-image"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """One guest image on disk. `digest` is 64 hex digits over format and contents; `inputs` names what it was made of."""

    digest: str
    inputs: str
    kernel_path: Path
    initramfs_path: Path
    root_path: Path

    @property
    def size_bytes(self) -> int:
        return sum(p.stat().st_size for p in (self.kernel_path, self.initramfs_path, self.root_path))


def find_guest_image(layout: Layout) -> GuestImage | None:
    """The guest image in use, or None when there is none (or only part of one)."""
    try:
        digest = (layout.guest_dir / CURRENT_NAME).read_text().strip()
        return load_guest_image(layout.guest_dir / digest) if digest else None
    except FileNotFoundError:
        return None


def load_guest_image(folder: Path) -> GuestImage:
    """Open the guest image in `folder`. Raises FileNotFoundError, or MetadataError when its description is not ours or
    a file has another size than it says."""
    try:
        metadata = json.loads((folder / METADATA_NAME).read_bytes())
        if metadata["format"] != GUEST_FORMAT:
            raise MetadataError(
                f"the guest image {folder.name} has the format {metadata['format']}, not {GUEST_FORMAT}"
            )
        for name, size in metadata["sizes"].items():
            if (folder / name).stat().st_size != size:
                raise MetadataError(f"{name} of the guest image {folder.name} is not complete")
        digest, inputs = str(metadata["digest"]), str(metadata["inputs"])
    except (KeyError, TypeError, ValueError) as error:
        raise MetadataError(
            f"the guest image {folder.name} has an unreadable {METADATA_NAME}: {error}"
        ) from error
    return GuestImage(
        digest=digest,
        inputs=inputs,
        kernel_path=folder / KERNEL_NAME,
        initramfs_path=folder / INITRAMFS_NAME,
        root_path=folder / ROOT_NAME,
    )


def verify_guest_image(image: GuestImage) -> None:
    """Raises MetadataError when the files do not hold what the digest says, or were made for another version of this
    program. Reads them whole."""
    found = _content_digest(image.kernel_path.parent)
    if found != image.digest:
        raise MetadataError(
            f"the guest image says it is {image.digest[:12]}, but its content is {found[:12]}"
        )
    if image.inputs != guest_inputs():
        raise MetadataError(
            f"the guest image {image.digest[:12]} was made for another version of boxlite",
            hint="take the guest image of this version, or build one: `boxlite system setup`",
        )


def guest_inputs() -> str:
    """Digest of what a guest image built now would be made of: packages, init script, agent. 64 hex digits."""
    digest = hashlib.sha256(f"{GUEST_FORMAT} {root_inputs_digest(debian_arch())}\n".encode())
    for entry in _agent_entries():
        digest.update(f"{entry.path} {entry.mode:o} {len(entry.content)}\n".encode() + entry.content)
    return digest.hexdigest()


async def build_guest_image(
    layout: Layout, *, progress: ProgressSink = ignore_progress, force: bool = False
) -> GuestImage:
    """Return the guest image of this version, building what is missing, and make it the one in use. With `force` it is put
    together again, from the Debian packages that were fetched once, and takes the place of what is there.

    Cheap when it is there. Several processes may call it at once. Raises UnsupportedError (no mmdebstrap, e2fsprogs or
    unknown architecture), ProcessFailedError (no network, no user namespaces), StorageError.
    """
    layout.ensure()
    with await asyncio.to_thread(_lock, layout):
        found = None if force else _find_built(layout)
        if found is None:
            debian = await _ensure_debian(layout, progress)
            progress(Progress(stage=_STAGE, message="adding the agent"))
            found = await asyncio.to_thread(_assemble, layout, debian)
        write_atomic(layout.guest_dir / CURRENT_NAME, f"{found.digest}\n".encode())
        return found


class _lock:  # noqa: N801 - reads as the context manager it is
    """`locked` as an object that one thread may take and another release."""

    def __init__(self, layout: Layout) -> None:
        self._context = locked(layout.locks_dir / "guest-image")
        self._context.__enter__()

    def __enter__(self) -> None:
        return

    def __exit__(self, *exception: object) -> None:
        self._context.__exit__(None, None, None)


def _find_built(layout: Layout) -> GuestImage | None:
    """The image in use, if it was made of what one built now would be made of."""
    try:
        found = find_guest_image(layout)
    except MetadataError:
        return None
    return found if found and found.inputs == guest_inputs() else None


async def _ensure_debian(layout: Layout, progress: ProgressSink) -> Path:
    """The directory with vmlinuz, root.img and the packages' part of the initramfs."""
    arch = debian_arch()
    folder = layout.guest_dir / f"debian-{root_inputs_digest(arch)}"
    if folder.is_dir():
        return folder
    with scratch_dir(layout.tmp_dir, "guest-") as scratch:
        progress(Progress(stage=_STAGE, item="debian", message="fetching Debian packages for the guest"))
        await build_debian_tar(arch, scratch / "debian.tar")
        progress(Progress(stage=_STAGE, item="root", message="making the guest's root file system"))
        parts = await asyncio.to_thread(split_tar, scratch / "debian.tar", scratch / "root.tar")
        made = scratch / "made"
        made.mkdir(mode=0o700)
        await make_root_image(scratch / "root.tar", made / ROOT_NAME)
        (made / KERNEL_NAME).write_bytes(parts.kernel)
        (made / _DEBIAN_INITRAMFS).write_bytes(build_cpio(_debian_entries(parts)))
        _close_to_others(made)
        made.rename(folder)
    return folder


def _close_to_others(directory: Path) -> None:
    for path in directory.iterdir():
        path.chmod(path.stat().st_mode & 0o770)


def _debian_entries(parts: DebianParts) -> Iterator[CpioEntry]:
    for name in ("bin", "dev", "modules", "newroot", "proc", "sys"):
        yield directory(name)
    yield regular_file("bin/busybox", parts.busybox, mode=0o755)
    modules = load_modules((*ROOT_MODULES, *BOX_MODULES), parts.module_files, parts.builtin_modules)
    for name, content in modules.items():
        yield regular_file(f"modules/{name}.ko", content)
    yield regular_file("modules/order", "".join(f"{name}\n" for name in modules).encode())


def _agent_entries() -> Iterator[CpioEntry]:
    """The init script and the agent's code, sorted: the same code gives the same bytes."""
    import guest

    yield regular_file("init", Path(__file__).with_name("guest_init.sh").read_bytes(), mode=0o755)
    source = Path(guest.__path__[0])
    yield directory("agent")
    yield directory("agent/guest")
    for path in sorted(source.rglob("*")):
        relative = f"agent/guest/{path.relative_to(source).as_posix()}"
        if path.name == "__pycache__":
            continue
        if path.is_dir():
            yield directory(relative)
        elif path.suffix in _AGENT_SUFFIXES:
            yield regular_file(relative, path.read_bytes())


def _assemble(layout: Layout, debian: Path) -> GuestImage:
    """Put a guest image together from Debian's parts and the agent, and move it to its place."""
    inputs = guest_inputs()
    with scratch_dir(layout.tmp_dir, "guest-") as scratch:
        made = scratch / "made"
        made.mkdir(mode=0o700)
        try:
            for name in (KERNEL_NAME, ROOT_NAME):
                os.link(debian / name, made / name)
            (made / INITRAMFS_NAME).write_bytes(
                (debian / _DEBIAN_INITRAMFS).read_bytes() + build_cpio(_agent_entries())
            )
            digest = _content_digest(made)
            sizes = {name: (made / name).stat().st_size for name in (KERNEL_NAME, INITRAMFS_NAME, ROOT_NAME)}
            metadata = {
                "format": GUEST_FORMAT,
                "digest": digest,
                "inputs": inputs,
                "arch": debian_arch(),
                "sizes": sizes,
            }
            (made / METADATA_NAME).write_text(json.dumps(metadata, indent=2) + "\n")
            _close_to_others(made)
            folder = layout.guest_dir / digest
            if folder.exists():  # a machine may just be reading it: never without any of its files
                for name in (KERNEL_NAME, INITRAMFS_NAME, ROOT_NAME, METADATA_NAME):
                    (made / name).replace(folder / name)
            else:
                made.rename(folder)
        except OSError as error:
            raise storage_error(error, "assembling the guest image") from error
    return load_guest_image(folder)


def _content_digest(folder: Path) -> str:
    digest = hashlib.sha256(f"{GUEST_FORMAT}\n".encode())
    for name in (KERNEL_NAME, INITRAMFS_NAME, ROOT_NAME):
        with (folder / name).open("rb") as file:
            digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
