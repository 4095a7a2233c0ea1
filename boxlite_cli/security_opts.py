"""`--security-opt`, in Docker's grammar: NAME[=VALUE] or NAME[:VALUE]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import InvalidArgumentError, UnsupportedError
from engine.fsutil import storage_error
from engine.values import dataclass

MAX_PROFILE_BYTES = 1024 * 1024
_ON_OFF = {"": True, "true": True, "false": False}
_ELSEWHERE = {
    "apparmor": "a box's kernel has no AppArmor; leave it out",
    "label": "a box's kernel has no SELinux; leave it out",
    "systempaths": "--privileged shows what the container's masked paths hide",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Restrictions:
    """See BoxSpec for what `seccomp` may be."""

    seccomp: str = ""
    no_new_privileges: bool = False


def parse_security_opts(words: Sequence[str]) -> Restrictions:
    """The last of each name counts. A profile is read now and kept with the box, so that it is the same at every start.

    Raises InvalidArgumentError, UnsupportedError naming the option.
    """
    seccomp, no_new_privileges = "", False
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            name, _, value = word.partition(":")
        match name:
            case "seccomp" if value:
                seccomp = _seccomp(value)
            case "no-new-privileges" if value in _ON_OFF:
                no_new_privileges = _ON_OFF[value]
            case _ if name in _ELSEWHERE:
                raise UnsupportedError(f"--security-opt {name} has no effect in a box", hint=_ELSEWHERE[name])
            case _:
                raise InvalidArgumentError(
                    f"--security-opt {word!r} is none of seccomp=unconfined, seccomp=FILE and no-new-privileges[=false]"
                )
    return Restrictions(seccomp=seccomp, no_new_privileges=no_new_privileges)


def _seccomp(value: str) -> str:
    match value:
        case "unconfined":
            return value
        case "builtin":
            return ""
    from engine import host
    from engine.seccomp.profile import parse_profile

    try:
        with Path(value).expanduser().open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise storage_error(error, "reading the seccomp profile") from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"the seccomp profile {value} is not text") from error
    if len(data) > MAX_PROFILE_BYTES:
        raise InvalidArgumentError(f"the seccomp profile {value} is larger than 1 MiB")
    parse_profile(text, arch=host.machine_arch(), capabilities=())
    return text
