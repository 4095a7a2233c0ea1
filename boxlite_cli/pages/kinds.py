"""What a shell can offer for the value of an option or an argument, told by its metavar.

A flag that somebody adds is completed without being named here as long as its metavar is one of those that commands
use; `a|b|c` in lower case is a choice.
"""

from __future__ import annotations

import re
from enum import StrEnum

from boxlite_cli.pages.tree import Argument, Option, Page
from engine.model import Accel
from engine.values import dataclass


class Source(StrEnum):
    """Who knows the candidates. The dynamic ones are asked of `boxlite __complete SOURCE`."""

    NOTHING = "nothing"
    WORDS = "words"
    FILES = "files"
    DIRECTORIES = "directories"
    BOXES = "boxes"
    ACTIVE = "active"
    INACTIVE = "inactive"
    PAUSED = "paused"
    THINGS = "things"
    IMAGES = "images"
    VOLUMES = "volumes"
    PLACES = "places"
    TOPICS = "topics"

    @property
    def is_dynamic(self) -> bool:
        return self not in (Source.NOTHING, Source.WORDS, Source.FILES, Source.DIRECTORIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    source: Source
    words: tuple[str, ...] = ()


NOTHING = Kind(source=Source.NOTHING)
_CHOICE = re.compile(r"[a-z0-9-]+(\|[a-z0-9-]+)+")
_SIGNALS = ("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "STOP", "CONT", "WINCH")
_CAPABILITIES = (
    "ALL", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT", "SYS_NICE", "SYS_PTRACE", "SYS_TIME",
)  # fmt: skip
_FORMATS = ("table", "json", "yaml")
_WORDS = {
    "SIGNAL": _SIGNALS,
    "CAP": _CAPABILITIES,
    "PRESET": ("enabled", "standard", "maximum", "development", "disabled"),
    "POLICY": ("no", "on-failure", "always", "unless-stopped"),
    "OS/ARCH": ("linux/amd64", "linux/arm64"),
    "ACCEL": ("auto", *Accel),
}
_SOURCES = {
    "BOX": Source.BOXES,
    "IMAGE": Source.IMAGES,
    "VOLUME": Source.VOLUMES,
    "FILE": Source.FILES,
    "DIR": Source.DIRECTORIES,
    "TOPIC": Source.TOPICS,
    "SRC": Source.PLACES,
    "DST": Source.PLACES,
    "REPOSITORY": Source.IMAGES,
    "COMMAND": Source.TOPICS,
}
_BOX_STATES = {
    "attach": Source.ACTIVE,
    "exec": Source.ACTIVE,
    "kill": Source.ACTIVE,
    "pause": Source.ACTIVE,
    "port": Source.ACTIVE,
    "restart": Source.BOXES,
    "start": Source.INACTIVE,
    "stats": Source.ACTIVE,
    "stop": Source.ACTIVE,
    "top": Source.ACTIVE,
    "unpause": Source.PAUSED,
    "wait": Source.ACTIVE,
}
"""Commands that make sense for boxes of some states only; all others are offered every box."""
_OPTION_SOURCES = {
    "--home": Source.DIRECTORIES,
    "--rootfs": Source.FILES,
    "--output": Source.FILES,
    "--input": Source.FILES,
    "--volume": Source.VOLUMES,
}


def kind_of_option(option: Option) -> Kind:
    """The kind of an option's value."""
    metavar = option.metavar or ""
    if _CHOICE.fullmatch(metavar):
        return Kind(source=Source.WORDS, words=tuple(metavar.split("|")))
    if metavar == "FORMAT":  # its help names those that it takes
        return Kind(source=Source.WORDS, words=tuple(w for w in _FORMATS if w in option.help))
    if metavar in _WORDS:
        return Kind(source=Source.WORDS, words=_WORDS[metavar])
    source = next((_OPTION_SOURCES[name] for name in option.names if name in _OPTION_SOURCES), None)
    return Kind(source=source or _SOURCES.get(metavar, Source.NOTHING))


def kind_of_argument(page: Page, argument: Argument) -> Kind:
    """The kind of an argument: of its first word where the metavar has several (`IMAGE [COMMAND]…`)."""
    if argument.metavar == "[BOX|IMAGE]…":
        return Kind(source=Source.THINGS)
    if argument.metavar == "COMMAND…":
        return NOTHING  # of the box, which nobody here knows
    if _CHOICE.fullmatch(argument.metavar):
        return Kind(source=Source.WORDS, words=tuple(argument.metavar.split("|")))
    first = re.split(r"[\s|\]…\[:]", argument.metavar.lstrip("["))[0]
    source = _SOURCES.get(first, Source.NOTHING)
    if source is Source.BOXES and page.path:
        source = _BOX_STATES.get(page.path[-1], source)
    return Kind(source=source)


def argument_kinds(page: Page) -> tuple[tuple[Kind, ...], Kind]:
    """The kinds of a command's words one by one, and that of every further word."""
    kinds: list[Kind] = []
    for argument in page.arguments:
        kind = kind_of_argument(page, argument)
        if argument.repeatable:
            several = argument.metavar in ("IMAGE [COMMAND]…", "COMMAND…")
            return (*kinds, *((kind,) if several else ())), NOTHING if several else kind
        kinds.append(kind)
    return tuple(kinds), NOTHING
