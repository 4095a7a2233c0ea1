"""The snippets of the guide for agents, run as they are written there but for images, commands and host paths: the image
of these tests is Alpine, which has a shell where the guide has Python.
"""

# The guide is for every style.
# ruff: noqa: RET504, SIM105, UP041

from __future__ import annotations

import ast
import asyncio
import base64
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import boxlite
from tests.framework.cli import Boxlite as Command

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "ai-agents.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
Run = Callable[..., Awaitable[boxlite.ExecResult]]


@pytest.fixture(autouse=True)
async def default_runtime(
    boxlite_of_module: Command, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[boxlite.Boxlite]:
    """`Boxlite.default()` of the guide, on the home of these tests."""
    async with boxlite.Boxlite(boxlite.Options(home_dir=boxlite_of_module.home)) as runtime:
        monkeypatch.setattr(boxlite.Boxlite, "_default", runtime)
        yield runtime
        assert [box.name for box in await runtime.list_info()] == []


def test_starter_configuration() -> None:
    boxlite.BoxOptions(
        image="python:slim",
        cpus=2,
        memory_mib=1024,
        working_dir="/workspace",
        security=boxlite.SecurityOptions.maximum(),
    )


async def test_security_preset_customized_isolates_from_the_network(alpine: str) -> None:
    security = boxlite.SecurityOptions.maximum()

    # Customize if needed
    security.max_open_files = 2048
    security.network_enabled = False  # Disable network for strict isolation

    async with boxlite.SimpleBox(image=alpine, security=security) as box:
        assert (await box.exec("ls", "/sys/class/net")).stdout == "lo\n"


async def test_one_box_multiple_executions(alpine: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        runtime = boxlite.Boxlite.default()
        box = await runtime.create(boxlite.BoxOptions(
            image=alpine,
            cpus=2,
            memory_mib=1024,
            security=boxlite.SecurityOptions.maximum(),
        ))  # fmt: skip
        try:
            # Run agent tools concurrently in the same box
            results = await asyncio.gather(
                box.exec("sh", ["-c", "echo 'task A'"]),
                box.exec("sh", ["-c", "echo 'task B'"]),
                box.exec("sh", ["-c", "echo 'task C'"]),
            )
            for execution in results:
                result = await execution.wait()
                print(f"Exit code: {result.exit_code}")
        finally:
            await box.stop()
            await runtime.remove(box.id)

    await main()
    assert capsys.readouterr().out == "Exit code: 0\n" * 3


async def test_one_box_per_agent(alpine: str) -> None:
    async def run_isolated_agent(code: str, image: str = alpine) -> str:
        """Each agent gets its own box."""
        async with boxlite.SimpleBox(image=image, memory_mib=512) as box:
            result = await box.exec("sh", "-c", code)
            return result.stdout

    agents = [
        run_isolated_agent("echo 'agent 1'"),
        run_isolated_agent("echo 'agent 2'"),
    ]
    results = await asyncio.gather(*agents)
    assert results == ["agent 1\n", "agent 2\n"]


async def exec_with_timeout(
    box: boxlite.Box, cmd: str, args: list[str] | None = None, timeout: float = 30
) -> boxlite.ExecResult:
    """Execute a command with proper timeout and cleanup."""
    execution = await box.exec(cmd, args or [])
    try:
        result = await asyncio.wait_for(execution.wait(), timeout=timeout)
        return result
    except asyncio.TimeoutError:
        await execution.kill()
        raise


async def safe_exec(
    box: boxlite.Box, cmd: str, args: list[str] | None = None, timeout: float = 30
) -> boxlite.ExecResult:
    """Execute with timeout, guaranteed process cleanup."""
    execution = await box.exec(cmd, args or [])
    try:
        result = await asyncio.wait_for(execution.wait(), timeout=timeout)
        return result
    except asyncio.TimeoutError:
        try:
            await execution.kill()
        except Exception:
            pass  # Best-effort kill
        raise
    except Exception:
        try:
            await execution.kill()
        except Exception:
            pass  # Best-effort kill on any failure
        raise


@pytest.mark.parametrize("run", [exec_with_timeout, safe_exec])
async def test_timeout_kills_the_process(alpine: str, run: Run) -> None:
    runtime = boxlite.Boxlite.default()
    box = await runtime.create(boxlite.BoxOptions(image=alpine))
    with pytest.raises(asyncio.TimeoutError):
        await run(box, "sleep", ["9999"], timeout=0.5)
    left = await (await box.exec_shell("ps | grep -c '[s]leep'")).collect()
    assert left.stdout == "0\n"
    await box.stop()
    await runtime.remove(box.id)


async def test_volume_mounts(alpine: str, tmp_path: Path) -> None:
    for name in ("datasets", "results"):
        (tmp_path / name).mkdir()
    options = boxlite.BoxOptions(
        image=alpine,
        volumes=[
            (f"{tmp_path}/datasets", "/mnt/data", "ro"),  # Input data
            (f"{tmp_path}/results", "/mnt/results", "rw"),  # Output directory
        ],
    )
    runtime = boxlite.Boxlite.default()
    box = await runtime.create(options)
    assert (await safe_exec(box, "touch", ["/mnt/data/file"])).exit_code != 0
    assert (await safe_exec(box, "touch", ["/mnt/results/file"])).exit_code == 0
    await box.stop()
    assert (tmp_path / "results" / "file").exists() and not (tmp_path / "datasets" / "file").exists()


async def test_inline_data_and_desired_shell_call(alpine: str) -> None:
    runtime = boxlite.Boxlite.default()
    box = await runtime.create(boxlite.BoxOptions(image=alpine, working_dir="/tmp"))
    # Send small file via base64
    data = b"echo 'hello from transferred script'"
    encoded = base64.b64encode(data).decode()
    execution = await box.exec("sh", [
        "-c",
        f"echo {encoded} | base64 -d > /tmp/script.sh && sh /tmp/script.sh",
    ])  # fmt: skip
    result = await execution.wait()
    assert result.exit_code == 0
    assert [line async for line in execution.stdout()] == ["hello from transferred script"]
    execution = await box.exec_shell("cd /tmp && grep -rn 'hello' .")
    assert [line async for line in execution.stdout()] == [f"./script.sh:1:{data.decode()}"]
    await box.stop()


async def test_terminal_resizing(alpine: str, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = boxlite.Boxlite.default()
    box = await runtime.create(boxlite.BoxOptions(image=alpine))

    # Start a shell with TTY
    execution = await box.exec("sh", tty=True)

    # Set terminal size to 40 rows x 120 columns
    await execution.resize_tty(40, 120)

    # Send commands via stdin
    stdin = execution.stdin()
    await stdin.send_input(b"ls -la\n")
    await stdin.send_input(b"stty size; exit\n")

    # Read output
    stdout = execution.stdout()
    async for line in stdout:
        print(line, end="")

    shown = capsys.readouterr().out
    assert "40 120" in shown and "total" in shown
    await (await box.exec("sh", tty=True)).resize_tty(cols=120, rows=40)
    with pytest.raises(boxlite.InvalidStateError, match="terminal"):
        await (await box.exec("true")).resize_tty(40, 120)
    await box.stop()


async def test_blocks_of_our_own_guide_run_as_they_are_written(
    alpine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"asyncio": asyncio, "boxlite": boxlite}
    for block in BLOCKS:
        text = block.replace("alpine:3.20", alpine).replace("asyncio.run(main())", "await main()")
        code = compile(text, str(GUIDE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)
        if inspect.isawaitable(running):
            await running
    shown = capsys.readouterr().out
    for words in (
        "0 42",
        "killed, with everything",
        "2\n",
        "24 80",
        "b'hello\\n'",
        "1\n2\n3\n[exit status 0]",
    ):
        assert words in shown
    assert "[exit status 2]" in shown and "took longer than 5 s" in shown
    assert (tmp_path / "results" / "job" / "run.sh").exists()
