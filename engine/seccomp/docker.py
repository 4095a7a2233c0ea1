"""Docker's default profile, told by what it denies: every system call is allowed but those named here.

Source: Docker's documentation ("Seccomp security profiles for Docker") and the profile that Docker 29 ships. Calls newer than
the table of numbers do not exist for the container (ENOSYS), as with Docker: a library then falls back.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.seccomp.profile import EPERM, Action, Comparison, Condition, Profile, Rule, Verdict
from engine.seccomp.syscalls import load_syscalls

ENOSYS = 38

OPENED_BY = {
    "BPF": ("bpf",),
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "PERFMON": ("perf_event_open",),
    "SYSLOG": ("syslog",),
    "SYS_ADMIN": (
        "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "lsm_get_self_attr",
        "lsm_list_modules", "lsm_set_self_attr", "mount", "mount_setattr", "move_mount", "open_tree", "perf_event_open",
        "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount", "umount2", "unshare",
    ),
    "SYS_BOOT": ("reboot",),
    "SYS_CHROOT": ("chroot",),
    "SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "SYS_PACCT": ("acct",),
    "SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "SYS_RAWIO": ("ioperm", "iopl"),
    "SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "SYS_TTY_CONFIG": ("vhangup",),
}  # fmt: skip
"""Calls that come with a capability, and with any one of several."""

NEVER = (
    # the kernel's key rings know nothing of namespaces
    "add_key", "keyctl", "request_key",
    # asynchronous calls that pass a filter by
    "io_uring_enter", "io_uring_register", "io_uring_setup",
    # another kernel, swap, roots, memory of others
    "kexec_file_load", "kexec_load", "migrate_pages", "move_pages", "pivot_root", "swapoff", "swapon", "userfaultfd",
    "open_tree_attr",
    # old or never there
    "_sysctl", "afs_syscall", "bdflush", "break", "create_module", "ftime", "get_kernel_syms", "get_tls", "getpmsg",
    "gtty", "idle", "lock", "mpx", "nfsservctl", "nice", "oldfstat", "oldlstat", "oldolduname", "oldstat", "olduname",
    "pciconfig_iobase", "pciconfig_read", "pciconfig_write", "prof", "profil", "putpmsg", "query_module", "readdir",
    "security", "sgetmask", "sigaction", "signal", "sigpending", "sigsuspend", "ssetmask", "stty", "sysfs", "tuxcall",
    "ulimit", "uselib", "usr26", "usr32", "ustat", "vm86", "vm86old", "vserver",
)  # fmt: skip

NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (clone(2))."""
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX and PER_LINUX32, each with and without UNAME26, and the question for the present one (personality(2))."""
DENIED_FAMILIES = (12, 19, 20, 23, 25, 34, 37, 38, 40)
"""Socket families nobody needs in a container, among them AF_ALG (38) and AF_VSOCK (40): the way to a hypervisor."""
FIRST_DENIED_FAMILY = 46

_ALLOW = Verdict(action=Action.ALLOW)
_DENY = Verdict(action=Action.ERRNO, number=EPERM)


def default_profile(capabilities: Iterable[str]) -> Profile:
    """For a container with these capabilities (no CAP_)."""
    held = frozenset(capabilities)
    opened = {name for capability in held for name in OPENED_BY.get(capability, ())}
    denied = ({name for names in OPENED_BY.values() for name in names} - opened) | set(NEVER)
    special = {"personality", "socket"} | (set() if "SYS_ADMIN" in held else {"clone", "clone3"})
    allowed = tuple(name for name in load_syscalls() if name not in denied and name not in special)
    rules = [
        Rule(names=allowed, verdict=_ALLOW),
        *(
            Rule(names=("personality",), verdict=_ALLOW, conditions=(_argument(Comparison.EQ, value),))
            for value in PERSONALITIES
        ),
        *(
            Rule(names=("socket",), verdict=_DENY, conditions=(_argument(Comparison.EQ, family),))
            for family in DENIED_FAMILIES
        ),
        Rule(names=("socket",), verdict=_ALLOW, conditions=(_argument(Comparison.LT, FIRST_DENIED_FAMILY),)),
    ]
    if "SYS_ADMIN" not in held:
        without_namespaces = Condition(index=0, comparison=Comparison.MASKED_EQ, value=NEW_NAMESPACES)
        rules += [
            Rule(names=("clone",), verdict=_ALLOW, conditions=(without_namespaces,)),
            # Its flags lie in memory, where no filter sees them: libraries fall back to clone.
            Rule(names=("clone3",), verdict=Verdict(action=Action.ERRNO, number=ENOSYS)),
        ]
    return Profile(default=_DENY, rules=tuple(rules))


def _argument(comparison: Comparison, value: int) -> Condition:
    return Condition(index=0, comparison=comparison, value=value)
