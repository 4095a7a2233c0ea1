"""QEMU's argument vector: what template and box must share, and what may differ."""

from dataclasses import replace

import pytest

from engine.model import Accel
from engine.vmm.arguments import build_qemu_argv
from engine.vmm.spec import Descriptors, GuestFiles, Shape, Template, VmSpec

SHAPE = Shape(
    accel=Accel.TCG,
    cpu_model="max",
    machine="microvm,pit=on",
    arch="x86_64",
    qemu_version="10.0.2",
    cpus=2,
    memory_mib=256,
    network=True,
    guest_digest="ab" * 32,
    console="ttyS0",
)
GUEST = GuestFiles(
    digest="ab" * 32, kernel_path="/g/vmlinuz", initramfs_path="/g/initramfs", root_path="/g/root.img"
)
FDS = Descriptors(qmp=3, restore=7, console=4, events=5, output=6, portals=(10, 11), network=None)
COLD = VmSpec(
    shape=SHAPE, guest=GUEST, share_path="/t/share", disk_size_bytes=1 << 30, memory_path="/t/memory"
)
WARM = replace(
    COLD,
    memory_path=None,
    template=Template(key="k", memory_path="/t/memory", state_path="/t/state"),
    disk_path="/b/disk.qcow2",
    base_path="/bases/x/base.ext4",
)


def options(argv: tuple[str, ...], flag: str) -> list[str]:
    return [argv[i + 1] for i, word in enumerate(argv) if word == flag]


def test_argv_of_a_restored_machine_is_as_documented() -> None:
    argv = build_qemu_argv("/usr/bin/qemu", WARM, replace(FDS, network=12))
    assert options(argv, "-object") == [
        "memory-backend-file,id=ram,size=256M,mem-path=/t/memory,share=off,readonly=on,rom=off"
    ]
    assert options(argv, "-incoming") == ["defer"]
    assert options(argv, "-netdev") == ["stream,id=net,server=off,addr.type=fd,addr.str=12"]
    assert options(argv, "-sandbox") == [
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    ]
    assert not any("/b/disk.qcow2" in word or "base.ext4" in word for word in argv)


def test_argv_of_template_and_box_has_the_same_devices_in_the_same_order() -> None:
    cold = build_qemu_argv("qemu", COLD, FDS)
    warm = build_qemu_argv("qemu", WARM, replace(FDS, network=12))
    assert options(cold, "-device") == options(warm, "-device")
    for flag in ("-machine", "-cpu", "-smp", "-m"):
        assert options(cold, flag) == options(warm, flag)


def test_argv_of_a_restored_machine_loads_no_kernel_beside_the_one_in_its_memory() -> None:
    cold, warm = build_qemu_argv("qemu", COLD, FDS), build_qemu_argv("qemu", WARM, FDS)
    for flag in ("-kernel", "-initrd", "-append"):
        assert options(cold, flag) and not options(warm, flag)


def test_argv_of_a_template_shares_its_memory_file_and_has_a_stateless_network() -> None:
    argv = build_qemu_argv("qemu", COLD, FDS)
    assert options(argv, "-object")[0].endswith("mem-path=/t/memory,share=on")
    assert options(argv, "-netdev") == ["hubport,id=net,hubid=0"]
    assert options(argv, "-incoming") == []


def test_argv_without_network_has_no_interface() -> None:
    argv = build_qemu_argv("qemu", replace(WARM, shape=replace(SHAPE, network=False)), FDS)
    assert options(argv, "-netdev") == []
    assert not any("virtio-net" in word for word in argv)


def test_argv_never_carries_user_data_on_the_kernel_command_line() -> None:
    (append,) = options(build_qemu_argv("qemu", COLD, FDS), "-append")
    assert append.split()[0] == "console=ttyS0"
    assert "/t/" not in append and "disk" not in append


@pytest.mark.parametrize(
    "change",
    [
        {"cpus": 1},
        {"memory_mib": 512},
        {"network": False},
        {"guest_digest": "cd" * 32},
        {"qemu_version": "9"},
    ],
)
def test_shape_key_changes_with_everything_a_template_depends_on(change: dict[str, object]) -> None:
    assert replace(SHAPE, **change).key != SHAPE.key  # type: ignore[arg-type]
    assert replace(SHAPE).key == SHAPE.key
