from __future__ import annotations

import pytest

from guest.errors import GuestError
from guest.users import User, find_user

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment
bin:x:1:1:bin:/bin:/sbin/nologin
app:x:1000:1001::/srv/app:/bin/sh
broken:x:notanumber:1::/:
short:x
1000:x:7:7::/seven:/bin/sh
"""
GROUP = b"root:x:0:root\nwheel:x:10:root,app\napp:x:1001:\naudio:x:18:app,bin\nbroken:x:\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", User(uid=0, gid=0, groups=(0, 10), home="/root")),
        ("root", User(uid=0, gid=0, groups=(0, 10), home="/root")),
        ("app", User(uid=1000, gid=1001, groups=(1001, 10, 18), home="/srv/app")),
        ("1", User(uid=1, gid=1, groups=(1, 18), home="/bin")),
        ("1000", User(uid=7, gid=7, groups=(7,), home="/seven")),  # a name of digits wins over the number
        ("app:audio", User(uid=1000, gid=18, groups=(18,), home="/srv/app")),
        ("app:4711", User(uid=1000, gid=4711, groups=(4711,), home="/srv/app")),
        ("4711", User(uid=4711, gid=0, groups=(0,))),
        ("4711:12", User(uid=4711, gid=12, groups=(12,))),
        (":18", User(uid=0, gid=18, groups=(18,), home="/root")),
    ],
)
def test_find_user_known_spec_resolves(spec: str, expected: User) -> None:
    assert find_user(spec, passwd=PASSWD, group=GROUP) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nobody", 'user "nobody" is not in the image'),
        ("app:nogroup", 'group "nogroup" is not in the image'),
        ("broken", 'user "broken"'),
        ("99999999999", 'user "99999999999"'),
        ("-1", 'user "-1"'),
    ],
)
def test_find_user_unknown_spec_names_it(spec: str, message: str) -> None:
    with pytest.raises(GuestError, match=message) as caught:
        find_user(spec, passwd=PASSWD, group=GROUP)
    assert caught.value.code == "not_found"


def test_find_user_image_without_files_knows_numbers_only() -> None:
    assert find_user("", passwd=b"", group=b"") == User(uid=0, gid=0, groups=(0,))
    with pytest.raises(GuestError):
        find_user("root", passwd=b"", group=b"")
