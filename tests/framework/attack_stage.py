"""A stage for the attacker: a home with another's box, a victim process, and QEMU's own jail with the attacker in it.

    python -m tests.framework.attack_stage DIRECTORY machine | passt | gateway

Run as root and as an ordinary user: what differs is only who runs it. Prints the attacker's lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from engine import host
from engine.jailer.grants import Jail, read
from engine.jailer.landlock import NETWORK_ABI, landlock_abi
from engine.jailer.programs import program_grants
from engine.jailer.room import jailed
from engine.layout import BoxLayout
from engine.model import Accel, SecurityOptions
from engine.net.passt import passt_jail
from engine.process import Command, get_program
from engine.shim.gateway_jail import claim_gateway_identity, gateway_jail
from engine.vmm.confinement import SHARE_INSIDE, claim_identity, machine_jail
from engine.vmm.spec import GuestFiles, Shape, Template, VmSpec
from tests.framework import attacker

SECRET = "the-victim-s-secret"
MEMORY_MIB = 512
DISK_BYTES = 1 << 30


def make_home(home: Path) -> VmSpec:
    """Files as a home has them; what they hold is a secret."""
    for name in (
        "guest",
        "bases",
        "templates",
        "db",
        "boxes/own/mounts",
        "boxes/own/logs",
        "boxes/own/connections",
        "boxes/other/logs",
        "volumes/v",
    ):
        (home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    names = (
        "guest/vmlinuz", "guest/initramfs", "guest/root.img", "bases/base.ext4", "templates/memory", "templates/state",
        "db/boxes.db", "auth.json", "boxes/own/disk.qcow2", "boxes/own/config.json", "boxes/own/logs/output.log",
        "boxes/other/disk.qcow2", "boxes/other/logs/output.log", "volumes/v/file",
    )  # fmt: skip
    for name in names:
        (home / name).write_text(SECRET)
        (home / name).chmod(0o600)
    return VmSpec(
        shape=Shape(
            accel=Accel.TCG, cpu_model="max", machine="microvm", arch="x86_64", qemu_version="", cpus=1,
            memory_mib=MEMORY_MIB, network=True, guest_digest="", console="",
        ),
        guest=GuestFiles(
            digest="",
            kernel_path=str(home / "guest/vmlinuz"),
            initramfs_path=str(home / "guest/initramfs"),
            root_path=str(home / "guest/root.img"),
        ),
        share_path=str(home / "boxes/own/mounts"),
        disk_path=str(home / "boxes/own/disk.qcow2"),
        base_path=str(home / "bases/base.ext4"),
        disk_size_bytes=DISK_BYTES,
        template=Template(
            key="", memory_path=str(home / "templates/memory"), state_path=str(home / "templates/state")
        ),
    )  # fmt: skip


def jail_of(place: str, home: Path) -> Jail:
    """The jail of QEMU, or of another program of a box, as it is."""
    spec, security = make_home(home), SecurityOptions()
    claim = claim_identity(security)
    identity = None if claim is None else claim.identity
    if place == "machine":
        return machine_jail(spec, security, host.qemu_binary(), identity=identity)
    if place == "gateway":
        claim = claim_gateway_identity(enabled=True, ca_file=None)
        return gateway_jail(
            BoxLayout(home / "boxes/own"),
            enabled=True,
            ca_file=None,
            identity=None if claim is None else claim.identity,
        )
    return passt_jail(get_program("passt"), identity=identity)


def jail_of_attacker(place: str, home: Path, stage_path: Path) -> Jail:
    """The jail of a place, and a Python to attack with."""
    jail = jail_of(place, home)
    weapons = (
        *program_grants(interpreter()),
        read(sysconfig.get_path("stdlib")),
        read(
            f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}", optional=True
        ),  # what ctypes is linked with
        read(attacker.__file__),
        read(str(stage_path), shared=True),
    )
    seen = [Path(grant.inside) for grant in jail.grants]
    new = [one for one in weapons if not any(Path(one.inside).is_relative_to(path) for path in seen)]
    return replace(jail, grants=tuple(dict.fromkeys((*jail.grants, *new))))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def interpreter() -> str:
    return os.path.realpath(sys.executable)


@contextlib.contextmanager
def victim() -> Iterator[int]:
    """Another process of the same user, with a secret in its environment."""
    process = subprocess.Popen(("sleep", "600"), env={"SECRET": SECRET})
    try:
        yield process.pid
    finally:
        if process.poll() is not None:
            print(json.dumps(["the victim", "was killed", None]))
        process.kill()
        process.wait()


def attack(directory: Path, place: str) -> None:
    home, stage_path = directory / "home", directory / "stage.json"
    home.mkdir(mode=0o700)
    abstract = f"boxlite-victim-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(victim())
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for address in ("\0" + abstract, str(home / "victim.sock")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        loose = stack.enter_context(socket.socket(socket.AF_UNIX))
        for path in (directory, stage_path):
            path.touch()
        stage_path.chmod(0o600)
        jail = jail_of_attacker(place, home, stage_path)
        disk = os.open(home / "boxes/own/disk.qcow2", os.O_RDWR)
        handed = [loose.fileno(), disk]
        own, other = home / "boxes/own", home / "boxes/other"
        stage = {
            "place": place, "free_port": free_port(), "ports_are_held": landlock_abi() >= NETWORK_ABI,
            "disk": str(own / "disk.qcow2"), "own_dir": str(own), "share": SHARE_INSIDE,
            "own_config": str(own / "config.json"), "own_logs": str(own / "logs"),
            "other_disk": str(other / "disk.qcow2"), "other_logs": str(other / "logs/output.log"),
            "boxes_dir": str(home / "boxes"), "home_dir": str(home), "database": str(home / "db/boxes.db"),
            "credentials": str(home / "auth.json"), "volume_of_other": str(home / "volumes/v/file"),
            "person_home": os.path.expanduser("~"), "victim_pid": pid,
            "victim_environment": f"/proc/{pid}/environ", "victim_memory": f"/proc/{pid}/mem",
            "base": str(home / "bases/base.ext4"), "template_memory": str(home / "templates/memory"),
            "template_state": str(home / "templates/state"), "guest_kernel": str(home / "guest/vmlinuz"),
            "guest_root": str(home / "guest/root.img"), "port": tcp.getsockname()[1], "abstract": abstract,
            "socket_file": str(home / "victim.sock"), "loose_socket": handed[0],
            "disk_fd": handed[1], "descriptors": handed,
        }  # fmt: skip
        stage_path.write_text(json.dumps(stage))
        command = Command(
            argv=(interpreter(), "-I", "-S", "-B", attacker.__file__, str(stage_path)),
            pass_fds=tuple(handed),
        )
        asyncio.run(_run(command, jail, home))


async def _run(command: Command, jail: Jail, home: Path) -> None:
    async with jailed(command, jail, home=home) as wrapped:
        process = await asyncio.create_subprocess_exec(
            *wrapped.argv,
            stdin=asyncio.subprocess.DEVNULL,
            env={"PATH": os.defpath},
            pass_fds=wrapped.pass_fds,
        )
    async with asyncio.timeout(60):
        await process.wait()


if __name__ == "__main__":
    attack(Path(sys.argv[1]), sys.argv[2])
