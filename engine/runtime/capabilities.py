"""Which capabilities the container's processes get: Docker's rule, as `--cap-add` and `--cap-drop` ask for."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import InvalidArgumentError
from engine.model import DOCKER_CAPABILITIES

ALL_CAPABILITIES = (
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
    "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
    "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST",
    "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT",
    "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "WAKE_ALARM",
)  # fmt: skip
"""capabilities(7), as of Linux 6.12."""


def effective_capabilities(
    add: Sequence[str], drop: Sequence[str], *, privileged: bool = False
) -> tuple[str, ...]:
    """The set for a box, without the CAP_ prefix, sorted.

    Adding ALL gives everything but the dropped; else dropping ALL gives exactly the added; else Docker's set without the
    dropped and with the added (adding wins). Raises InvalidArgumentError for a name that is none.
    """
    added, dropped = {_name(word) for word in add}, {_name(word) for word in drop}
    if privileged:
        return ALL_CAPABILITIES
    if "ALL" in added:
        chosen = set(ALL_CAPABILITIES) - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = (set(DOCKER_CAPABILITIES) - dropped) | added
    return tuple(sorted(chosen))


def _name(word: str) -> str:
    name = word.upper().removeprefix("CAP_")
    if name != "ALL" and name not in ALL_CAPABILITIES:
        raise InvalidArgumentError(
            f"capability {word!r} does not exist",
            hint="capabilities(7) lists them, e.g. NET_ADMIN, SYS_PTRACE, ALL",
        )
    return name
