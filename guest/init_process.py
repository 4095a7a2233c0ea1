"""`--init`: a process 1 for the container that passes signals on and reaps, in place of a command that does neither.

It is the machine's own static busybox, bound into the container: nothing has to be in the image for it.
"""

from __future__ import annotations

from guest.oci import BindMount

_PATH_IN_BOX = "/dev/boxlite/busybox"  # busybox goes by the name it is called
_BUSYBOX = "/usr/bin/busybox"

# A background job of a shell without job control reads /dev/null, so stdin travels as descriptor 3. `wait` returns
# early when a signal was passed on; the command has ended only when it is no longer there.
_SCRIPT = """
for name in HUP INT QUIT USR1 USR2 TERM WINCH CONT; do trap "kill -s $name \\$child" $name; done
exec 3<&0
"$@" <&3 3<&- &
child=$!
exec 3<&-
while :; do
    wait $child
    status=$?
    kill -0 $child 2>/dev/null || exit $status
done
"""


def with_init_process(argv: tuple[str, ...]) -> tuple[tuple[str, ...], BindMount]:
    """The command that runs `argv` under a process 1 of ours, and the mount it needs."""
    wrapped = (_PATH_IN_BOX, "sh", "-c", _SCRIPT, "boxlite-init", *argv)
    return wrapped, BindMount(source=_BUSYBOX, target=_PATH_IN_BOX, read_only=True)
