"""What people read when the jail cannot be built."""

from pathlib import Path

import pytest

from engine.jailer.refusal import find_refusal

UBUNTU = "bwrap: setting up uid map: Permission denied"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "qemu.log"


def set_switch(tmp_path: Path, name: str, value: str) -> Path:
    path = tmp_path / "sys" / name.replace(".", "/")
    path.parent.mkdir(parents=True)
    path.write_text(value + "\n")
    return tmp_path / "sys"


def test_refusal_on_ubuntu_names_apparmor_the_remedy_and_the_weaker_mode(tmp_path: Path, log: Path) -> None:
    log.write_text(UBUNTU + "\n")
    sysctl = set_switch(tmp_path, "kernel.apparmor_restrict_unprivileged_userns", "1")
    error = find_refusal(log, sysctl_dir=sysctl)
    assert error is not None and error.hint is not None
    assert "AppArmor" in error.message and UBUNTU in error.message
    assert "/etc/sysctl.d/60-boxlite.conf" in error.hint and "--security disabled" in error.hint


def test_refusal_without_a_known_reason_shows_what_was_said(tmp_path: Path, log: Path) -> None:
    log.write_text("the jail could not be closed: landlock_restrict_self was refused\n")
    error = find_refusal(log, sysctl_dir=tmp_path)
    assert error is not None and "landlock_restrict_self was refused" in error.message


def test_machine_that_failed_for_another_reason_is_no_refusal(tmp_path: Path, log: Path) -> None:
    log.write_text("qemu-system-x86_64: cannot allocate memory\n")
    assert find_refusal(log, sysctl_dir=tmp_path) is None
    assert find_refusal(tmp_path / "no.log", sysctl_dir=tmp_path) is None
