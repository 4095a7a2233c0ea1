"""A shim with a head start: the command that wants it becomes two processes, the second of which starts the usual machine and
then becomes the shim (execve(2)). The machine stays its child, and is under way before another Python has begun to load.

For Linux, and for a process that has done nothing else yet, with a single thread. Imports next to nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from engine.shim.spawn import RESET_SIGNALS, module_argv, module_environment

TYPE_CHECKING = False  # that of `typing` takes as long to load as the machine takes to start
if TYPE_CHECKING:
    from typing import NoReturn


def fork_shim(home: str, link: str) -> tuple[int, socket.socket]:
    """The process id of a shim that waits for its plan, with the usual machine of that `link` in this home if there is one,
    and our end of its lifeline. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        _become_shim(theirs, home, link)
    theirs.close()
    return pid, ours


def _become_shim(lifeline: socket.socket, home: str, link: str) -> NoReturn:
    try:
        os.setsid()
        for signum in RESET_SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o077)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        from engine.shim.usual import start_usual_machine

        usual = start_usual_machine(home, link)
        handed = [] if usual is None else [str(usual.hand_on())]
        os.set_inheritable(
            lifeline.fileno(), True
        )  # not before: a machine that has it would keep its end from being seen
        argv = module_argv("engine.shim", str(lifeline.fileno()), *handed)
        os.execve(sys.executable, argv, module_environment())  # noqa: S606
    finally:
        os._exit(127)
