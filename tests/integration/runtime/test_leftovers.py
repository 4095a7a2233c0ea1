"""A machine whose shim was killed while it was starting, and one that has its shim."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine.layout import BoxLayout
from engine.vmm.leftovers import kill_leftovers


def machine_on(box: BoxLayout) -> tuple[str, str, str]:
    """A program by QEMU's name that has the box's disk, as a command."""
    box.root.mkdir()
    box.mounts_dir.mkdir()
    (box.mounts_dir / "x").touch()
    return ("bash", "-c", f"exec -a qemu-system-x86_64 tail -f {box.mounts_dir}/x >/dev/null")


def within(seconds: float, what: Callable[[], object]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.02)
    return False


def test_machine_without_a_shim_is_killed_and_other_programs_are_not(tmp_path: Path) -> None:
    box = BoxLayout(tmp_path / "box")
    waiting = (sys.executable, "-c", "import time; time.sleep(60)", str(box.mounts_dir))
    with subprocess.Popen(machine_on(box)) as orphan, subprocess.Popen(waiting) as other:
        try:
            assert within(10, lambda: orphan.pid in kill_leftovers(box.mounts_dir))
            assert orphan.wait(5) == -9
            assert other.poll() is None
        finally:
            orphan.kill()
            other.kill()


def test_machine_below_a_shim_is_left_alone(tmp_path: Path) -> None:
    box = BoxLayout(tmp_path / "box")
    code = f"import subprocess; print(subprocess.Popen({machine_on(box)!r}).pid, flush=True); input()"
    argv = (sys.executable, "-c", code, "engine.shim")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shim:
        assert shim.stdout is not None
        machine = int(shim.stdout.readline())
        program = Path(f"/proc/{machine}/cmdline")
        assert within(10, lambda: program.read_bytes().startswith(b"qemu"))
        assert kill_leftovers(box.mounts_dir) == []
        shim.kill()
    assert within(10, lambda: machine in kill_leftovers(box.mounts_dir))
