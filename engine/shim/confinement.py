"""What confines a machine further once it runs, and the record of it all."""

from __future__ import annotations

import contextlib
import json

from engine.errors import BoxliteError
from engine.fsutil import write_atomic
from engine.jailer.applied import describe
from engine.jailer.cgroups import Group, confine, find_descendants, limits_of_machine
from engine.layout import BoxLayout
from engine.shim.plan import LaunchPlan
from engine.vmm.machine import Machine


async def limit_further(machine: Machine, plan: LaunchPlan, box: BoxLayout) -> Group | None:
    """Put the machine into a control group, and note how it is confined. None without a jail."""
    group = None
    if plan.security.jailer_enabled:
        limits = limits_of_machine(
            memory_mib=plan.vm.shape.memory_mib,
            cpus=plan.vm.shape.cpus,
            processes=plan.security.max_processes,
        )
        group = await confine(plan.box_id, find_descendants(machine.pid), limits)
    with contextlib.suppress(OSError, BoxliteError):
        write_atomic(box.jail_path, json.dumps(describe(machine.jail, group), indent=2).encode())
    return group
