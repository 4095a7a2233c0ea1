"""What QEMU is granted, as data: itself and its libraries, the guest image, the template. A box's disk and base come as descriptors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine import host
from engine.jailer.grants import Grant, Identity, Jail, Limits, device, read, write
from engine.jailer.identity import gives_ids
from engine.jailer.ownership import Claim
from engine.jailer.programs import program_grants
from engine.jailer.syscalls import machine_profile
from engine.model import DEFAULT_DISK_SIZE_GB, Accel, SecurityOptions
from engine.vmm.spec import VmSpec

FIRMWARE_DIRS = ("/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu")
SHARE_INSIDE = "/share"
SPARE_MEMORY_BYTES = 4 << 30
"""What QEMU may map besides the machine's memory: its program, translated code, the stacks of its threads."""
DISK_MARGIN = 1.25
"""How much larger than the disk its overlay can become, which holds tables too."""
LARGEST_USUAL_DISK_BYTES = DEFAULT_DISK_SIZE_GB << 30
"""A machine may be started before it is known which disk it gets, if that is not larger."""


def machine_jail(
    spec: VmSpec, security: SecurityOptions, binary: str, *, identity: Identity | None = None
) -> Jail:
    """The jail of one machine. `identity`: who it becomes, see `claim_identity`."""
    grants: list[Grant] = list(program_grants(binary))
    grants += [read(path, optional=True) for path in FIRMWARE_DIRS]
    grants.append(read(spec.guest.root_path, shared=True))
    if spec.template is None:
        grants += [read(path, shared=True) for path in (spec.guest.kernel_path, spec.guest.initramfs_path)]
    inside = share_inside(spec, security)
    grants.append(read(spec.share_path, target=inside, shared=True))
    for share in spec.shares:
        make = read if share.read_only else write
        grants.append(replace(make(share.source, target=f"{inside}/{share.name}"), foreign=True))
    if spec.template is not None:
        grants += [read(path, shared=True) for path in (spec.template.memory_path, spec.template.state_path)]
    if spec.memory_path is not None:
        grants += [write(str(Path(spec.memory_path).parent)), write(spec.memory_path)]
    if spec.shape.accel is Accel.KVM:
        grants.append(device("/dev/kvm"))
    return Jail(
        grants=tuple(grants),
        enabled=security.jailer_enabled,
        pids=security.new_pid_ns,
        profile_path=security.sandbox_profile,
        network=not security.new_net_ns,
        identity=identity,
        syscalls=machine_profile(
            kvm=spec.shape.accel is Accel.KVM,
            shares=bool(spec.shares) or spec.memory_path is not None,
            anonymous_memory=spec.template is None,
        )
        if security.seccomp_enabled
        else None,
        limits=_limits(spec, security),
    )


def share_inside(spec: VmSpec, security: SecurityOptions) -> str:
    """Where QEMU finds the directory it serves: in a jail always at the same place, so that a machine that is started
    before its box is known needs no other jail."""
    is_mounted = security.jailer_enabled and host.operating_system() == "linux"
    return SHARE_INSIDE if is_mounted else spec.share_path


def make_mountpoints(spec: VmSpec) -> None:
    """Something for each share to be mounted over, in the directory that the machine is shown. Raises OSError."""
    for share in spec.shares:
        place = Path(spec.share_path, share.name)
        if Path(share.source).is_dir():
            place.mkdir(mode=0o700, exist_ok=True)
        else:
            place.touch(mode=0o600)


def claim_identity(security: SecurityOptions) -> Claim | None:
    """Who a machine is to be on the host: a user of its own where root starts it, else the person who does (None). Root
    itself only when asked for by name (`uid=0`)."""
    if not gives_ids() or not security.jailer_enabled or security.uid == 0:
        return None
    return Claim.of(security.uid, security.gid)


def _limits(spec: VmSpec, security: SecurityOptions) -> Limits:
    """What was asked for; where nothing was, what the machine can need at most: the limit is for one that is not QEMU
    any more."""
    memory_bytes = spec.shape.memory_mib << 20
    disk_bytes = max(spec.disk_size_bytes, LARGEST_USUAL_DISK_BYTES)
    largest = max(int(disk_bytes * DISK_MARGIN), memory_bytes)
    return Limits(
        open_files=security.max_open_files,
        file_size_bytes=security.max_file_size_bytes or largest,
        processes=security.max_processes,
        memory_bytes=security.max_memory_bytes or memory_bytes + SPARE_MEMORY_BYTES,
        cpu_time_s=security.max_cpu_time_s,
    )
