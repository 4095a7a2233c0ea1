"""Which system calls a jailed program may make: data, by what they are for.

What is not listed gives ENOSYS, as from a kernel that does not have it, so that libraries fall back on what is; what is
known and refused gives EPERM. Names that the host's libseccomp or processor does not know are left out.
"""

from __future__ import annotations

from engine.jailer.gate import LOWEST_MAPPING, PATH_ADDRESS
from engine.seccomp.rules import (
    ALLOWED,
    DENIED,
    NO_SUCH_CALL,
    Action,
    Comparison,
    Condition,
    Profile,
    Rule,
    Verdict,
)
from engine.values import dataclass

Rules = tuple[tuple[str, tuple[Condition, ...]], ...]
"""Calls that are allowed when all conditions hold."""

FILES = (
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat openat2 close close_range"
    " stat fstat lstat newfstatat statx lseek fcntl flock ftruncate fallocate fsync fdatasync sync_file_range fadvise64"
    " copy_file_range sendfile splice access faccessat faccessat2 readlink readlinkat getdents64 getcwd chdir fchdir umask"
    " dup dup2 dup3 pipe pipe2 eventfd eventfd2 statfs fstatfs"
)
CHANGES_OF_TREES = (
    "mkdir mkdirat mknod mknodat unlink unlinkat rmdir rename renameat renameat2 link linkat symlink symlinkat chmod fchmod"
    " fchmodat fchmodat2 chown fchown lchown fchownat utimensat utimes truncate getxattr lgetxattr fgetxattr setxattr"
    " lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr setfsuid setfsgid"
)
"""What a server of a shared directory does on behalf of its client."""
MEMORY = (
    "munmap mprotect madvise brk mincore membarrier mlock munlock msync get_mempolicy set_mempolicy mbind"
)
THREADS = (
    "futex futex_waitv set_robust_list get_robust_list rseq set_tid_address exit exit_group sched_yield"
    " sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler sched_get_priority_max"
    " sched_get_priority_min gettid getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp"
    " getpgid getsid arch_prctl getcpu capget tgkill rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait"
    " rt_sigsuspend rt_sigpending rt_sigqueueinfo sigaltstack signalfd4 restart_syscall pause wait4 waitid"
)
TIME = (
    "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage timerfd_create"
    " timerfd_settime timerfd_gettime timer_create timer_settime timer_delete timer_gettime timer_getoverrun"
    " setitimer getitimer"
)
WAITING = (
    "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2"
)
INHERITED_SOCKETS = (
    "accept accept4 listen recvfrom recvmsg recvmmsg sendto sendmsg sendmmsg getsockname getpeername getsockopt"
    " setsockopt shutdown"
)
"""Sockets are made by us and handed over; there is no way to make another."""
OUTWARD_SOCKETS = "socketpair bind connect"
"""Of a program that speaks for a box; `socket` itself is for the internet's families alone: unix(7) sockets, of which abstract ones
belong to the network that such a program shares with the host, are not among them."""
WATCHING = "inotify_init1 inotify_add_watch inotify_rm_watch"
CONFINES_ITSELF = "capget capset setgroups setgid setuid setresgid setresuid umount2 pivot_root"
"""What passt does to itself before it reads the first frame."""
REST = "uname sysinfo getrandom getrlimit seccomp"

REFUSED = (
    "ptrace process_vm_readv process_vm_writev kcmp pidfd_open pidfd_getfd pidfd_send_signal kill tkill rt_tgsigqueueinfo"
    " mount umount2 pivot_root chroot move_mount open_tree fsopen fsmount fsconfig fspick mount_setattr"
    " unshare setns setuid setgid setreuid setregid setresuid setresgid setgroups capset setpriority"
    " add_key request_key keyctl bpf perf_event_open userfaultfd kexec_load kexec_file_load"
    " init_module finit_module delete_module reboot swapon swapoff acct quotactl syslog sethostname setdomainname"
    " iopl ioperm settimeofday clock_settime clock_adjtime adjtimex nfsservctl lookup_dcookie vhangup personality"
    " name_to_handle_at open_by_handle_at fanotify_init shmget shmat shmctl semget semop msgget msgsnd mq_open"
    " io_uring_setup io_uring_enter io_uring_register io_setup io_submit fork vfork execveat socket socketpair bind connect"
    " setrlimit sched_setscheduler sched_setattr ioprio_set migrate_pages move_pages memfd_secret"
    " landlock_create_ruleset landlock_add_rule landlock_restrict_self process_madvise memfd_create"
    " mkdir mkdirat mknod mknodat unlink unlinkat rmdir rename renameat renameat2 link linkat symlink symlinkat chmod"
    " fchmod fchmodat chown fchown lchown fchownat truncate setxattr lsetxattr fsetxattr"
)
"""Refused unless a profile lists them."""

_CLONE_THREAD_OF_PROCESS = 0x00010000 | 0x00000800 | 0x00000100  # CLONE_THREAD, CLONE_SIGHAND, CLONE_VM
_CLONE_NEW = 0x7E020080  # every CLONE_NEW flag, time's included
_MAP_FIXED_KINDS = 0x10 | 0x100000
_MREMAP_FIXED = 2
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _NETLINK_ROUTE = 1, 2, 10, 16, 0
_RLIMIT_NOFILE = 7
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 4, 24
_CLONE_NEWUSER = 0x10000000
_CLONE_OF_PASST = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000  # NEWNS, NEWUTS, NEWIPC, NEWPID
_MS_UNBINDABLE_REC, _MS_SEALED = 0x24000, 0xF  # the latter: read-only, no setuid, devices or programs
_PRCTLS = (3, 16, 15, 21, 22, 23, 29, 30, 36, 38, 39, 0x53564D41)
"""GET_DUMPABLE, GET_NAME, SET_NAME, GET_SECCOMP, SET_SECCOMP, CAPBSET_READ, SET_TIMERSLACK, GET_TIMERSLACK,
SET_CHILD_SUBREAPER, SET_NO_NEW_PRIVS, GET_NO_NEW_PRIVS, SET_VMA (linux/prctl.h)."""
_IOCTLS = (
    0x5401,
    0x5413,
    0x5421,
    0x541B,
    0x5450,
    0x5451,
    0x80086601,
    0x80087601,
    0x801C581F,
    0x1268,
    0x127B,
    0x80081272,
)
"""TCGETS, TIOCGWINSZ, FIONBIO, FIONREAD, FIONCLEX, FIOCLEX, FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FS_IOC_FSGETXATTR, BLKSSZGET,
BLKPBSZGET, BLKGETSIZE64 (asm-generic/ioctls.h, linux/fs.h)."""
_KVM_IOCTL_TYPE = 0xAE00


def _is(index: int, value: int) -> Condition:
    return Condition(index=index, comparison=Comparison.EQ, value=value)


def _from(index: int, value: int) -> Condition:
    return Condition(index=index, comparison=Comparison.GE, value=value)


def _bits(index: int, value: int, *, mask: int) -> Condition:
    return Condition(index=index, comparison=Comparison.MASKED_EQ, value=mask, second=value)


_GATE_BECOMES = ("execve", (_is(0, PATH_ADDRESS),))
_ANY_PROGRAM: Rules = (
    ("prlimit64", (_is(2, 0),)),
    ("mmap", (_is(0, 0),)),
    ("mmap", (_from(0, LOWEST_MAPPING),)),
    ("mremap", (_bits(3, 0, mask=_MREMAP_FIXED),)),
    ("mremap", (_from(4, LOWEST_MAPPING),)),
    *(("prctl", (_is(0, option),)) for option in _PRCTLS),
    *(("ioctl", (_is(1, number),)) for number in _IOCTLS),
)
_INTERNET: Rules = (("socket", (_is(0, _AF_INET),)), ("socket", (_is(0, _AF_INET6),)))


def _conditional(*, kvm: bool, executes: bool) -> Rules:
    """Calls that depend on their arguments. `executes`: the gate's own execve is let through, and nothing can be mapped
    where its path lay."""
    rules = [
        (
            "clone",
            (_bits(0, _CLONE_THREAD_OF_PROCESS, mask=_CLONE_THREAD_OF_PROCESS | _CLONE_NEW),),
        ),
        *_ANY_PROGRAM,
    ]
    if kvm:
        rules.append(("ioctl", (_bits(1, _KVM_IOCTL_TYPE, mask=0xFF00),)))
    if executes:
        rules.append(_GATE_BECOMES)
    return tuple(rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyscallProfile:
    """What one kind of program may call. `name` is for people."""

    name: str
    allowed: tuple[str, ...]
    conditional: Rules

    @property
    def refused(self) -> tuple[str, ...]:
        known = {*self.allowed, *(name for name, _ in self.conditional)}
        return tuple(name for name in dict.fromkeys(REFUSED.split()) if name not in known)

    def rules(self) -> Profile:
        return Profile(
            name=self.name,
            default=NO_SUCH_CALL,
            foreign=Verdict(action=Action.KILL_PROCESS),
            rules=(
                Rule(names=self.allowed, verdict=ALLOWED),
                *(Rule(names=(name,), verdict=ALLOWED, conditions=found) for name, found in self.conditional),
                Rule(names=self.refused, verdict=DENIED),
            ),
        )


def _calls(*groups: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(" ".join(groups).split()))


_PROGRAM = (FILES, MEMORY, THREADS, TIME, WAITING, REST)


def machine_profile(*, kvm: bool, shares: bool, anonymous_memory: bool) -> SyscallProfile:
    """QEMU: no new sockets, processes or programs. `shares`: it serves directories of the host that may be changed;
    `anonymous_memory`: its memory is no file (a machine that boots cold)."""
    groups = [*_PROGRAM, INHERITED_SOCKETS]
    groups += [CHANGES_OF_TREES] if shares else []
    groups += ["memfd_create"] if anonymous_memory else []
    return SyscallProfile(
        name="machine" + "+shares" * shares + "+memfd" * anonymous_memory + "+kvm" * kvm,
        allowed=_calls(*groups),
        conditional=_conditional(kvm=kvm, executes=True),
    )


def gateway_profile() -> SyscallProfile:
    """A Python process that speaks TCP and UDP for a box, and writes its log: no processes, no tree of files. A certificate is
    given to OpenSSL as a file, which is one in memory."""
    return SyscallProfile(
        name="gateway",
        allowed=_calls(*_PROGRAM, INHERITED_SOCKETS, OUTWARD_SOCKETS, "unlink", "rename", "memfd_create"),
        conditional=(*_conditional(kvm=False, executes=True), *_INTERNET),
    )


def gvproxy_profile() -> SyscallProfile:
    """A Go program that speaks for a box, and makes two sockets to be reached at. It watches /etc/hosts."""
    return SyscallProfile(
        name="gvproxy",
        allowed=_calls(*_PROGRAM, INHERITED_SOCKETS, OUTWARD_SOCKETS, WATCHING, "unlink unlinkat tgkill"),
        conditional=(
            *_conditional(kvm=False, executes=True),
            *_INTERNET,
            ("socket", (_is(0, _AF_UNIX),)),
        ),
    )


def passt_profile() -> SyscallProfile:
    """passt, from its first instruction: what it takes to start, to confine itself further (passt(1), SECURITY), and to speak for a
    box. Neither processes nor threads nor another program. Its own filter, which it adds later, leaves a part of this."""
    rules: Rules = (
        *_ANY_PROGRAM,
        _GATE_BECOMES,
        *_INTERNET,
        ("socket", (_is(0, _AF_NETLINK), _is(2, _NETLINK_ROUTE))),
        ("prlimit64", (_is(0, 0), _is(1, _RLIMIT_NOFILE))),
        ("prctl", (_is(0, _PR_SET_DUMPABLE), _is(1, 0))),
        ("prctl", (_is(0, _PR_CAPBSET_DROP),)),
        ("unshare", (_is(0, _CLONE_NEWUSER),)),
        ("unshare", (_bits(0, 0, mask=~_CLONE_OF_PASST & 0xFFFF_FFFF),)),
        ("mount", (_is(3, _MS_UNBINDABLE_REC),)),
        ("mount", (_is(3, _MS_SEALED),)),
    )
    return SyscallProfile(
        name="passt",
        allowed=_calls(*_PROGRAM, INHERITED_SOCKETS, OUTWARD_SOCKETS, CONFINES_ITSELF),
        conditional=rules,
    )
