"""May this user make the namespaces a jail is made of? Tried with bubblewrap itself; when not, who forbids it."""

from __future__ import annotations

from pathlib import Path

from engine.process import Command, find_program, run
from engine.values import dataclass

TRIAL = (
    "bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
    "--cap-drop", "ALL", "--ro-bind", "/", "/", "--die-with-parent", "true",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceSupport:
    usable: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Switch:
    """A kernel setting that forbids user namespaces when it has `value`."""

    name: str
    value: str
    reason: str
    remedy: str


SWITCHES = (
    _Switch(
        name="kernel.apparmor_restrict_unprivileged_userns",
        value="1",
        reason="AppArmor keeps user namespaces from programs without a profile (Ubuntu 23.10 and newer)",
        remedy=(
            "write 'kernel.apparmor_restrict_unprivileged_userns = 0' to /etc/sysctl.d/60-boxlite.conf and run"
            " `sudo sysctl --system`; or give /usr/bin/bwrap an AppArmor profile with the rule 'userns,'"
        ),
    ),
    _Switch(
        name="kernel.unprivileged_userns_clone",
        value="0",
        reason="the kernel keeps user namespaces from ordinary users",
        remedy="sudo sysctl -w kernel.unprivileged_userns_clone=1 (and in /etc/sysctl.d/ to keep it)",
    ),
    _Switch(
        name="user.max_user_namespaces",
        value="0",
        reason="the number of user namespaces is limited to none",
        remedy="sudo sysctl -w user.max_user_namespaces=15000 (and in /etc/sysctl.d/ to keep it)",
    ),
)


async def probe_namespaces(sysctl_dir: Path = Path("/proc/sys")) -> NamespaceSupport:
    """Run `true` in namespaces of its own. Takes a few milliseconds."""
    if find_program(TRIAL[0]) is None:
        return NamespaceSupport(usable=False, reason="bubblewrap is not installed")
    completed = await run(Command(argv=TRIAL), timeout_s=10, check=False)
    if completed.exit_status == 0:
        return NamespaceSupport(usable=True)
    switch = find_forbidding_switch(sysctl_dir)
    said = completed.stderr_tail.splitlines()
    last = said[-1] if said else f"bwrap ended with status {completed.exit_status}"
    if switch is None:
        return NamespaceSupport(
            usable=False, reason=last, remedy="inside a container, allow it to make user namespaces"
        )
    return NamespaceSupport(
        usable=False, reason=f"{switch.reason} [{switch.name}]: {last}", remedy=switch.remedy
    )


def find_forbidding_switch(sysctl_dir: Path) -> _Switch | None:
    """The first kernel setting that forbids user namespaces, if one does."""
    return next((switch for switch in SWITCHES if _setting(sysctl_dir, switch.name) == switch.value), None)


def security_modules(path: Path = Path("/sys/kernel/security/lsm")) -> tuple[str, ...]:
    """The kernel's active security modules (`apparmor`, `selinux`, `landlock` …); empty when it does not tell."""
    try:
        return tuple(path.read_text().strip().split(","))
    except OSError:
        return ()


def _setting(sysctl_dir: Path, name: str) -> str | None:
    try:
        return (sysctl_dir / name.replace(".", "/")).read_text().strip()
    except OSError:
        return None
