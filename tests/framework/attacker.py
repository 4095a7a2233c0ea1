"""What a guest that has taken over QEMU, or another program that serves it, would try. Runs in its place inside the jail, on
Python's own library alone.

    python attacker.py STAGE.json

Every attempt is one function: it returns what it got hold of, or raises OSError when it was refused. Of attempts on
resources it returns how far it came, and the test judges. One JSON line per attempt: [name, got, refusal].
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
STAGE: dict[str, Any] = {}
ATTEMPTS: list[tuple[str, Callable[[], object]]] = []
NUMBERS = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "pidfd_open": 434, "mount": 165, "umount2": 166, "pivot_root": 155,
        "chroot": 161, "unshare": 272, "setns": 308, "open_tree": 428, "fsopen": 430, "move_mount": 429,
        "mknodat": 259, "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298,
        "userfaultfd": 323, "init_module": 175, "kexec_load": 246, "reboot": 169, "swapon": 167, "syslog": 103,
        "sethostname": 170, "settimeofday": 164, "capset": 126, "personality": 135, "io_uring_setup": 425,
        "name_to_handle_at": 303, "open_by_handle_at": 304, "execve": 59, "execveat": 322, "memfd_create": 319,
        "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240, "clone": 56, "clone3": 435, "vfork": 58,
        "quotactl": 179, "acct": 163, "fanotify_init": 300, "sched_setscheduler": 144, "mlockall": 151,
        "setpriority": 141, "prctl": 157, "tkill": 200, "kcmp": 312, "landlock_create_ruleset": 444, "mremap": 25,
        "pidfd_getfd": 438, "mount_setattr": 442, "lookup_dcookie": 212, "iopl": 172, "ioperm": 173,
    },
}[os.uname().machine]  # fmt: skip


def attempt(function: Callable[[], object]) -> Callable[[], object]:
    ATTEMPTS.append((function.__name__, function))
    return function


def each(name: str, function: Callable[[], object]) -> None:
    ATTEMPTS.append((name, function))


def call(name: str, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = int(LIBC.syscall(ctypes.c_long(NUMBERS[name]), *words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# ------------------------------------------------------------ files


def read_of(path: str) -> object:
    if os.path.isdir(path):
        return os.listdir(path)
    with open(path, "rb", buffering=0) as file:
        return repr(file.read(64))


def write_of(path: str) -> object:
    fd = os.open(path, os.O_WRONLY)
    try:
        return os.pwrite(fd, b"owned", 0)
    finally:
        os.close(fd)


def make_in(directory: str) -> object:
    path = os.path.join(directory, "planted")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return path


READ = (
    "other_disk", "other_logs", "boxes_dir", "home_dir", "database", "credentials", "own_config", "own_logs",
    "person_home", "victim_environment", "victim_memory", "volume_of_other",
)  # fmt: skip
READ_EVERYWHERE = (
    "/etc/passwd", "/etc/shadow", "/etc/hostname", "/root", "/home", "/var/log", "/usr/bin", "/usr/lib/python3/dist-packages",
    "/proc/kcore", "/proc/kallsyms", "/proc/self/environ", "/proc/1/environ", "/proc/self/root", "/proc/1/root/etc", "/proc/net/tcp",
    "/proc/keys", "/proc/sys/kernel/core_pattern", "/sys", "/sys/fs/cgroup", "/dev/mem", "/dev/kvm", "/dev/fuse", "/dev/net/tun",
    "/dev/vda", "/dev/sda", "/dev/ptmx", "/dev/vsock", "/dev/vhost-net", "/dev/shm", "/run", "/tmp",
)  # fmt: skip
WRITE = ("base", "template_memory", "template_state", "guest_kernel", "guest_root", "other_disk", "database")
WRITE_EVERYWHERE = (
    "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/proc/self/uid_map",
    "/proc/self/mem", "/proc/self/attr/current", "/gate",
)  # fmt: skip
MAKE = ("/", "/usr", "/dev", "/dev/shm", "/tmp", "/proc", "/etc", "/var/tmp")


def plan_file_attempts() -> None:
    for name in READ:
        each(f"read {name}", lambda name=name: read_of(STAGE[name]))  # type: ignore[misc]
    for path in READ_EVERYWHERE:
        each(f"read {path}", lambda path=path: read_of(path))  # type: ignore[misc]
    for name in WRITE:
        each(f"write {name}", lambda name=name: write_of(STAGE[name]))  # type: ignore[misc]
        each(f"truncate {name}", lambda name=name: os.truncate(STAGE[name], 0))  # type: ignore[misc]
        each(f"chmod {name}", lambda name=name: os.chmod(STAGE[name], 0o777))  # type: ignore[misc]
        each(f"unlink {name}", lambda name=name: os.unlink(STAGE[name]))  # type: ignore[misc]
    for path in WRITE_EVERYWHERE:
        each(f"write {path}", lambda path=path: write_of(path))  # type: ignore[misc]
    for path in (*MAKE, STAGE["own_dir"], STAGE["share"]):
        each(f"make a file in {path}", lambda path=path: make_in(path))  # type: ignore[misc]
    each("rename the disk", lambda: os.rename(STAGE["disk"], STAGE["disk"] + ".gone"))
    each("link the disk", lambda: os.link(STAGE["disk"], STAGE["own_dir"] + "/again"))
    each("chown the disk", lambda: os.chown(STAGE["disk"], 0, 0))
    each("make the disk setuid", lambda: os.chmod(STAGE["disk"], 0o4777))
    each("make a symbolic link", lambda: os.symlink("/", STAGE["share"] + "/out"))
    each("make a block device", lambda: call("mknodat", -100, b"/dev/disk", 0o060666, os.makedev(8, 0)))
    each("a handle of a file", lambda: call("name_to_handle_at", -100, b"/", bytes(128), bytes(8), 0))
    each("open by handle", lambda: call("open_by_handle_at", 0, bytes(128), 0))


def replace_of(path: str) -> object:
    os.symlink("/dev/null", path + ".planted")
    os.rename(path + ".planted", path)
    return path


def share_of(path: str) -> object:
    fd = os.open(path, os.O_RDWR)
    try:
        mmap.mmap(fd, 1)[0] = 0x78
    finally:
        os.close(fd)
    return path


def plan_attempts_on_what_boxes_share() -> None:
    """What every jail has to withstand, whoever is in it: base, template and guest image stay as they are."""
    for name in WRITE:
        path = STAGE[name]
        for verb, change in (
            ("write", write_of), ("map", share_of), ("replace", replace_of), ("truncate", lambda path: os.truncate(path, 0)),
            ("empty", lambda path: os.open(path, os.O_WRONLY | os.O_TRUNC)), ("chmod", lambda path: os.chmod(path, 0o777)),
            ("chown", lambda path: os.chown(path, os.getuid(), os.getgid())), ("unlink", os.unlink),
            ("rename", lambda path: os.rename(path, path + ".gone")), ("link", lambda path: os.link(path, path + ".again")),
            ("date", os.utime), ("label", lambda path: os.setxattr(path, "user.owned", b"1")),
            ("append to", lambda path: os.open(path, os.O_WRONLY | os.O_APPEND)),
        ):  # fmt: skip
            each(f"{verb} {name}", lambda change=change, path=path: [change(path)])  # type: ignore[misc]
        for way in ("/proc/self/root", "/proc/1/root", f"/proc/{STAGE['victim_pid']}/root"):
            each(f"write {name} by {way}", lambda way=way, path=path: write_of(way + path))  # type: ignore[misc]
        each(f"make a file beside {name}", lambda path=path: make_in(os.path.dirname(path)))  # type: ignore[misc]
    each("mount the view writable", lambda: call("mount", None, b"/", None, 0x20 | 0x1000, None))
    each("bind another view", lambda: call("mount", b"/", b"/tmp", None, 0x1000 | 0x4000, None))
    each("mount devices", lambda: call("mount", b"none", b"/tmp", b"devtmpfs", 0, None))
    each("open by handle", lambda: call("open_by_handle_at", -100, bytes(128), os.O_RDWR))
    each("trace another", lambda: call("ptrace", 16, STAGE["victim_pid"], 0, 0))
    each("fork", os.fork)
    each("exec a shell", lambda: os.execve("/bin/sh", ["sh"], {}))
    each("a unix socket", lambda: repr(socket.socket(socket.AF_UNIX)))
    each("a packet socket", lambda: repr(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)))
    each("a vsock socket", lambda: repr(socket.socket(socket.AF_VSOCK)))
    each("connect to an abstract socket", lambda: connect_inherited("\0" + STAGE["abstract"]))
    if STAGE["ports_are_held"]:
        each("listen on a port that is not published", lambda: listen_on(STAGE["free_port"]))


def listen_on(port: int) -> object:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        return listener.getsockname()


@attempt
def find_descriptors_that_were_not_handed_over() -> object:
    found = []
    for fd in range(3, 1024):
        try:
            os.fstat(fd)
        except OSError:
            continue
        if fd not in STAGE["descriptors"]:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found or nothing()


@attempt
def find_variables_of_our_environment() -> object:
    names = {*os.environ} - {"PWD", "LC_CTYPE"}
    return sorted(names) or nothing()


def nothing() -> object:
    raise OSError(0, "there is nothing")


# ------------------------------------------------------------ processes


def plan_process_attempts() -> None:
    victim = STAGE["victim_pid"]
    each("fork", os.fork)
    each("clone a process", lambda: call("clone", signal.SIGCHLD, 0, 0, 0, 0))
    each("clone3", lambda: call("clone3", bytes(88), 88))
    for name, flag in (
        ("user", 0x10000000), ("mount", 0x20000), ("net", 0x40000000), ("pid", 0x20000000), ("ipc", 0x8000000),
        ("uts", 0x4000000), ("cgroup", 0x2000000), ("time", 0x80),
    ):  # fmt: skip
        each(f"a new {name} namespace", lambda flag=flag: call("unshare", flag))  # type: ignore[misc]
        each(f"clone into a new {name} namespace", lambda flag=flag: call("clone", flag | 17, 0, 0, 0, 0))  # type: ignore[misc]
    each("join a namespace", lambda: call("setns", 0, 0))
    shell = ctypes.create_string_buffer(b"/bin/sh")
    each("exec a shell", lambda: os.execve("/bin/sh", ["sh"], {}))
    each("exec itself again", lambda: os.execve(sys.executable, [sys.executable, "-c", "1"], {}))
    each("exec the gate", lambda: os.execve("/gate", ["gate", "x"], {}))
    each("exec a file without a name", lambda: call("execveat", 0, b"", ctypes.addressof(shell), 0, 0x1000))
    each("exec from where the gate's path was", exec_from_the_gates_address)
    each("trace another", lambda: call("ptrace", 16, victim, 0, 0))
    each("be traced", lambda: call("ptrace", 0, 0, 0, 0))
    each("read another's memory", lambda: call("process_vm_readv", victim, bytes(16), 1, bytes(16), 1, 0))
    each("a descriptor of another", lambda: call("pidfd_open", victim, 0))
    each("another's descriptor", lambda: call("pidfd_getfd", 0, 0, 0))
    each("compare with another", lambda: call("kcmp", victim, 1, 0, 0, 0))
    each("kill another", lambda: os.kill(victim, signal.SIGKILL))
    each("kill everybody", lambda: os.kill(-1, signal.SIGKILL))
    each("kill its parent", lambda: call("tkill", os.getppid() or victim, 9))
    each("kill another's group", lambda: os.killpg(victim, signal.SIGKILL))
    each(
        "see processes of the host",
        lambda: [p for p in os.listdir("/proc") if p.isdigit() and p != "1"] or nothing(),
    )
    for name, arguments in KERNEL_CALLS.items():
        each(name, lambda name=name, arguments=arguments: call(name, *arguments))  # type: ignore[misc]
    each("become root", lambda: os.setuid(0) or still("uid", os.getresuid()))
    each("become another", lambda: os.setresuid(1, 1, 1))
    each("join root's group", lambda: os.setgroups([0]))
    each(
        "gain capabilities",
        lambda: call("capset", struct.pack("<Ii", 0x20080522, 0), struct.pack("<6I", *[0xFFFFFFFF] * 6)),
    )
    each("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)))
    each("write a core dump", lambda: resource.getrlimit(resource.RLIMIT_CORE)[1] or nothing())
    each("turn its filter off", lambda: call("prctl", 22, 0, 0, 0, 0))
    each("run first in real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99)))
    each("be nicer to itself", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))


def still(what: str, value: object) -> object:
    return f"{what} {value}"


def exec_from_the_gates_address() -> object:
    """The filter lets execve through from one address. Put a path there."""
    LIBC.mmap.restype = ctypes.c_void_p
    for flags in (0x32, 0x100022):  # MAP_FIXED, MAP_FIXED_NOREPLACE
        got = LIBC.mmap(ctypes.c_void_p(0x400000), ctypes.c_size_t(4096), 3, flags, -1, ctypes.c_long(0))
        if got == 0x400000:
            return hex(got)
    somewhere = LIBC.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0))
    moved = call("mremap", somewhere, 4096, 4096, 3, 0x400000)
    return hex(moved)


KERNEL_CALLS: dict[str, tuple[int | bytes | None, ...]] = {
    "mount": (b"none", b"/", b"tmpfs", 0, None),
    "umount2": (b"/proc", 2),
    "pivot_root": (b"/", b"/"),
    "chroot": (b"/proc",),
    "open_tree": (-100, b"/", 1),
    "fsopen": (b"tmpfs", 0),
    "move_mount": (-100, b"/proc", -100, b"/dev", 0),
    "mount_setattr": (-100, b"/", 0, bytes(32), 32),
    "add_key": (b"user", b"x", b"x", 1, -3),
    "request_key": (b"user", b"boxlite-victim", None, 0),
    "keyctl": (11, -3, 0, 0, 0),
    "bpf": (0, bytes(72), 72),
    "perf_event_open": (bytes(128), 0, -1, -1, 0),
    "userfaultfd": (0,),
    "init_module": (b"x", 1, b""),
    "kexec_load": (0, 0, None, 0),
    "reboot": (0xFEE1DEAD - (1 << 32), 672274793, 0, None),
    "swapon": (b"/dev/zero", 0),
    "syslog": (3, bytes(64), 64),
    "sethostname": (b"owned", 5),
    "settimeofday": (bytes(16), None),
    "personality": (0x0040000,),
    "io_uring_setup": (8, bytes(120)),
    "shmget": (0x1234, 4096, 0),
    "msgget": (0x1234, 0),
    "semget": (0x1234, 1, 0),
    "mq_open": (b"victim", 0, 0, None),
    "quotactl": (0, None, 0, None),
    "acct": (None,),
    "fanotify_init": (0, 0),
    "mlockall": (3,),
    "memfd_create": (b"x", 0),
    "landlock_create_ruleset": (bytes(8), 8, 0),
    "iopl": (3,),
    "ioperm": (0, 1, 1),
}


# ------------------------------------------------------------ network


def plan_network_attempts() -> None:
    families = {
        "TCP": (socket.AF_INET, socket.SOCK_STREAM, 0), "UDP": (socket.AF_INET, socket.SOCK_DGRAM, 0),
        "IPv6": (socket.AF_INET6, socket.SOCK_STREAM, 0), "raw": (socket.AF_INET, socket.SOCK_RAW, 1),
        "packet": (socket.AF_PACKET, socket.SOCK_RAW, 0), "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM, 0), "crypto": (socket.AF_ALG, socket.SOCK_SEQPACKET, 0),
        "unix": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
    }  # fmt: skip
    for name, family in families.items():
        each(f"a {name} socket", lambda family=family: repr(socket.socket(*family)))  # type: ignore[misc]
    each(
        "connect to the host's loopback",
        lambda: socket.create_connection(("127.0.0.1", STAGE["port"]), 2).fileno(),
    )
    each("connect to an abstract socket", lambda: connect_inherited("\0" + STAGE["abstract"]))
    each("connect to a socket file", lambda: connect_inherited(STAGE["socket_file"]))
    each("bind an inherited socket", lambda: inherited().bind("\0planted"))
    each(
        "network devices of the host", lambda: [n for _, n in socket.if_nameindex() if n != "lo"] or nothing()
    )


def inherited() -> socket.socket:
    """A socket handed over that is not connected: another end of the same kind would be the way out."""
    return socket.socket(fileno=os.dup(STAGE["loose_socket"]))


def connect_inherited(address: str) -> object:
    inherited().connect(address)
    return "connected"


# ------------------------------------------------------------ resources: how far it came


def how_much_memory() -> object:
    blocks, size = [], 256 << 20
    try:
        while len(blocks) < 4096:
            blocks.append(mmap.mmap(-1, size))
    except OSError:
        pass
    return {"bytes": len(blocks) * size}


def how_many_threads() -> object:
    stop, count = threading.Event(), 0
    threading.stack_size(64 << 10)
    try:
        while count < 20_000:
            threading.Thread(target=stop.wait, daemon=True).start()
            count += 1
    except RuntimeError:
        pass
    stop.set()
    return {"threads": count}


def how_many_descriptors() -> object:
    fds = []
    try:
        while len(fds) < 100_000:
            fds.append(os.dup(0))
    except OSError:
        pass
    for fd in fds:
        os.close(fd)
    return {"descriptors": len(fds)}


def how_large_a_file() -> object:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fd, size = STAGE["disk_fd"], 1 << 20
    try:
        while size < 1 << 43:
            os.ftruncate(fd, size + (256 << 20))
            size += 256 << 20
    except OSError:
        pass
    os.ftruncate(fd, 0)
    return {"bytes": size}


def main() -> None:
    with open(sys.argv[1]) as file:
        STAGE.update(json.load(file))
    if STAGE["place"] == "machine":
        plan_file_attempts()
        plan_process_attempts()
        plan_network_attempts()
        for function in (how_large_a_file, how_many_descriptors, how_many_threads, how_much_memory):
            attempt(function)
    else:
        plan_attempts_on_what_boxes_share()
    for name, function in ATTEMPTS:
        try:
            got, refusal = function(), None
        except (OSError, PermissionError) as error:
            got, refusal = None, str(error)
        print(json.dumps([name, got if refusal is None else None, refusal]), flush=True)
    print(json.dumps(["the end", len(ATTEMPTS), None]), flush=True)


if __name__ == "__main__":
    main()
