"""The head start of commands that start a box: its shim is spawned before anything else is loaded, and gets ready on
another processor meanwhile, with a machine of the usual kind where the command line asks for no other. A command that then
starts nothing costs processes that end by themselves."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # that of `typing` takes as long to load as the machine takes to start
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

STARTING = ("run", "start", "restart")
SWITCHES = frozenset(
    [
        "--interactive",
        "-i",
        "--tty",
        "-t",
        "--detach",
        "-d",
        "--rm",
        "--quiet",
        "-q",
        "--publish-all",
        "-P",
        "--read-only",
        "--init",
        "--privileged",
        "--no-auto-resume",
        "--no-healthcheck",
        "--sig-proxy",
        "--no-sig-proxy",
        "--cold-boot",
        "--debug",
        "--json",
        "--plan",
        "--attach",
        "-a",
    ]
)
"""Flags of these commands that take no value; a test holds them against the commands themselves."""
MACHINE_FLAGS = frozenset(
    [
        "--cpus",
        "--memory",
        "-m",
        "--volume",
        "-v",
        "--mount",
        "--security",
        "--cold-boot",
        "--home",
        "--config",
        "--help",
        "--plan",
    ]
)
"""Flags that ask for a machine of another kind, or for none."""
RESTRICTING_FLAGS = frozenset(
    ["--allow-net", "--deny-net", "--host-access", "--net-tx-kbps", "--net-rx-kbps", "--secret"]
)
"""Flags that ask for a machine whose network is restricted, whatever their value: `--host-access enabled` is a wrong guess."""
NETWORK_FLAGS = frozenset(["--network", "--net"])
OFF_WORDS = frozenset(["disabled", "none", "disable", "off", "false", "no", "0"])
_spawned: list[tuple[int, socket.socket]] = []


def begin(arguments: Sequence[str]) -> None:
    """Spawn a shim if the command line looks like one that starts a box. Where that fails, the start says why."""
    words = iter(arguments)
    home, command = split_command(words)
    if command not in STARTING or {"--help", "-h"} & set(arguments[:3]) or "--plan" in arguments:
        return
    link = None if command == "restart" or is_configured(os.environ) else usual_link(words)
    try:
        _spawned.append(_start_shim(_absolute(home or _home()), link))
    except OSError:
        return


def _start_shim(home: str, link: str | None) -> tuple[int, socket.socket]:
    if link is not None and sys.platform == "linux":
        from engine.shim.forking import fork_shim

        return fork_shim(home, link)
    from engine.shim.spawn import spawn_shim

    return spawn_shim() if link is None else spawn_shim(home, link)


def split_command(words: Iterator[str]) -> tuple[str | None, str | None]:
    """Take the options before the command, and the command: the home they name and the command, None where there is
    none, or where the options are for the parser to judge."""
    home = None
    for word in words:
        if not word.startswith("-"):
            return home, word
        name, equals, value = word.partition("=")
        if name == "--home":
            home = value if equals else next(words, None)
        elif name not in SWITCHES:
            break
    return None, None


def usual_link(words: Iterator[str]) -> str | None:
    """What connects the machine (engine.shim.usual), if the options before the first positional argument leave its kind alone
    otherwise; None if they do not."""
    from engine.shim.usual import CARD, NONE, PORT

    restricted = disabled = False
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            return NONE if disabled else PORT if restricted else CARD
        name, equals, value = word.partition("=")
        if name in NETWORK_FLAGS:
            disabled = (value if equals else next(words, "")).lower() in OFF_WORDS
            continue
        restricted = restricted or name in RESTRICTING_FLAGS
        flags = [name] if word.startswith("--") else [f"-{letter}" for letter in word[1:]]
        for number, flag in enumerate(flags, start=1):
            if flag in MACHINE_FLAGS:
                return None
            if flag not in SWITCHES:
                if number == len(flags) and not equals:
                    next(words, None)
                break
    return None


def is_configured(environment: Mapping[str, str]) -> bool:
    """Is there a configuration file that may ask for another home or machine? It is not parsed here."""
    if environment.get("BOXLITE_CONFIG"):
        return True
    base = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    try:
        with open(f"{base}/boxlite/config.yaml", "rb") as file:
            text = file.read()
    except OSError:
        return False
    return any(key in text for key in (b"home_dir", b"accel", b"security", b"defaults"))


def _home() -> str:
    return os.environ.get("BOXLITE_HOME") or os.path.expanduser("~/.boxlite")  # noqa: PTH111  pathlib is not loaded yet


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100


def take() -> tuple[int, socket.socket] | None:
    """The shim that was spawned, once."""
    return _spawned.pop() if _spawned else None
