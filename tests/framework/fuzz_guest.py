"""Play a guest that lies against the host's own code, on real sockets, for as long as asked.

    python -m tests.framework.fuzz_guest --minutes 30 --seed 1
    python -m tests.framework.fuzz_guest --only 4711

Whatever the guest does, the host's answer is a value or an error of ours, soon, with memory, descriptors and tasks as they
were and its event loop never held up. A worker runs the host's code in a process of its own, so that a crash and a hang are
seen too; the guest (tests.framework.lying_guest) is another, so that its memory is not counted. Ends with status 1 at the
first seed that fails, and says which.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import BoxliteError
from engine.portal.session import open_session
from tests.framework.host_calls import CALLS, CHANNELS, hurry, unpack_bytes
from tests.framework.hostile_messages import hostile_tar

KINDS = ("greeting", "http2", "http2", "messages", "messages", "messages", "messages", "events", "output", "console", "qmp",
         "tar", "tar", "tar", "tar")  # fmt: skip
PATIENCE_S = 3.0
"""After this the caller gives up, as a person does with Ctrl-C: whoever waits for a command has no deadline of their own."""
SOON_S = 15.0
HANG_S = 60.0
MOST_MEMORY_MIB = 192
MOST_LAG_S = 4.0
LIBRARY_FDS = 24
"""What libraries open once and keep."""
SEEDS_A_WORKER = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a seed. `problem` is empty when all was well."""

    seed: int
    kind: str
    answer: str
    seconds: float
    memory_mib: int
    lag_s: float
    problem: str = ""


# ---------------------------------------------------------------- the host's side


class Host:
    """The host's code and what watches over it; `directory` holds the sockets of one guest."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._noise: list[str] = []
        self._guest: asyncio.subprocess.Process | None = None
        self._first_fds = 0
        self._was_frozen = False

    async def start_guest(self) -> None:
        (self._directory / "sockets").mkdir()
        self._guest = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.framework.lying_guest", str(self._directory),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._heard(context))
        logging.getLogger().addHandler(_Listener(self._noise))
        loop.add_signal_handler(signal.SIGCONT, self._frozen)
        await self._order("messages", 0)
        self._first_fds = _open_fds()

    def _heard(self, context: dict[str, Any]) -> None:
        """What asyncio has to say; qemu.qmp leaves an exception behind that it has raised already."""
        message = str(context.get("message"))
        if not message.startswith("_GatheringFuture exception was never retrieved"):
            self._noise.append(f"{message}: {context.get('exception')!r}")

    def _frozen(self) -> None:
        """Somebody stopped this process and let it go on: what its clock said meanwhile means nothing."""
        self._was_frozen = True

    async def stop_guest(self) -> None:
        assert self._guest is not None
        self._guest.kill()
        await self._guest.wait()

    async def _order(self, kind: str, seed: int) -> None:
        assert self._guest is not None and self._guest.stdin is not None and self._guest.stdout is not None
        self._guest.stdin.write(json.dumps({"kind": kind, "seed": seed}).encode() + b"\n")
        await self._guest.stdout.readline()

    async def play(self, seed: int) -> Outcome:
        while True:
            self._was_frozen = False
            outcome = await self._play(seed)
            if not (outcome.problem and self._was_frozen):
                return outcome

    async def _play(self, seed: int) -> Outcome:
        dice = random.Random(seed)
        kind = dice.choice(KINDS)
        if kind != "tar":
            await self._order(kind, seed)
        self._noise.clear()
        before_mib, tasks = _reset_peak_mib(), len(asyncio.all_tasks())
        begun = time.monotonic()
        problem = answer = ""
        async with _lag_watched() as lag:
            try:
                async with asyncio.timeout(SOON_S):
                    answer = await self._try(kind, dice)
            except TimeoutError:
                problem = f"not over within {SOON_S:g} s"
            except BoxliteError as error:
                answer = type(error).__name__
                problem = _unshowable(str(error) + (error.hint or ""))
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"[:500]
        seconds = time.monotonic() - begun
        memory_mib = _peak_mib() - before_mib
        problem = problem or await self._leftovers(tasks, memory_mib, max(lag))
        return Outcome(seed=seed, kind=kind, answer=answer, seconds=seconds, memory_mib=memory_mib, lag_s=max(lag),
                       problem=problem)  # fmt: skip

    async def _leftovers(self, tasks: int, memory_mib: int, lag_s: float) -> str:
        most_fds = self._first_fds + LIBRARY_FDS
        for _ in range(40):
            if _open_fds() <= most_fds and len(asyncio.all_tasks()) <= tasks:
                break
            await asyncio.sleep(0.05)
        if self._noise:
            return f"noise: {self._noise[0]}"[:500]
        if _open_fds() > most_fds:
            return f"{_open_fds()} descriptors are open, of {self._first_fds} at first"
        if len(asyncio.all_tasks()) > tasks:
            return f"{len(asyncio.all_tasks()) - tasks} tasks are left"
        if memory_mib > MOST_MEMORY_MIB:
            return f"{memory_mib} MiB of memory"
        if lag_s > MOST_LAG_S:
            return f"the event loop stood still for {lag_s:.1f} s"
        return ""

    async def _try(self, kind: str, dice: random.Random) -> str:
        if kind == "tar":
            return await asyncio.to_thread(unpack_bytes, hostile_tar(dice))
        if kind in CHANNELS:
            channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with channel:
                channel.connect(str(self._directory / "channel.sock"))
                channel.setblocking(False)
                return await _patiently(CHANNELS[kind](channel, self._directory))
        async with open_session(self._directory / "sockets") as opened:
            return await _patiently(dice.choice(CALLS)(opened))


async def _patiently(work: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await work
    except TimeoutError:
        return "given up"


# ---------------------------------------------------------------- watching


class _Listener(logging.Handler):
    """What a library logs as a warning, a person would find in the terminal."""

    def __init__(self, noise: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._noise = noise

    def emit(self, record: logging.LogRecord) -> None:
        self._noise.append(f"{record.name}: {record.getMessage()}")


def _unshowable(text: str) -> str:
    return "" if text.isprintable() else f"control characters in an error: {text!r}"[:500]


@contextlib.asynccontextmanager
async def _lag_watched() -> AsyncIterator[list[float]]:
    """How long the event loop kept a task waiting that wanted to run every 20 ms."""
    lag = [0.0]

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.02)
            lag.append(time.monotonic() - before - 0.02)

    task = asyncio.create_task(tick())
    try:
        yield lag
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _reset_peak_mib() -> int:
    """Forget the peak of resident memory (proc(5), clear_refs); what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mib()


def _peak_mib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    return 0


def _open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---------------------------------------------------------------- the programs


async def work(seeds: range, report: Callable[[Outcome], None]) -> None:
    """Play the seeds one after the other."""
    hurry()
    with tempfile.TemporaryDirectory(prefix="bl-fuzz-") as directory:
        host = Host(Path(directory))
        await host.start_guest()
        try:
            for seed in seeds:
                report(await host.play(seed))
        finally:
            await host.stop_guest()


def _print(outcome: Outcome) -> None:
    document = {name: getattr(outcome, name) for name in Outcome.__slots__}
    print(json.dumps(document), flush=True)


def _watch_worker(first: int, count: int, until: float, tally: Counter[str], worst: dict[str, float]) -> str:
    """Run a worker to its end or to the time; what went wrong, or nothing."""
    worker = subprocess.Popen(
        (sys.executable, "-m", "tests.framework.fuzz_guest", "--worker", str(first), str(count)),
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    next_seed = first
    with worker, selectors.DefaultSelector() as waiting:
        waiting.register(worker.stdout, selectors.EVENT_READ)
        try:
            while next_seed < first + count and time.monotonic() < until:
                if not waiting.select(HANG_S) and not waiting.select(
                    HANG_S
                ):  # twice: we may have been stopped ourselves
                    return f"seed {next_seed}: no answer within {HANG_S:g} s"
                line = worker.stdout.readline()
                if not line:
                    return f"seed {next_seed}: the worker died with status {worker.wait()}"
                found = json.loads(line)
                next_seed = found["seed"] + 1
                tally[f"{found['kind']}: {found['answer'].split(' ')[0]}"] += 1
                for name in ("seconds", "memory_mib", "lag_s"):
                    worst[name] = max(worst.get(name, 0.0), found[name])
                if found["problem"]:
                    return f"seed {found['seed']} ({found['kind']}): {found['problem']}"
        finally:
            worker.kill()
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--only", type=int, help="play one seed and show what comes of it")
    parser.add_argument("--go-on", action="store_true", help="after a seed that failed, too")
    parser.add_argument("--worker", type=int, nargs=2, metavar=("FIRST", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker or options.only is not None:
        first, count = options.worker or (options.only, 1)
        asyncio.run(work(range(first, first + count), _print))
        return 0
    until = time.monotonic() + options.minutes * 60
    tally: Counter[str] = Counter()
    worst: dict[str, float] = {}
    seed, failed = options.seed, 0
    while time.monotonic() < until:
        before = sum(tally.values())
        problem = _watch_worker(seed, SEEDS_A_WORKER, until, tally, worst)
        seed += max(1, sum(tally.values()) - before)
        if problem:
            failed += 1
            print(f"FAILED {problem}", flush=True)
            if not options.go_on:
                break
    for name, count in sorted(tally.items()):
        print(f"{count:7} {name}")
    print(f"{sum(tally.values())} seeds from {options.seed} on; worst: " +
          ", ".join(f"{name} {value:.1f}" for name, value in worst.items()))  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
