"""Every security option does something on a platform, or is named as doing nothing there."""

from dataclasses import fields
from typing import Any

import pytest

from engine.errors import InvalidArgumentError
from engine.model import BoxSpec, SecurityOptions
from engine.runtime.security_notes import check_security, ineffective_options

OTHER_VALUES: dict[str, Any] = {
    "seccomp_enabled": False, "new_pid_ns": False, "new_net_ns": False, "chroot_enabled": False, "close_fds": False,
    "sanitize_env": False, "env_allowlist": ("A",), "uid": 7, "gid": 7, "chroot_base": "/srv", "sandbox_profile": "/x",
    "max_memory_bytes": 1 << 34, "max_cpu_time_s": 60, "max_open_files": 10, "max_processes": 10, "max_file_size_bytes": 9,
}  # fmt: skip
ELSEWHERE = {"preset", "jailer_enabled", "network_enabled"}
"""A label; the switch of it all; an option of the box's network."""
SHOWN = {"max_memory_bytes": "max_memory"}
NOTHING_ON_LINUX = {
    "chroot_enabled",
    "chroot_base",
    "close_fds",
    "sanitize_env",
    "env_allowlist",
    "sandbox_profile",
}
NOTHING_ON_MACOS = {
    "chroot_enabled", "chroot_base", "close_fds", "sanitize_env", "env_allowlist", "uid", "gid", "new_pid_ns",
    "new_net_ns", "seccomp_enabled", "max_memory_bytes",
}  # fmt: skip


def test_every_field_is_accounted_for() -> None:
    assert {field.name for field in fields(SecurityOptions)} == set(OTHER_VALUES) | ELSEWHERE


@pytest.mark.parametrize("name", sorted(OTHER_VALUES))
@pytest.mark.parametrize(("system", "nothing"), [("linux", NOTHING_ON_LINUX), ("darwin", NOTHING_ON_MACOS)])
def test_option_without_effect_is_named(name: str, system: str, nothing: set[str]) -> None:
    security = SecurityOptions(**{name: OTHER_VALUES[name]})
    said = list(ineffective_options(security, system=system, is_root=True))
    assert len(said) == (name in nothing)
    assert all(text.startswith(SHOWN.get(name, name)) and "no effect" in text for text in said)


def test_user_chosen_by_an_ordinary_user_is_named() -> None:
    said = list(ineffective_options(SecurityOptions(uid=1, gid=2), system="linux", is_root=False))
    assert [text.split("=")[0] for text in said] == ["uid", "gid"]


def test_limit_without_a_jail_is_named() -> None:
    security = SecurityOptions(jailer_enabled=False, max_open_files=None, max_processes=9)
    assert list(ineffective_options(security, system="linux", is_root=True)) == [
        "max_processes has no effect without a jail (jailer_enabled=False)"
    ]


@pytest.mark.parametrize("preset", ["enabled", "standard", "maximum", "development", "disabled"])
def test_preset_warns_of_nothing(preset: str) -> None:
    for system in ("linux", "darwin"):
        assert (
            list(ineffective_options(SecurityOptions.from_preset(preset), system=system, is_root=False)) == []
        )


def test_memory_limit_below_the_machine_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="max_memory"):
        check_security(BoxSpec(security=SecurityOptions(max_memory_bytes=1 << 20)))
