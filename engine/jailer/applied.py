"""A jail as people read it: what `inspect` shows of a running machine, and what a shim writes down when it starts one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.jailer.cgroups import Group
from engine.jailer.grants import Jail
from engine.jailer.landlock import landlock_abi

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")


def describe(jail: Jail, group: Group | None = None) -> dict[str, Any]:
    """The jail as it was applied on this host, in inspect's names."""
    if not jail.enabled:
        return {"Enabled": False}
    left_out = {name for name, is_out in (("net", jail.network), ("pid", not jail.pids)) if is_out}
    return {
        "Enabled": True,
        "Uid": None if jail.identity is None else jail.identity.uid,
        "Gid": None if jail.identity is None else jail.identity.gid,
        "Namespaces": [name for name in NAMESPACES if name not in left_out],
        "Capabilities": list(jail.capabilities),
        "Seccomp": None if jail.syscalls is None else jail.syscalls.name,
        "Landlock": landlock_abi() if jail.landlock else 0,
        "Limits": asdict(jail.limits),
        "Cgroup": None if group is None else {"Kind": group.kind, "Reason": group.reason},
        "Grants": [
            {"Path": grant.path, "At": grant.inside, "Access": str(grant.access), "Executes": grant.executes}
            for grant in jail.grants
        ],
    }
