"""Tunnels, volumes, listeners, copies and terminals from the library, in one box where that can be."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest

import boxlite as library
from tests.framework.cli import Boxlite

Told = list[tuple[object, ...]]


class Listener:
    """Remembers what it is told; fails at one of the calls, which must harm nobody."""

    def __init__(self) -> None:
        self.told: Told = []

    def on_box_created(self, box_id: str) -> None:
        self.told.append(("created", box_id))
        raise RuntimeError("a listener that fails")

    def on_box_started(self, box_id: str) -> None:
        self.told.append(("started", box_id))

    def on_box_stopped(self, box_id: str, exit_code: int | None) -> None:
        self.told.append(("stopped", box_id))

    def on_box_removed(self, box_id: str) -> None:
        self.told.append(("removed", box_id))

    def on_exec_started(self, box_id: str, command: str, args: list[str]) -> None:
        self.told.append(("exec", box_id, command, args))

    def on_exec_completed(self, box_id: str, command: str, exit_code: int, duration_secs: float) -> None:
        assert duration_secs > 0
        self.told.append(("ended", box_id, command, exit_code))

    def on_file_copied_in(self, box_id: str, host_src: str, container_dst: str) -> None:
        self.told.append(("in", box_id, container_dst))


@pytest.fixture
async def runtime(boxlite: Boxlite) -> AsyncIterator[library.Boxlite]:
    async with library.Boxlite(library.Options(home_dir=boxlite.home)) as runtime:
        yield runtime


async def test_listener_is_told_in_order_and_counters_count(
    boxlite: Boxlite, alpine: str, tmp_path: Path
) -> None:
    listener = Listener()
    (tmp_path / "file").write_text("from the host")
    async with library.Boxlite(library.Options(home_dir=boxlite.home, event_listener=listener)) as runtime:
        box = await runtime.create(library.BoxOptions(image=alpine))
        await (await box.exec("sh", ["-c", "exit 3"])).wait()
        async with await box.exec("sleep", ["60"]):
            pass
        with pytest.raises(library.CommandNotFoundError):
            await box.exec("nonesuch")
        await box.copy_in(tmp_path / "file", "/tmp/in")
        await box.copy_out("/tmp/in", tmp_path / "out")
        counted = await runtime.metrics()
        await box.stop()
    assert (tmp_path / "out").read_text() == "from the host"
    assert listener.told == [
        ("created", box.id),
        ("started", box.id),
        ("exec", box.id, "sh", ["-c", "exit 3"]),
        ("ended", box.id, "sh", 3),
        ("exec", box.id, "sleep", ["60"]),
        ("ended", box.id, "sleep", -9),
        ("in", box.id, "/tmp/in"),
        ("stopped", box.id),
        ("removed", box.id),
    ]
    assert (counted.boxes_created_total, counted.num_running_boxes) == (1, 1)
    assert (counted.total_commands_executed, counted.total_exec_errors) == (2, 1)


async def test_tunnel_connects_once_and_forwards_to_a_server_that_is_not_published(
    runtime: library.Boxlite, alpine: str
) -> None:
    options = library.BoxOptions(image=alpine, network=library.NetworkSpec(mode="disabled"))
    async with await runtime.create(options) as box:
        server = await box.exec("nc", ["-lk", "-p", "7000", "-e", "cat"])
        tunnel = await box.network.tunnel(7000)
        assert tunnel.uri() is None
        async with await _connected(box, 7000) as connection:
            await connection.write(b"hello")
            assert await connection.read(3) == b"hel"
            assert await connection.read() == b"lo"
        with pytest.raises(library.NotFoundError, match="7001"):
            await (await box.network.tunnel(7001)).connect()
        async with await tunnel.forward() as forwarder:
            address = forwarder.local_addr()
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"
            writer.close()
        with pytest.raises(library.InvalidStateError, match="used"):
            await tunnel.connect()
        await server.kill()
        ending = await (await box.network.tunnel(7000)).forward()
    await asyncio.wait_for(ending.wait(), timeout=20)
    with pytest.raises(library.InvalidArgumentError):
        await box.network.tunnel(0)


async def _connected(box: library.Box, port: int) -> library.BoxConnection:
    """Once the server listens."""
    for _ in range(100):
        try:
            return await (await box.network.tunnel(port)).connect()
        except library.NotFoundError:
            await asyncio.sleep(0.1)
    raise AssertionError(f"nothing listens on {port}")


async def test_volume_is_there_for_box_after_box_until_it_is_removed(
    runtime: library.Boxlite, alpine: str
) -> None:
    made = await runtime.volumes.create("kept", labels={"a": "b"})
    assert (made.name, made.labels, made.used_by) == ("kept", {"a": "b"}, ())
    mount = library.VolumeMount(managed_volume="kept", guest_path="/kept")
    async with library.SimpleBox(alpine, runtime=runtime, volumes=[mount], name="user") as box:
        await box.write_file("/kept/file", b"text")
        with pytest.raises(library.InvalidStateError, match="user"):
            await runtime.volumes.remove("kept")
    assert (Path(made.path) / "file").read_bytes() == b"text"
    assert [volume.name for volume in await runtime.volumes.list()] == ["kept"]
    await runtime.volumes.remove("kept")
    assert await runtime.volumes.get("kept") is None


async def test_interactive_box_gives_the_program_a_terminal(runtime: library.Boxlite, alpine: str) -> None:
    async with library.InteractiveBox(alpine, tty=False, runtime=runtime) as box:
        await box.shell.resize_tty(30, 90)
        await box.shell.stdin().send_input("stty size; tty; exit 5\n")
        text = (await box.shell.stdout().read()).decode()
        assert "30 90" in text and "/dev/pts/0" in text
        assert (await box.wait()).exit_code == 5


def test_interactive_box_called_plainly_gives_the_program_a_terminal(boxlite: Boxlite, alpine: str) -> None:
    with (
        library.SyncBoxlite(library.Options(home_dir=boxlite.home)) as runtime,
        library.SyncInteractiveBox(alpine, tty=False, runtime=runtime) as box,
    ):
        box.shell.stdin().send_input("tty; exit 6\n")
        assert b"/dev/pts/0" in box.shell.stdout().read()
        assert box.wait().exit_code == 6


TYPED = """
import sys, boxlite
kind = getattr(boxlite, sys.argv[1])
if sys.argv[1].startswith("Sync"):
    with kind(sys.argv[2]) as box:
        print("ended with", box.wait().exit_code)
else:
    import asyncio
    async def main():
        async with kind(sys.argv[2]) as box:
            print("ended with", (await box.wait()).exit_code)
    asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["InteractiveBox", "SyncInteractiveBox"])
def test_interactive_box_at_a_terminal_is_in_the_hands_of_the_person(
    boxlite: Boxlite, alpine: str, kind: str
) -> None:
    environment = os.environ | {"BOXLITE_HOME": str(boxlite.home)}
    child = pexpect.spawn(
        sys.executable,
        ["-c", TYPED, kind, alpine],
        env=environment,
        dimensions=(30, 100),
        timeout=60,
        encoding="utf-8",
    )
    child.expect("# ")
    child.sendline("stty size")
    child.expect("30 100")
    child.setwinsize(40, 120)
    for _ in range(20):
        child.sendline("stty size")
        if child.expect(["40 120", "30 100"]) == 0:
            break
    else:
        raise AssertionError("the shell was never told of the new size")
    child.sendline("exit 7")
    child.expect("ended with 7")
    child.expect(pexpect.EOF)


async def test_cleanup_stale_removes_what_a_killed_process_left(
    runtime: library.Boxlite, boxlite: Boxlite
) -> None:
    assert await runtime.cleanup_stale() == ()
    stray = boxlite.home / "tmp" / "half-made"
    stray.write_bytes(b"x" * 4096)
    os.utime(stray, (1, 1))
    assert [(item.kind, item.path) for item in await runtime.cleanup_stale()] == [
        ("temporary files", str(stray))
    ]
    assert not stray.exists()
