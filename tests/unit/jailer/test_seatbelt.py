"""The macOS profile, compared with what was thought through. Nobody has run it on a Mac."""

import pytest

from engine.errors import JailError
from engine.jailer.grants import Jail, Limits, device, read, write
from engine.jailer.seatbelt import build_profile, wrap
from engine.process import Command

GOLDEN = """\
(version 1)
(deny default)
(allow process-exec (literal "/opt/qemu"))
(deny process-fork)
(allow signal (target self))
(allow sysctl-read)
(allow file-read* file-map-executable (subpath "/usr/lib"))
(allow file-read* file-map-executable (subpath "/System/Library"))
(allow file-read* file-map-executable (subpath "/System/Volumes/Preboot/Cryptexes"))
(allow file-read* file-map-executable (subpath "/private/var/db/dyld"))
(allow file-read* file-write-data (literal "/dev/null"))
(allow file-read* file-write-data (literal "/dev/zero"))
(allow file-read* file-write-data (literal "/dev/random"))
(allow file-read* file-write-data (literal "/dev/urandom"))
(allow file-read-metadata (literal "/"))
(allow file-read-metadata (literal "/h"))
(allow file-read-metadata (literal "/opt"))
(allow file-read* file-map-executable (literal "/opt/qemu"))
(allow file-read* file-map-executable (subpath "/h/base \\"1\\""))
(allow file-read* file-write* (subpath "/h/disk"))
(allow file-read* file-write* file-ioctl (subpath "/dev/x"))
(deny network*)
"""
JAIL = Jail(grants=(read('/h/base "1"'), write("/h/disk"), device("/dev/x")), limits=Limits(open_files=1024))


def test_profile_denies_all_but_the_grants() -> None:
    assert build_profile("/opt/qemu", JAIL) == GOLDEN.replace(
        '(allow file-read-metadata (literal "/h"))',
        '(allow file-read-metadata (literal "/dev"))\n(allow file-read-metadata (literal "/h"))',
    )


def test_wrap_sets_limits_outside_the_sandbox() -> None:
    argv = wrap(Command(argv=("/opt/qemu", "-x")), JAIL).argv
    assert argv[:4] == ("/bin/sh", "-c", 'set -e; ulimit -c 0; ulimit -n 1024; exec "$@"', "sh")
    assert argv[4:6] == ("/usr/bin/sandbox-exec", "-p") and argv[7:] == ("/opt/qemu", "-x")


def test_wrap_with_a_profile_of_ones_own_uses_that() -> None:
    argv = wrap(Command(argv=("/opt/qemu",)), Jail(profile_path="/my.sb")).argv
    assert argv[-4:] == ("/usr/bin/sandbox-exec", "-f", "/my.sb", "/opt/qemu")


def test_wrap_of_a_disabled_jail_is_the_command_itself() -> None:
    assert wrap(Command(argv=("/opt/qemu",)), Jail(enabled=False)).argv == ("/opt/qemu",)


def test_wrap_with_a_volume_is_refused_by_name() -> None:
    with pytest.raises(JailError, match="/v cannot be shown at /m/0"):
        wrap(Command(argv=("/opt/qemu",)), Jail(grants=(read("/v", target="/m/0"),)))
