"""Every path under the home directory, in one place.

<home>/                       0700; ~/.boxlite, or BOXLITE_HOME
    version                   layout version, a decimal number
    auth.json                 credentials for registries, 0600
    images/                   OCI image layout: oci-layout, index.json, blobs/sha256/…
    bases/DIGEST-SIZE/        base.ext4, empty.qcow2, base.json: one per image manifest and size
    bases/rootfs-ID-SIZE/     the same, made for a box with --rootfs; goes with its last box
    templates/KEY/            state, memory, template.json
    guest/DIGEST/             vmlinuz, initramfs, root.img, guest.json; `current` names the one in use
    boxes/ID/                 config.json, disk.qcow2, lock, exit.json, head-start, failure.json (of the last start),
                              jail.json (as it is for the machine that runs)
        sockets/              portal-N.sock, portal-N.lock, the same for lane-N, qmp.sock
        logs/                 console.log, output.log, qemu.log, shim.log, network.log
        connections/          connections.log: all that the gateway of a restricted box may write
        mounts/               what the machine sees over 9p
    volumes/                  named/NAME/{volume.json,data/}, anonymous/ID/N/
    db/                       boxes.db, images.db
    locks/                    one file per thing that is built once
    tmp/                      half-made things; anything here may be deleted when nobody holds its lock
    logs/boxlite.log
    jail/                     seccomp filters and other things a jail needs again, by content
    usual-machine…            the machine most boxes have: the next one gets a head start with it; others for boxes with a
                              restricted network, or none
    accel.json                accelerators found not to work, for this boot of the host
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LAYOUT_VERSION = 1
ROOTFS_PREFIX = "rootfs-"
"""How the directories below `bases/` begin that were made from a root file system, not from an image."""


@dataclass(frozen=True, slots=True)
class BoxLayout:
    """Paths of one box."""

    root: Path

    @property
    def config_path(self) -> Path:
        return self.root / "config.json"

    @property
    def disk_path(self) -> Path:
        return self.root / "disk.qcow2"

    @property
    def lock_path(self) -> Path:
        """Held while somebody changes the box (start, stop, remove)."""
        return self.root / "lock"

    @property
    def exit_path(self) -> Path:
        return self.root / "exit.json"

    @property
    def failure_path(self) -> Path:
        """How far the last start that failed came, and why it did."""
        return self.root / "failure.json"

    @property
    def head_start_path(self) -> Path:
        """Says in which directory the box's machine was started, if that was before it was the box's."""
        return self.root / "head-start"

    @property
    def jail_path(self) -> Path:
        """What the machine was confined to at its last start."""
        return self.root / "jail.json"

    @property
    def sockets_dir(self) -> Path:
        return self.root / "sockets"

    def portal_socket(self, port: int) -> Path:
        return self.sockets_dir / f"portal-{port}.sock"

    def lane_socket(self, lane: int) -> Path:
        return self.sockets_dir / f"lane-{lane}.sock"

    def portal_lock(self, port: int) -> Path:
        return self.sockets_dir / f"portal-{port}.lock"

    @property
    def qmp_socket(self) -> Path:
        return self.sockets_dir / "qmp.sock"

    @property
    def shim_socket(self) -> Path:
        return self.sockets_dir / "shim.sock"

    @property
    def logs_dir(self) -> Path:
        return self.root / "logs"

    @property
    def console_log(self) -> Path:
        return self.logs_dir / "console.log"

    @property
    def output_log(self) -> Path:
        """The main command's output, one JSON object a line."""
        return self.logs_dir / "output.log"

    @property
    def qemu_log(self) -> Path:
        return self.logs_dir / "qemu.log"

    @property
    def shim_log(self) -> Path:
        return self.logs_dir / "shim.log"

    @property
    def connections_dir(self) -> Path:
        """The gateway's own: nobody follows a link that lies there."""
        return self.root / "connections"

    @property
    def gvproxy_dir(self) -> Path:
        """The sockets of gvproxy, where that is the box's network process."""
        return self.root / "gvproxy"

    @property
    def connections_log(self) -> Path:
        """What a restricted box tried to reach, one JSON object a line (engine.net.connectionlog)."""
        return self.connections_dir / "connections.log"

    @property
    def mounts_dir(self) -> Path:
        return self.root / "mounts"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one home."""

    home: Path

    @property
    def version_path(self) -> Path:
        return self.home / "version"

    @property
    def images_dir(self) -> Path:
        return self.home / "images"

    def blob_path(self, digest: str) -> Path:
        """Where the blob `ALGORITHM:HEX` lies (OCI image layout). The digest must have been checked."""
        algorithm, _, encoded = digest.partition(":")
        return self.images_dir / "blobs" / algorithm / encoded

    @property
    def bases_dir(self) -> Path:
        return self.home / "bases"

    @property
    def templates_dir(self) -> Path:
        return self.home / "templates"

    @property
    def guest_dir(self) -> Path:
        return self.home / "guest"

    @property
    def boxes_dir(self) -> Path:
        return self.home / "boxes"

    def box(self, box_id: str) -> BoxLayout:
        return BoxLayout(self.boxes_dir / box_id)

    @property
    def volumes_dir(self) -> Path:
        return self.home / "volumes"

    @property
    def named_volumes_dir(self) -> Path:
        return self.volumes_dir / "named"

    def named_volume(self, name: str) -> Path:
        """The name must have been checked."""
        return self.named_volumes_dir / name

    @property
    def anonymous_volumes_dir(self) -> Path:
        return self.volumes_dir / "anonymous"

    def anonymous_volumes(self, box_id: str) -> Path:
        """The volumes that were made for one box alone."""
        return self.anonymous_volumes_dir / box_id

    @property
    def db_dir(self) -> Path:
        return self.home / "db"

    @property
    def boxes_db(self) -> Path:
        return self.db_dir / "boxes.db"

    @property
    def images_db(self) -> Path:
        return self.db_dir / "images.db"

    @property
    def auth_path(self) -> Path:
        """Credentials that `boxlite login` stored, in Docker's format."""
        return self.home / "auth.json"

    @property
    def locks_dir(self) -> Path:
        return self.home / "locks"

    @property
    def tmp_dir(self) -> Path:
        return self.home / "tmp"

    @property
    def log_path(self) -> Path:
        return self.home / "logs" / "boxlite.log"

    @property
    def jail_dir(self) -> Path:
        return self.home / "jail"

    @property
    def accel_path(self) -> Path:
        return self.home / "accel.json"

    def ensure(self) -> None:
        """Make the directories, private to their owner. Idempotent and cheap when they are there."""
        if self.version_path.exists():
            return
        for directory in (
            self.home, self.images_dir, self.bases_dir, self.templates_dir, self.guest_dir, self.boxes_dir,
            self.volumes_dir, self.db_dir, self.locks_dir, self.tmp_dir, self.log_path.parent,
        ):  # fmt: skip
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.version_path.touch(mode=0o600)
        self.version_path.write_text(f"{LAYOUT_VERSION}\n")
