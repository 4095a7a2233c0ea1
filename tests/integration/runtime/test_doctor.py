"""The doctor on the real host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import host
from engine.layout import Layout
from engine.model import Accel, Check, CheckStatus
from engine.runtime.doctor import check_home, check_socket_path, check_space, run_checks


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.vm
async def test_checks_of_this_host_find_what_boxes_need(tmp_path: Path) -> None:
    checks = by_name(await run_checks(Layout(tmp_path / "home"), guest_digest="0123456789abcdef"))
    assert "mke2fs" not in checks
    for name in (host.qemu_name(), "bwrap", "namespaces", "guest image"):
        assert checks[name].status is CheckStatus.OK, checks[name]
    assert checks["accelerator"].status is not CheckStatus.FAILED
    assert all(check.remedy for check in checks.values() if check.status is not CheckStatus.OK)


@pytest.mark.vm
async def test_accelerator_found_unusable_is_remembered_and_its_memory_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    host.AccelVerdicts(layout.home).mark_unusable(Accel.KVM, "the guest hung")
    host.AccelVerdicts(layout.home).mark_unusable(Accel.HVF, "the guest hung")
    check = by_name(await run_checks(layout, guest_digest=None))["accelerator"]
    assert check.status is CheckStatus.WARNING
    assert "tcg" in check.detail
    assert check.remedy


@pytest.mark.vm
async def test_accelerator_asked_for_by_name_is_the_only_one_tried(tmp_path: Path) -> None:
    check = by_name(await run_checks(Layout(tmp_path), accel=Accel.TCG, guest_digest=None))["accelerator"]
    assert check.status is CheckStatus.OK


async def test_missing_guest_image_says_how_to_get_one(tmp_path: Path) -> None:
    checks = by_name(await run_checks(Layout(tmp_path), guest_digest=None))
    assert checks["guest image"].status is CheckStatus.FAILED
    assert "boxlite system setup" in checks["guest image"].remedy
    for name in ("mke2fs", "mke2fs -d"):
        assert checks[name].status is CheckStatus.OK, checks[name]


def test_home_that_is_open_to_others_is_warned_about(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    check = check_home(Layout(tmp_path))
    assert (check.status, check.remedy) == (CheckStatus.WARNING, f"chmod 700 {tmp_path}")
    tmp_path.chmod(0o700)
    assert check_home(Layout(tmp_path)).status is CheckStatus.OK


def test_home_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert check_home(Layout(tmp_path / "home")).status is CheckStatus.FAILED
    assert check_home(Layout(tmp_path / "home" / "below")).status is CheckStatus.FAILED


def test_home_of_another_user_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert "belongs to user" in check_home(Layout(tmp_path)).detail


@pytest.mark.parametrize(
    ("free", "status"),
    [(0, CheckStatus.FAILED), (2**30, CheckStatus.WARNING), (2**40, CheckStatus.OK)],
)
def test_disk_space_is_judged(tmp_path: Path, free: int, status: CheckStatus) -> None:
    assert check_space(Layout(tmp_path), free).status is status


def test_deep_home_is_fine_on_linux_only() -> None:
    deep = Layout(Path("/") / "/".join(["directory"] * 20))
    assert check_socket_path(deep, "linux").status is CheckStatus.OK
    assert check_socket_path(deep, "darwin").status is CheckStatus.FAILED
