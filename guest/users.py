"""Who a command runs as: names looked up in the container's own /etc/passwd and /etc/group (passwd(5), group(5))."""

from __future__ import annotations

from dataclasses import dataclass

from guest.errors import GuestError

_MAX_ID = 0xFFFFFFFE


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """`groups` are the supplementary ones; `home` is empty when the image names none."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


def find_user(spec: str, *, passwd: bytes, group: bytes) -> User:
    """Resolve `[name|uid][:group|gid]` (empty: root) as Docker does. Raises GuestError naming what is unknown.

    A number need not be in the files; its group is then 0. Further groups count only when no group is asked for. The group
    is always among the supplementary ones too: what a file's mode keeps from its members stays kept from a program that takes
    on another group (CVE-2022-36109).
    """
    wanted, _, wanted_group = spec.partition(":")
    wanted = wanted or "0"
    accounts = _accounts(passwd)
    account = next((one for one in accounts if one.name == wanted), None)
    uid = _number(wanted)
    if account is None and uid is not None:
        account = next((one for one in accounts if one.uid == uid), None)
    if account is None and uid is None:
        raise GuestError(
            "not_found",
            f'user "{wanted}" is not in the image\'s /etc/passwd',
            hint="name a user the image has, or give a number",
        )
    if account is not None:
        uid = account.uid
    groups = _groups(group)
    home = account.home if account else ""
    if wanted_group:
        gid = _find_group(wanted_group, groups)
        return User(uid=uid or 0, gid=gid, groups=(gid,), home=home)
    gid = account.gid if account else 0
    name = account.name if account else None
    extra = (number for _, number, members in groups if name in members)
    return User(uid=uid or 0, gid=gid, groups=tuple(dict.fromkeys((gid, *extra))), home=home)


def _find_group(wanted: str, groups: list[tuple[str, int, tuple[str, ...]]]) -> int:
    for name, number, _ in groups:
        if name == wanted:
            return number
    number_given = _number(wanted)
    if number_given is None:
        raise GuestError(
            "not_found",
            f'group "{wanted}" is not in the image\'s /etc/group',
            hint="name a group the image has, or give a number",
        )
    return number_given


def _accounts(passwd: bytes) -> list[_Account]:
    accounts = []
    for fields in _lines(passwd):
        if len(fields) >= 4:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                home = fields[5] if len(fields) > 5 else ""
                accounts.append(_Account(name=fields[0], uid=uid, gid=gid, home=home))
    return accounts


def _groups(group: bytes) -> list[tuple[str, int, tuple[str, ...]]]:
    found = []
    for fields in _lines(group):
        gid = _number(fields[2]) if len(fields) >= 3 else None
        if gid is not None:
            members = tuple(fields[3].split(",")) if len(fields) > 3 and fields[3] else ()
            found.append((fields[0], gid, members))
    return found


def _lines(text: bytes) -> list[list[str]]:
    lines = text.decode("utf-8", "surrogateescape").splitlines()
    return [line.strip().split(":") for line in lines if line.strip() and not line.startswith("#")]


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    number = int(text)
    return number if number <= _MAX_ID else None
