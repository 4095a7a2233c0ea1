"""Starting the machine that most boxes have, as the first thing a process does that is to become a shim.

Most boxes run on the same machine as the one before, so its command is noted, and it is started from the note before
anything else is loaded: this module imports next to nothing. `engine.shim.headstart` takes over from here,
and lets a box have the machine only if its command is the very one that would be made for that box.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import signal
import socket

from engine.jailer.identity import SHARED_GID, claim_id, gives_ids, with_identity

CARD, PORT, NONE = "card", "port", "none"
"""What connects a machine: a network card, the port of a restricted box, nothing."""
DIRECTORY_PREFIX = "head-"
WARM_ORDER = b'{"op": "warm"}\n'
"""Tells the agent that there is time to get ready in."""
CHANNELS = 5
SOCKET_PREFIX = "port-"
_LONGEST_SOCKET_PATH = 100
_BACKLOG = 16


class UsualMachine:
    """A machine just started, in a directory of its own. `ends` are our ends of its channels, `far_end` that of its
    network (None without one); `fds`, `argv` and `gate` are what it was started with. `uid` is the user it becomes, kept from others by
    `held`; None where it stays us."""

    __slots__ = ("argv", "directory", "ends", "far_end", "fds", "gate", "held", "link", "lock", "pid", "uid")

    def __init__(
        self, directory: str, lock: int, link: str, fds: list[int], argv: list[str], gate: bytes
    ) -> None:
        self.directory = directory
        self.lock = lock
        self.link = link
        self.fds = fds
        self.argv = argv
        self.gate = gate
        self.uid: int | None = None
        self.held: socket.socket | None = None
        self.pid = 0
        self.ends: list[socket.socket] = []
        self.far_end: socket.socket | None = None

    def start(self, script: bytes, *, get_warm: bool) -> None:
        """Start it and tell it to restore itself, and its agent to get warm. Raises OSError."""
        share = f"{self.directory}/mounts"
        os.mkdir(share, 0o750)  # noqa: PTH102
        if gives_ids():
            self.uid, self.held = claim_id()
            self.gate = with_identity(self.gate, self.uid, self.uid)
            os.chown(share, -1, SHARED_GID)
            os.chmod(share, 0o750)  # noqa: PTH101, S103
        gate = os.open(f"{share}.gate", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o700)
        os.write(gate, self.gate)
        os.fchmod(gate, 0o500)
        os.close(gate)
        connected = CHANNELS + (self.link != NONE)
        pairs = [socket.socketpair() for _ in range(connected)]
        listeners = [
            _listen(f"{self.directory}/{SOCKET_PREFIX}{n}.sock") for n in range(len(self.fds) - connected)
        ]
        self.ends = [ours for ours, _ in pairs[:CHANNELS]]
        if self.link != NONE:
            self.far_end = pairs[CHANNELS][0]
        theirs = [*(theirs for _, theirs in pairs), *listeners]
        self.pid = _spawn(self.argv, dict(zip(self.fds, theirs, strict=True)), f"{self.directory}/qemu.log")
        self.ends[1].send(script)
        if get_warm:
            self.ends[3].send(WARM_ORDER)

    def hand_on(self) -> int:
        """A descriptor that tells all of this to the program which this process is about to become. It stays open across
        execve(2), as does what it tells of. In memory, for the home may be full (memfd_create(2)). Raises OSError."""
        sockets = [*self.ends, *(end for end in (self.far_end, self.held) if end is not None)]
        told = (
            self.directory, self.lock, self.link, self.fds, self.argv, self.gate, self.uid, self.pid,
            [end.fileno() for end in self.ends], _number(self.far_end), _number(self.held),
        )  # fmt: skip
        fd = os.memfd_create("machine")
        os.write(fd, marshal.dumps(told))
        os.lseek(fd, 0, os.SEEK_SET)
        for number in (fd, self.lock, *(end.fileno() for end in sockets)):
            os.set_inheritable(number, True)
        return fd


def take_over(fd: int) -> UsualMachine:
    """What was handed on."""
    with open(fd, "rb") as file:
        told = marshal.loads(file.read())  # noqa: S302  from ourselves
    directory, lock, link, fds, argv, gate, uid, pid, ends, far_end, held = told
    machine = UsualMachine(directory, lock, link, fds, argv, gate)
    machine.uid, machine.pid = uid, pid
    machine.ends = [socket.socket(fileno=end) for end in ends]
    machine.far_end, machine.held = _socket(far_end), _socket(held)
    kept = [lock, *ends, *(number for number in (far_end, held) if number is not None)]
    for number in kept:
        os.set_inheritable(number, False)
    return machine


def _number(end: socket.socket | None) -> int | None:
    return None if end is None else end.fileno()


def _socket(number: int | None) -> socket.socket | None:
    return None if number is None else socket.socket(fileno=number)


def encode_note(share: str, script: bytes, gate: bytes, fds: list[int], argv: tuple[str, ...]) -> bytes:
    """`share` is the directory that stands for the box's shared one in `argv`; `script` restores the machine; `gate` closes
    its jail; `fds` are the numbers of its channels, its network (if it has one), its portals and its lanes."""
    return "\0".join([share, script.decode(), gate.hex(), " ".join(map(str, fds)), *argv]).encode()


def kind_of(link: str, cpus: int, memory_mib: int) -> str:
    """Which machines may stand for one another: those with this word. That of a machine whose size nobody chose is its link."""
    from engine.model import DEFAULT_CPUS, DEFAULT_MEMORY_MIB

    is_default = (cpus, memory_mib) == (DEFAULT_CPUS, DEFAULT_MEMORY_MIB)
    return link if is_default else f"{link}-{cpus}-{memory_mib}"


def note_path(home: str, kind: str) -> str:
    """Where the usual machine of that kind is noted."""
    return f"{home}/usual-machine" if kind == CARD else f"{home}/usual-machine-{kind}"


def start_usual_machine(home: str, kind: str, *, is_expected: bool = False) -> UsualMachine | None:
    """Start the machine noted in this home for its kind; None when none is, or it cannot be started. `is_expected`: the plan will be
    there before the machine is."""
    directory = f"{home}/tmp/{DIRECTORY_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"  # noqa: S108  of the home
    if len(directory) > _LONGEST_SOCKET_PATH - len(f"/{SOCKET_PREFIX}00.sock"):
        return None
    try:
        with open(note_path(home, kind), "rb") as note:
            share, script, gate, numbers, *words = note.read().decode().split("\0")
        fds = [int(number) for number in numbers.split()]
        os.mkdir(directory, 0o700)  # noqa: PTH102
    except (OSError, ValueError):
        return None
    try:
        lock = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        argv = [word.replace(share, f"{directory}/mounts") for word in words]
        machine = UsualMachine(directory, lock, kind.partition("-")[0], fds, argv, bytes.fromhex(gate))
        machine.start(script.encode(), get_warm=not is_expected)
    except (OSError, ValueError, IndexError):
        import shutil

        shutil.rmtree(directory, ignore_errors=True)
        return None
    return machine


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(_BACKLOG)
    return listener


def _spawn(argv: list[str], handed: dict[int, socket.socket], log_path: str) -> int:
    """Start a process that has each socket at its number, nothing else of ours, and a session of its own."""
    above = max(handed) + 1
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    moved = {fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, above): number for number, end in handed.items()}
    for end in handed.values():
        end.close()
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            {"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, source, number)
                for source, number in ((null, 0), (log, 1), (log, 2), *moved.items())
            ],
            setsid=True,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
    finally:
        for source in (null, log, *moved):
            os.close(source)
