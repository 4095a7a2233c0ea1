"""Words of a command line made into the engine's values.

Each function takes one word as the user typed it and raises InvalidArgumentError, whose message quotes the word
and says what would have been right. None of them looks at anything but its argument, apart from the ones that say so.
"""

from __future__ import annotations

import math
import os
import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError
from engine.model import MAX_CPUS, PortSpec, Protocol, PullPolicy, RestartKind, RestartPolicy, Ulimit

if TYPE_CHECKING:
    from engine.runtime.network import ListenAddress

VALUES_HINT = "see 'boxlite help values'"
KIB = 1024
MIB = KIB**2
GIB = KIB**3

_SIZE_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_SIZE_UNITS = {"k": KIB, "m": MIB, "g": GIB, "t": KIB**4, "p": KIB**5}
_DURATION_PATTERN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER_PATTERN = re.compile(r"\d+(?:\.\d+)?")
_ON_OFF = {
    "enabled": True, "enable": True, "on": True, "true": True, "yes": True, "1": True,
    "disabled": False, "disable": False, "off": False, "false": False, "no": False, "0": False,
}  # fmt: skip


def parse_size(text: str, *, bare_unit: int = 1) -> int:
    """Bytes of `512m`, `1.5g`, `64KiB`; units are binary whatever their spelling, as Docker takes them. A number
    without a unit counts `bare_unit` bytes (MIB for memory, GIB for disks)."""
    word = text.strip()
    match = _SIZE_PATTERN.fullmatch(word)
    if match is None:
        raise InvalidArgumentError(
            f"size {text!r} is not a number with an optional unit b, k, m, g or t", hint=VALUES_HINT
        )
    number, unit = match.groups()
    factor = bare_unit if word == number else _SIZE_UNITS.get(unit.lower(), 1)
    return round(float(number) * factor) if "." in number else int(number) * factor


def parse_memory_mib(text: str) -> int:
    """MiB of a memory size, a part of one counted whole."""
    return -(-parse_size(text, bare_unit=MIB) // MIB)


def parse_disk_size_gb(text: str) -> int:
    """GiB of a disk size, a part of one counted whole."""
    return -(-parse_size(text, bare_unit=GIB) // GIB)


def parse_cpus(text: str) -> tuple[int, str | None]:
    """Whole processors, and a warning if that is not quite what was asked for."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not math.isfinite(number) or number <= 0:
        raise InvalidArgumentError(f"cpus {text!r} is not a number above 0")
    if number > MAX_CPUS:
        return MAX_CPUS, f"{text} cpus are more than a machine can have; it gets {MAX_CPUS}"
    whole = math.ceil(number)
    if whole != number:
        return whole, f"a machine has whole cpus: {text} is taken as {whole}"
    return whole, None


def parse_duration(text: str) -> float:
    """Seconds of `90`, `30s`, `1h30m`, `250ms`, `7d`; 0 means never."""
    word = text.strip().lower()
    if _NUMBER_PATTERN.fullmatch(word):
        return float(word)
    parts = _DURATION_PATTERN.findall(word)
    if not parts or "".join(number + unit for number, unit in parts) != word:
        raise InvalidArgumentError(
            f"duration {text!r} is not seconds or a number with ms, s, m, h or d", hint=VALUES_HINT
        )
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)


def parse_integer(text: str, *, what: str, minimum: int = 0) -> int:
    try:
        number = int(text)
    except ValueError:
        raise InvalidArgumentError(f"{what} {text!r} is not a whole number") from None
    if number < minimum:
        raise InvalidArgumentError(f"{what} must be {minimum} or more, not {number}")
    return number


def parse_on_off(text: str, *, what: str) -> bool:
    """enabled or disabled, and the words people use for them."""
    try:
        return _ON_OFF[text.lower()]
    except KeyError:
        raise InvalidArgumentError(f"{what} is enabled or disabled, not {text!r}") from None


def parse_ports(text: str) -> tuple[PortSpec, ...]:
    """`[[IP:][HOST]:]BOX[/tcp|/udp]`; HOST and BOX may be ranges of one length (`8000-8010:80-90`).

    An IPv6 address stands in brackets. No HOST, or an empty one, lets the system pick.
    """
    wrong = f"published port {text!r}"
    address_and_ports, _, protocol_word = text.partition("/")
    try:
        protocol = Protocol(protocol_word.lower() or "tcp")
    except ValueError:
        raise InvalidArgumentError(f"{wrong}: protocol {protocol_word!r} is neither tcp nor udp") from None
    host_ip, rest = _split_address(address_and_ports, wrong)
    host_word, colon, box_word = rest.rpartition(":")
    if ":" in host_word:
        raise InvalidArgumentError(f"{wrong}: not of the form [IP:][HOST:]BOX[/tcp|/udp]", hint=VALUES_HINT)
    box_ports = _port_range(box_word, wrong)
    host_ports = _port_range(host_word, wrong) if colon and host_word else None
    if host_ports is not None and len(host_ports) != len(box_ports):
        raise InvalidArgumentError(f"{wrong}: the two ranges are not of one length")
    ports = tuple(
        PortSpec(
            box_port=box_port,
            host_port=host_ports[index] if host_ports is not None else None,
            protocol=protocol,
        )
        for index, box_port in enumerate(box_ports)
    )
    return ports if host_ip is None else tuple(replace(port, host_ip=host_ip) for port in ports)


def _split_address(text: str, wrong: str) -> tuple[str | None, str]:
    """The address in front, if there is one, and what follows its colon."""
    import ipaddress

    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise InvalidArgumentError(f"{wrong}: an address in brackets is followed by :PORT")
        rest = rest[1:]
    elif text.count(":") == 2:
        address, rest = text.split(":", 1)
    else:
        return None, text
    try:
        return str(ipaddress.ip_address(address)), rest
    except ValueError:
        raise InvalidArgumentError(f"{wrong}: {address!r} is not an IP address") from None


def _port_range(text: str, wrong: str) -> range:
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not (first.isdecimal() and last.isdecimal() and first.isascii() and last.isascii()):
        raise InvalidArgumentError(f"{wrong}: {text!r} is not a port number")
    low, high = int(first), int(last)
    if not 1 <= low <= 65535 or not 1 <= high <= 65535:
        raise InvalidArgumentError(f"{wrong}: ports are from 1 to 65535")
    if high < low:
        raise InvalidArgumentError(f"{wrong}: the range {text!r} goes backwards")
    return range(low, high + 1)


def parse_environment(
    words: Iterable[str], files: Iterable[str], host: Mapping[str, str]
) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """Variables of `--env-file` then `--env`, a later one winning, in the order they first appear; and warnings.

    A bare KEY copies the host's value; one that the host does not have is left out with a warning.
    """
    variables: dict[str, str] = {}
    warnings = []
    for word in [*_lines_of(files, "environment file"), *words]:
        key, equals, value = word.partition("=")
        if not key or any(letter.isspace() for letter in key):
            raise InvalidArgumentError(f"environment variable {word!r} is not of the form KEY=VALUE or KEY")
        if equals:
            variables[key] = value
        elif key in host:
            variables[key] = host[key]
        else:
            warnings.append(f"environment variable {key} is not set here; it is left out")
    return tuple(variables.items()), warnings


def parse_labels(words: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` or `KEY`, which is a label with an empty value."""
    labels = {}
    for word in [*_lines_of(files, "label file"), *words]:
        key, _, value = word.partition("=")
        if not key.strip():
            raise InvalidArgumentError(f"label {word!r} is not of the form KEY=VALUE")
        labels[key] = value
    return labels


def _lines_of(files: Iterable[str], what: str) -> list[str]:
    """Lines of files, without empty ones and those that begin with #."""
    lines = []
    for name in files:
        try:
            text = Path(name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InvalidArgumentError(f"{what} {name} cannot be read: {reason}") from error
        lines += [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def parse_ulimit(text: str) -> Ulimit:
    """`NAME=SOFT[:HARD]`; -1 is unlimited."""
    name, equals, limits = text.partition("=")
    soft, colon, hard = limits.partition(":")
    try:
        if not name or not equals:
            raise ValueError
        ulimit = Ulimit(name=name.lower(), soft=int(soft), hard=int(hard if colon else soft))
    except ValueError:
        raise InvalidArgumentError(f"ulimit {text!r} is not of the form NAME=SOFT[:HARD]") from None
    if ulimit.hard != -1 and (ulimit.soft == -1 or ulimit.soft > ulimit.hard):
        raise InvalidArgumentError(f"ulimit {text!r}: the soft limit is above the hard one")
    return ulimit


def parse_restart(text: str) -> RestartPolicy:
    """no, always, unless-stopped, on-failure or on-failure:N."""
    word, colon, count = text.partition(":")
    try:
        kind = RestartKind(word.lower())
    except ValueError:
        raise InvalidArgumentError(
            f"restart policy {text!r} is not no, on-failure[:N], always or unless-stopped"
        ) from None
    if colon and kind is not RestartKind.ON_FAILURE:
        raise InvalidArgumentError(f"restart policy {text!r}: only on-failure takes a number of tries")
    return RestartPolicy(kind=kind, max_retries=parse_integer(count, what="restarts") if colon else 0)


def parse_host_entry(text: str) -> tuple[str, str]:
    """`NAME:ADDRESS` or `NAME=ADDRESS`; the address may be `host-gateway`."""
    import ipaddress

    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    address = address.removeprefix("[").removesuffix("]")
    try:
        if not name or not found:
            raise ValueError
        return name, address if address == "host-gateway" else str(ipaddress.ip_address(address))
    except ValueError:
        raise InvalidArgumentError(f"host entry {text!r} is not of the form NAME:ADDRESS") from None


def parse_address(text: str, *, what: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidArgumentError(f"{what} {text!r} is not an IP address") from None


def parse_network_rules(words: Iterable[str]) -> tuple[str, ...]:
    """Rules as they are typed; `@FILE` stands for the lines of a file. The engine says what is no rule."""
    rules: list[str] = []
    for word in words:
        found = _lines_of([word[1:]], "rule file") if word.startswith("@") else [word]
        if not found:  # no rules would mean that everything is allowed
            raise InvalidArgumentError(f"rule file {word[1:]} has no rule in it")
        rules += found
    return tuple(rules)


def parse_listen(text: str) -> ListenAddress:
    """`PORT` (of 127.0.0.1), `IP:PORT`, `[IPv6]:PORT` or `unix:/PATH`."""
    import ipaddress

    from engine.runtime.network import ListenAddress

    wrong = f"address {text!r} is not PORT, IP:PORT, [IPv6]:PORT or unix:/PATH"
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise InvalidArgumentError(f"address {text!r}: the path of a socket is absolute")
        return ListenAddress(path=path)
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else "127.0.0.1"
    try:
        number = int(port)
        if not port.isascii() or not port.isdigit() or number > 65535:
            raise ValueError
        return ListenAddress(host=str(ipaddress.ip_address(host)), port=number)
    except ValueError:
        raise InvalidArgumentError(wrong, hint="hosts are numbers here, not names") from None


def parse_signal(text: str) -> int:
    """The number of `9`, `KILL`, `SIGKILL`, `sigkill` or `RTMIN+3`."""
    word = text.upper().removeprefix("SIG")
    if word.isdecimal() and 1 <= int(word) <= 64:
        return int(word)
    base, plus, offset = word.partition("+")
    if f"SIG{base}" in signal.Signals.__members__ and (not plus or (base == "RTMIN" and offset.isdecimal())):
        number = int(signal.Signals[f"SIG{base}"]) + (int(offset) if plus else 0)
        if number <= 64:
            return number
    raise InvalidArgumentError(f"signal {text!r} does not exist", hint="name one like TERM, SIGKILL or 9")


def parse_pull_policy(word: str, *, option: str = "pull") -> PullPolicy:
    """`option` is what the word was given to."""
    try:
        return PullPolicy(word.lower())
    except ValueError:
        raise InvalidArgumentError(f"{option} is always, missing or never, not {word!r}") from None


def parse_detach_keys(text: str) -> bytes:
    """The bytes of `ctrl-p,ctrl-q` or single letters; the empty word means that no keys detach."""
    keys = bytearray()
    for key in text.split(",") if text else []:
        name = key.removeprefix("ctrl-")
        if len(name) != 1 or not name.isascii():
            raise InvalidArgumentError(
                f"detach key {key!r} is not one letter or ctrl- and one of a-z @ [ \\ ] ^ _"
            )
        code = ord(name)
        if name != key:
            code = ord(name.upper()) ^ 0x40
            if code >= 0x20:
                raise InvalidArgumentError(f"detach key {key!r} does not exist")
        keys.append(code)
    return bytes(keys)
