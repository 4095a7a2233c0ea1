"""Templates: a machine booted once per shape up to its agent, saved, and restored for every box.

Built under a lock, in a temporary directory, renamed into place. A template that does not look whole is rebuilt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

from engine.errors import BoxliteError, DeadlineError, EngineError
from engine.fsutil import locked, remove_tree, scratch_dir, try_lock, write_atomic
from engine.jailer.ownership import take_back
from engine.jailer.refusal import find_refusal
from engine.layout import Layout
from engine.model import Accel, SecurityOptions
from engine.progress import Progress, ProgressSink
from engine.vmm.channels import ConsoleTail, events
from engine.vmm.machine import Machine, start_machine
from engine.vmm.monitor import open_monitor
from engine.vmm.saved import find_template
from engine.vmm.spec import GuestFiles, Shape, Template, VmSpec
from engine.vmm.tsc import clock_args
from guest.wire.constants import LANES, PORTAL_PORTS

KERNEL_TIMEOUT_S = {Accel.TCG: 60.0, Accel.KVM: 5.0, Accel.HVF: 5.0}
"""Until the first word on the console."""
BOOT_TIMEOUT_S = {Accel.TCG: 90.0, Accel.KVM: 20.0, Accel.HVF: 20.0}
"""Until the agent is ready: 6 to 8 s under tcg on an idle host."""
ATTEMPTS = 4


async def ensure_template(
    layout: Layout, shape: Shape, guest: GuestFiles, *, security: SecurityOptions, progress: ProgressSink
) -> Template:
    """The template of this shape, built now if it is missing. Any number of processes may ask at once.

    Raises EngineError with the end of the console when the machine does not come up.
    """
    found = find_template(layout, shape)
    if found is not None:
        return found
    lock_path = layout.locks_dir / f"template-{shape.key}.lock"
    if (lock := try_lock(lock_path)) is not None:
        os.close(lock)
    else:
        progress(
            Progress(
                stage="template", item=shape.key, message="waiting for another process to prepare the machine"
            )
        )
    async with _locked_in_thread(lock_path):
        found = find_template(layout, shape)
        if found is not None:
            return found
        return await _build(layout, shape, guest, security=security, progress=progress)


@contextlib.asynccontextmanager
async def _locked_in_thread(path: Path) -> AsyncIterator[None]:
    holder = locked(path)
    await asyncio.to_thread(holder.__enter__)
    try:
        yield
    finally:
        holder.__exit__(None, None, None)


async def _build(
    layout: Layout, shape: Shape, guest: GuestFiles, *, security: SecurityOptions, progress: ProgressSink
) -> Template:
    target = layout.templates_dir / shape.key
    for attempt in range(1, ATTEMPTS + 1):
        progress(
            Progress(
                stage="template", item=shape.key, done=attempt - 1, total=ATTEMPTS,
                message=f"starting a machine once ({shape.accel}, {shape.cpus} cpu, {shape.memory_mib} MiB), to copy it from now on",
            )
        )  # fmt: skip
        with scratch_dir(layout.tmp_dir, "template-") as scratch:
            try:
                await _boot_and_save(scratch, shape, guest, security, layout.home)
            except DeadlineError:
                if attempt == ATTEMPTS:
                    raise
                continue
            remove_tree(target)
            (scratch / "share").rmdir()
            remove_tree(scratch / "sockets")
            target.parent.mkdir(mode=0o700, exist_ok=True)  # who wanted room may have removed all of them
            scratch.rename(target)
            break
    progress(Progress(stage="template", item=shape.key, done=ATTEMPTS, total=ATTEMPTS))
    template = find_template(layout, shape)
    if template is None:
        raise EngineError(f"the template {shape.key} was built but cannot be read back")
    return template


async def _boot_and_save(
    scratch: Path, shape: Shape, guest: GuestFiles, security: SecurityOptions, home: Path
) -> None:
    memory, state = scratch / "memory", scratch / "state"
    (scratch / "share").mkdir(mode=0o700)
    (scratch / "sockets").mkdir(mode=0o700)
    memory.touch(mode=0o600)
    spec = VmSpec(
        shape=shape,
        guest=guest,
        share_path=str(scratch / "share"),
        memory_path=str(memory),
        kernel_args=await asyncio.to_thread(clock_args, shape.accel),
    )
    portals = [scratch / "sockets" / f"portal-{n}.sock" for n in range(PORTAL_PORTS)]
    lanes = [scratch / "sockets" / f"lane-{n}.sock" for n in range(LANES)]
    log_path = scratch / "qemu.log"
    machine = await start_machine(
        spec, portals=portals, lanes=lanes, security=security, log_path=log_path, home=home
    )
    tail = ConsoleTail()
    console = asyncio.create_task(tail.follow(machine.channels.console))
    try:
        async with open_monitor(machine.channels.qmp) as monitor:
            await tail.wait_first(timeout_s=KERNEL_TIMEOUT_S[shape.accel])
            await _wait_ready(machine, timeout_s=BOOT_TIMEOUT_S[shape.accel])
            await monitor.save(str(state))
    except BoxliteError as error:
        raise explain_boot_failure(error, log_path, tail) from error
    finally:
        console.cancel()
        await machine.kill(leftovers=[scratch])
    take_back(scratch, memory, state)
    for file in (memory, state):
        file.chmod(0o400)
        await asyncio.to_thread(_sync, file)
    document = {
        "key": shape.key,
        "guest_digest": shape.guest_digest,
        "state_bytes": state.stat().st_size,
        "memory_bytes": memory.stat().st_size,
    }
    write_atomic(scratch / "template.json", json.dumps(document).encode())


def _sync(file: Path) -> None:
    """A template that has its name is on the disk: after a power cut a file of the right size could be empty."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


async def _wait_ready(machine: Machine, *, timeout_s: float) -> None:
    """Wait for the agent's first event; raise EngineError when QEMU ends before, DeadlineError when neither."""
    try:
        async with asyncio.timeout(timeout_s):
            async for event in events(machine.channels.events):
                if event["event"] == "ready":
                    return
            status = await machine.process.wait()
    except TimeoutError as error:
        raise DeadlineError(
            f"the agent did not answer within {timeout_s:g} s of the machine's start"
        ) from error
    raise EngineError(f"QEMU ended with status {status} while the machine was starting")


def explain_boot_failure(error: BoxliteError, qemu_log: Path, tail: ConsoleTail) -> BoxliteError:
    """The same error with what QEMU and the console said last; or that its jail could not be built."""
    if (refusal := find_refusal(qemu_log)) is not None:
        return refusal
    with contextlib.suppress(OSError):
        said = qemu_log.read_text(errors="replace").strip().splitlines()
        if said:
            error.message += f"; QEMU said: {said[-1]}"
    lines = tail.text.splitlines()
    if lines:
        error.message += f"; the console's last line: {lines[-1]}"
    return error
