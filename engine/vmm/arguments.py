"""QEMU's argument vector, as a pure function of the machine's spec (golden tests compare it).

The order of `-device` decides where devices sit on the bus, and a saved machine only loads into one with the same
devices at the same places: template and box are made by this one function, which differ only in backends.
Documentation: qemu(1); docs/system/i386/microvm.rst; docs/system/vm-templating.rst.
"""

from __future__ import annotations

from engine.model import MAX_DISK_SIZE_GB, Accel
from engine.vmm.spec import Descriptors, Shape, VmSpec
from guest.wire.constants import (
    BOX_DISK_SERIAL,
    EVENTS_PORT_NAME,
    LANE_PORT_NAME,
    OUTPUT_PORT_NAME,
    PORTAL_PORT_NAME,
    ROOT_DISK_SERIAL,
    SHARE_TAG,
)
from guest.wire.flows import NETWORK_PORT_NAME

TEMPLATE_MAC = "52:54:00:b0:c5:00"
"""The address every restored machine wakes up with; the guest replaces it by its own in its first call."""

MACHINES = {
    "x86_64": "microvm,pcie=on,pit=on,pic=on,rtc=on,isa-serial=on,mem-merge=off",
    "aarch64": "virt,gic-version=max,mem-merge=off",
}
CONSOLES = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
TCG_CPU_MODEL = "max,erms=off,fsrm=off"
"""An emulated `rep movsb` moves one byte a turn. Without the two features that praise it the kernel copies eight bytes at
a time, which makes pipes, files and sockets of a box more than twice as fast (arch/x86/lib/copy_user_64.S)."""

CPU_MODELS = {
    (Accel.KVM, "x86_64"): "host",
    (Accel.KVM, "aarch64"): "host",
    (Accel.HVF, "x86_64"): "host",
    (Accel.HVF, "aarch64"): "host",
    (Accel.TCG, "x86_64"): TCG_CPU_MODEL,
    (Accel.TCG, "aarch64"): "max",
}
BOX_NODE = "box"
BLANK_NODE = "blank"
BLANK_DISK_BYTES = MAX_DISK_SIZE_GB * 1024**3
"""A machine starts with an empty disk as large as any box's may be: a restored kernel still knows its size when it mounts
the box's, and refuses a file system that goes past the end of its device. It learns the real size a moment later."""
MAX_SERIAL_PORTS = 31
"""The serial device alone sits on PCI: on virtio-mmio QEMU offers queues of 1024 entries whatever the device asked for,
and the guest's driver fills each port's with pages, 4 MiB a port that no box can use (hw/virtio/virtio-mmio.c,
VIRTIO_MMIO_QUEUE_NUM_MAX; drivers/char/virtio_console.c, fill_queue)."""
TCG_TRANSLATION_MIB = 128
KERNEL_ARGS = (
    "reboot=t",
    "panic=-1",
    "quiet",
    "loglevel=4",
    "rdinit=/init",
    "mitigations=off",
    "random.trust_cpu=on",
    "audit=0",
    "psi=0",
    "lsm=landlock,yama",
)
"""The last three leave out what nobody in a machine asks and every system call would pay for: the security modules kept are
those that programs can use by themselves."""

TCG_KERNEL_ARGS = ("sysctl.net.core.bpf_jit_enable=0",)
"""Each command of a box loads its filter of system calls anew. To translate it, and to take the translation apart again, costs an
emulated machine more than running it ever does: the kernel knows which calls it allows whatever their arguments are
(kernel/seccomp.c, seccomp_cache_prepare). The agent has its own programs translated all the same (guest/bpf.py)."""


def build_qemu_argv(
    binary: str, spec: VmSpec, fds: Descriptors, *, share_path: str | None = None
) -> tuple[str, ...]:
    """The whole command line for `spec`: cold where `spec.template` is None, else restored from it. `share_path` is where the
    machine's own process finds the shared directory, if not where the host has it. The name says which machine it is."""
    return (
        binary,
        "-name", spec.share_path.replace(",", ",,"),
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        *_machine(spec),
        *_kernel(spec),
        *_channels(fds),
        *_disks(spec),
        *_share(share_path or spec.share_path),
        *_network(spec.shape, fds),
        *_sandbox(spec),
        *_start(spec),
    )  # fmt: skip


def _machine(spec: VmSpec) -> tuple[str, ...]:
    shape = spec.shape
    accel = str(shape.accel)
    if shape.accel is Accel.TCG:
        accel = f"tcg,thread=multi,tb-size={TCG_TRANSLATION_MIB}"
    return (
        "-machine", f"{shape.machine},memory-backend=ram",
        "-accel", accel,
        "-cpu", shape.cpu_model,
        "-smp", str(shape.cpus),
        "-m", f"{shape.memory_mib}M",
        "-object", _memory(spec),
    )  # fmt: skip


def _memory(spec: VmSpec) -> str:
    size = f"size={spec.shape.memory_mib}M"
    if spec.template is not None:
        path = spec.template.memory_path
        return f"memory-backend-file,id=ram,{size},mem-path={path},share=off,readonly=on,rom=off"
    if spec.memory_path is not None:
        return f"memory-backend-file,id=ram,{size},mem-path={spec.memory_path},share=on"
    return f"memory-backend-memfd,id=ram,{size},share=off"


def _kernel(spec: VmSpec) -> tuple[str, ...]:
    """None for a machine that is restored, whose memory holds its kernel: QEMU would read both files (20 MB) into its own
    memory for a boot that never comes, and keep the kernel there."""
    if spec.template is not None:
        return ()
    emulated = TCG_KERNEL_ARGS if spec.shape.accel is Accel.TCG else ()
    words = (f"console={spec.shape.console}", *KERNEL_ARGS, *emulated, *spec.kernel_args)
    return (
        "-kernel", spec.guest.kernel_path,
        "-initrd", spec.guest.initramfs_path,
        "-append", " ".join(words),
    )  # fmt: skip


def _channels(fds: Descriptors) -> tuple[str, ...]:
    words = [
        "-chardev", f"socket,id=qmp,fd={fds.qmp}",
        "-mon", "chardev=qmp,mode=control",
        "-chardev", f"socket,id=restore,fd={fds.restore}",
        "-mon", "chardev=restore,mode=control",
        "-chardev", f"socket,id=console,fd={fds.console}",
        "-serial", "chardev:console",
        "-device", f"virtio-serial-pci,id=serial0,max_ports={MAX_SERIAL_PORTS}",
    ]  # fmt: skip
    ports = [("events", fds.events, False, EVENTS_PORT_NAME), ("output", fds.output, False, OUTPUT_PORT_NAME)]
    ports += [(f"portal{n}", fd, True, PORTAL_PORT_NAME.format(n)) for n, fd in enumerate(fds.portals)]
    ports += [(f"lane{n}", fd, True, LANE_PORT_NAME.format(n)) for n, fd in enumerate(fds.lanes)]
    for number, (chardev, fd, listening, name) in enumerate(ports, start=1):
        server = ",server=on,wait=off" if listening else ""
        words += ("-chardev", f"socket,id={chardev},fd={fd}{server}")
        words += ("-device", f"virtserialport,bus=serial0.0,nr={number},chardev={chardev},name={name}")
    gateway = "null,id=gateway" if fds.gateway is None else f"socket,id=gateway,fd={fds.gateway}"
    words += ("-chardev", gateway)
    words += (
        "-device",
        f"virtserialport,bus=serial0.0,nr={len(ports) + 1},chardev=gateway,name={NETWORK_PORT_NAME}",
    )
    return tuple(words)


def _disks(spec: VmSpec) -> tuple[str, ...]:
    """The guest's root, and the box's disk as it is before the monitor puts the real one in its place: the machine of a
    box can so be started before it is known which box it will be, and never sees a path of the box's."""
    return (
        "-blockdev",
        f"driver=raw,node-name=root,read-only=on,file.driver=file,file.filename={spec.guest.root_path}"
        ",file.locking=off,cache.direct=off",
        "-device", f"virtio-blk-device,drive=root,serial={ROOT_DISK_SERIAL}",
        "-blockdev", f"driver=null-co,node-name={BLANK_NODE},size={BLANK_DISK_BYTES},read-zeroes=on",
        "-blockdev", f"driver=raw,node-name={BOX_NODE},file={BLANK_NODE},discard=unmap",
        "-device", f"virtio-blk-device,drive={BOX_NODE},serial={BOX_DISK_SERIAL}",
    )  # fmt: skip


def _share(path: str) -> tuple[str, ...]:
    return (
        "-fsdev", f"local,id=share,path={path},security_model=none,multidevs=remap",
        "-device", f"virtio-9p-device,fsdev=share,mount_tag={SHARE_TAG}",
    )  # fmt: skip


def _network(shape: Shape, fds: Descriptors) -> tuple[str, ...]:
    if not shape.network:
        return ()
    if fds.network is None:
        backend = "hubport,id=net,hubid=0"
    else:
        backend = f"stream,id=net,server=off,addr.type=fd,addr.str={fds.network}"
    return ("-netdev", backend, "-device", f"virtio-net-device,netdev=net,mac={TEMPLATE_MAC}")


def _sandbox(spec: VmSpec) -> tuple[str, ...]:
    if not spec.seccomp:
        return ()
    return ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")


def _start(spec: VmSpec) -> tuple[str, ...]:
    """A machine that restores waits for the monitor's word; one that boots cold stands still until it has its disk."""
    if spec.template is not None:
        return ("-incoming", "defer")
    return () if spec.disk_path is None else ("-S",)
