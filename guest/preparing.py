"""From what the host asked for to what a container is: its files, its mounts, its process, its configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guest.devices import find_devices
from guest.imagefiles import check_working_dir, find_image_user, is_mounted
from guest.init_process import with_init_process
from guest.mounts import MS_NODEV, MS_NOSUID, mount
from guest.oci import (
    ALL_CAPABILITIES,
    DEFAULT_SHM_BYTES,
    BindMount,
    ContainerSpec,
    ProcessSpec,
    build_config,
    default_env,
    merge_env,
)
from guest.requests import ContainerRequest, Identity
from guest.rootfs import exists_in_root, make_directories_in_root
from guest.trust import trust
from guest.wire.constants import SHARE_TAG

_IDENTITY_DIR = "etc"
_IDENTITY_BYTES = 4 << 20
_SHARE_OPTIONS = "trans=virtio,version=9p2000.L,msize=512000,cache=mmap,access=client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The main command, and the configuration of the container it runs in."""

    process: ProcessSpec
    config: dict[str, Any]


def prepare(work_dir: Path, rootfs: Path, identity: Identity, request: ContainerRequest) -> Prepared:
    """Put into the mounted root what the container needs there. Raises GuestError for what the image lacks, OSError."""
    root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY)
    try:
        if request.create_working_dir:
            make_directories_in_root(root_fd, request.working_dir)
        if not is_mounted(request.working_dir, request):
            check_working_dir(root_fd, request.working_dir)
        user = find_image_user(root_fd, request.user)
        trusted = trust(root_fd, request.ca_certificates, request.env)
        machine_id = exists_in_root(root_fd, "/etc")
    finally:
        os.close(root_fd)
    share = share_of(work_dir)
    if any(bind.source.startswith(str(share)) for bind in request.binds):
        share.mkdir(exist_ok=True)
        mount(SHARE_TAG, str(share), "9p", MS_NOSUID | MS_NODEV, _SHARE_OPTIONS)
    argv, binds = request.argv, request.binds
    if request.init_process:
        argv, init = with_init_process(argv)
        binds = (*binds, init)
    process = ProcessSpec(
        argv=argv,
        env=merge_env(
            default_env(hostname=identity.hostname, home=user.home, tty=request.tty), trusted, request.env
        ),
        working_dir=request.working_dir,
        user=user,
        tty=request.tty,
        capabilities=ALL_CAPABILITIES if request.privileged else request.capabilities,
        rlimits=request.rlimits,
        no_new_privileges=request.no_new_privileges,
        rows=request.rows,
        cols=request.cols,
    )
    spec = ContainerSpec(
        process=process,
        rootfs=str(rootfs),
        hostname=identity.hostname,
        mounts=(*_identity_mounts(work_dir, identity, machine_id=machine_id), *binds, *request.tmpfs),
        read_only=request.read_only,
        privileged=request.privileged,
        shm_bytes=request.shm_bytes or DEFAULT_SHM_BYTES,
        devices=tuple(find_devices()) if request.privileged else (),
        seccomp_filter=request.seccomp_filter,
    )
    return Prepared(process=process, config=build_config(spec))


def share_of(work_dir: Path) -> Path:
    """Where the shared directory is mounted in the machine."""
    return work_dir / "share"


def make_identity_dir(work_dir: Path) -> None:
    """A file system of its own for the files that the container may write to: one that fills it has filled nothing else."""
    folder = work_dir / _IDENTITY_DIR
    folder.mkdir(exist_ok=True)
    mount("tmpfs", str(folder), "tmpfs", MS_NOSUID | MS_NODEV, f"size={_IDENTITY_BYTES},mode=755")


def _identity_mounts(work_dir: Path, identity: Identity, *, machine_id: bool) -> tuple[BindMount, ...]:
    folder = work_dir / _IDENTITY_DIR
    files = {
        "/etc/hostname": f"{identity.hostname}\n",
        "/etc/hosts": identity.hosts,
        "/etc/resolv.conf": identity.resolv,
    }
    if machine_id and identity.machine_id:
        files["/etc/machine-id"] = f"{identity.machine_id}\n"
    binds = []
    for target, text in files.items():
        source = folder / Path(target).name
        source.write_text(text)
        binds.append(BindMount(source=str(source), target=target))
    return tuple(binds)
