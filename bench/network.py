"""Measure the network of boxes: the default path, the restricted path and QEMU's own user network, in turns, in one run.

    .venv/bin/python bench/network.py [--rounds N] [--megabytes N]

Guest to host and back over loopback services of this host; the same program runs inside each contender. Then what a network
costs at `boxlite run`. Needs what the tests need, and QEMU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fixtures import ROOT

sys.path.insert(0, str(ROOT))

from engine.host.programs import qemu_binary
from engine.layout import Layout
from engine.vmm.guest_image import find_guest_image
from tests.framework.home import ALPINE_NAME
from tests.framework.internet.namespaces import python_tree

PROGRAM = Path(__file__).with_name("network_guest.py")
QEMU_TIMEOUT_S = 180
UNITS = {"received": "MB/s", "sent": "MB/s", "connections": "/s", "at_once": "ms", "latency": "ms"}
INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev 2>/dev/null
while read -r module; do insmod /modules/$module.ko; done < /modules/order
ip link set lo up
for device in /sys/class/net/*; do
    name=${device##*/}
    [ "$name" = lo ] || { ip link set $name up; ip address add 10.0.2.15/24 dev $name; }
done
ip route add default via 10.0.2.2
python3 -SBs /network_guest.py 10.0.2.2 PORT MEGABYTES
reboot -f
"""


class Server:
    """What the guests talk to: sends (D), takes (U) or echoes (E), after a size in MiB."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        block = bytes(1 << 20)
        with contextlib.suppress(OSError, ValueError), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = b""
            while len(head) < 9:
                if not (more := connection.recv(9 - len(head))):
                    return
                head += more
            if head[:1] == b"D":
                for _ in range(int(head[1:])):
                    connection.sendall(block)
            elif head[:1] == b"U":
                while connection.recv(1 << 20):
                    pass
                connection.sendall(b"!")
            else:
                while data := connection.recv(4096):
                    connection.sendall(data)


def make_root(directory: Path, alpine: Path) -> Path:
    root = directory / "root"
    root.mkdir()
    subprocess.run(("tar", "-C", str(root), "-xzf", str(alpine)), check=True)
    python_tree(root)
    shutil.copy(PROGRAM, root / "network_guest.py")
    return root


def result_of(output: bytes) -> dict[str, float]:
    for line in output.decode(errors="replace").splitlines():
        if "RESULT " in line:
            found: dict[str, float] = json.loads(line.split("RESULT ", 1)[1])
            return found
    raise SystemExit(f"a contender printed no result:\n{output.decode(errors='replace')[-2000:]}")


def boxlite(home: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "BOXLITE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "boxlite_cli", *words)
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=600
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.decode()}")
    return done


def in_box(home: Path, port: int, megabytes: int, *flags: str) -> dict[str, float]:
    words = ("python3", "-SBs", "/network_guest.py", "192.168.127.254", str(port), str(megabytes))
    return result_of(boxlite(home, "run", "--rm", *flags, "bench", *words).stdout)


def in_qemu(home: Path, root: Path, directory: Path, port: int, megabytes: int) -> dict[str, float]:
    """The same kernel, started by hand with `-netdev user`, from an initramfs that has the program."""
    image = find_guest_image(Layout(home))
    assert image is not None
    init = root / "init"
    init.write_text(INIT.replace("PORT", str(port)).replace("MEGABYTES", str(megabytes)))
    init.chmod(0o755)
    archive = directory / "initramfs"
    with archive.open("wb") as file:
        file.write(next((home / "guest").glob("debian-*/debian.cpio")).read_bytes())
        file.flush()
        subprocess.run(
            ("sh", "-c", f"cd {root} && find . | cpio -o -H newc --quiet"), stdout=file, check=True
        )
    argv = (
        qemu_binary(), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-machine", "microvm,pcie=on,pit=on,pic=on,rtc=on,isa-serial=on", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-m", "768", "-kernel", str(image.kernel_path), "-initrd", str(archive),
        "-append", "console=ttyS0 quiet rdinit=/init reboot=t panic=-1 mitigations=off",
        "-serial", "stdio", "-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n",
    )  # fmt: skip
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=QEMU_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"QEMU by hand did not come up within {QEMU_TIMEOUT_S} s: left out", file=sys.stderr)
        return dict.fromkeys(UNITS, math.nan)
    return result_of(done.stdout)


def run_ms(home: Path, flags: Sequence[str], command: Sequence[str]) -> float:
    begun = time.perf_counter()
    boxlite(home, "run", "--rm", *flags, "bench", *command)
    return (time.perf_counter() - begun) * 1000


def report_runs(home: Path, port: int, rounds: int) -> None:
    """What a network costs a box that does next to nothing, beside none at all. `used`: the box opens one connection, so
    that its network process is started too."""
    connect = ("nc", "-z", "192.168.127.254", str(port))
    cases: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "disabled": (("--network", "disabled"), ("true",)),
        "network": ((), ("true",)),
        "network, used": ((), connect),
        "gateway": (("--allow-net", "nothing.example"), ("true",)),
        "gateway, used": (("--allow-net", "nothing.example"), connect),
    }
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        order = list(cases)
        for name in order[number % len(order) :] + order[: number % len(order)]:
            spent = run_ms(home, *cases[name])
            if number:
                taken[name].append(spent)
    nothing = statistics.median(taken["disabled"])
    print(f"\n{'run --rm … true':24}{'ms':>8}{'more than without':>20}")
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"{name:24}{median:8.0f}{median - nothing:+20.0f}")


@contextlib.contextmanager
def bench_home(directory: Path) -> Iterator[Path]:
    """A home of its own that shares guest image and templates with the user's."""
    shared = Path(os.environ.get("BOXLITE_HOME") or Path.home() / ".boxlite")
    home = directory / "home"
    home.mkdir(mode=0o700)
    for name in ("guest", "templates"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        (home / name).symlink_to(shared / name)
    yield home


def report(samples: dict[str, list[dict[str, float]]]) -> None:
    print(f"{'':24}" + "".join(f"{name:>16}" for name in samples))
    for measure, unit in UNITS.items():
        medians = [statistics.median(one[measure] for one in rounds) for rounds in samples.values()]
        print(f"{measure + ' ' + unit:24}" + "".join(f"{median:16.2f}" for median in medians))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument(
        "--run-rounds", type=int, default=11, help="rounds of `run`, after one that does not count"
    )
    parser.add_argument("--skip-run", action="store_true", help="leave out the cost at `run`")
    options = parser.parse_args(arguments)
    alpine = Path(os.environ.get("BOXLITE_TEST_IMAGES", ROOT.parent / "shared" / "images")) / ALPINE_NAME
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        root = make_root(directory, alpine)
        packed = directory / "root.tar"
        subprocess.run(("tar", "-C", str(root), "-cf", str(packed), "."), check=True)
        server = Server()
        with bench_home(directory) as home:
            boxlite(home, "import", str(packed), "bench")
            contenders = {
                "passt (default)": lambda: in_box(home, server.port, options.megabytes),
                "gateway": lambda: in_box(home, server.port, options.megabytes, "--allow-net", "nothing.example"),
                "qemu user": lambda: in_qemu(home, root, directory, server.port, options.megabytes),
            }  # fmt: skip
            samples: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
            for _ in range(options.rounds):
                for name, measure in contenders.items():
                    samples[name].append(measure())
            report(samples)
            if not options.skip_run:
                report_runs(home, server.port, options.run_rounds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
