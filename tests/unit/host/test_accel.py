from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.host import accel as accel_module
from engine.host.accel import AccelVerdict, AccelVerdicts, accel_candidates, examine_accels
from engine.host.namespaces import find_forbidding_switch
from engine.host.programs import parse_version
from engine.model import Accel


def test_candidates_without_kvm_say_what_would_help(tmp_path: Path) -> None:
    kvm, tcg = examine_accels(tmp_path / "kvm")
    assert (kvm.accel, tcg.accel) == (Accel.KVM, Accel.TCG)
    assert "there is no" in kvm.problem
    assert "firmware" in kvm.remedy
    assert not tcg.problem


def test_candidates_with_a_device_that_is_not_kvm_name_the_problem() -> None:
    assert "makes no machine" in examine_accels(Path("/dev/null"))[0].problem


def test_verdict_is_remembered_for_this_boot_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = AccelVerdicts(tmp_path / "home")
    assert verdicts.find(Accel.KVM) is None
    verdicts.mark_unusable(Accel.KVM, "the guest hung")
    verdicts.record(Accel.TCG, usable=True, reason="it ran")
    assert verdicts.find(Accel.KVM) == AccelVerdict(usable=False, reason="the guest hung")
    assert Accel.KVM not in accel_candidates(verdicts)
    assert accel_candidates(verdicts)[-1] is Accel.TCG
    monkeypatch.setattr(accel_module, "boot_id", lambda: "another")
    assert verdicts.load() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"boot_id": 1}', '{"verdicts": {"warp": 1}}'])
def test_unreadable_verdicts_count_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "accel.json").write_text(text)
    assert AccelVerdicts(tmp_path).load() == {}


def test_verdict_of_an_unknown_accelerator_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "accel.json"
    AccelVerdicts(tmp_path).record(Accel.KVM, usable=True, reason="")
    document = json.loads(path.read_text())
    document["verdicts"] = {"warp": {"usable": True, "reason": ""}}
    path.write_text(json.dumps(document))
    assert AccelVerdicts(tmp_path).load() == {}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds)", (10, 0, 2)),
        ("mke2fs 1.47.2 (1-Jan-2025)", (1, 47, 2)),
        ("bubblewrap 0.8", (0, 8, 0)),
        ("passt unknown version", None),
    ],
)
def test_parse_version_finds_the_first_number(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


def test_forbidding_switch_of_apparmor_is_found_with_its_fix(tmp_path: Path) -> None:
    assert find_forbidding_switch(tmp_path) is None
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "apparmor_restrict_unprivileged_userns").write_text("1\n")
    switch = find_forbidding_switch(tmp_path)
    assert switch is not None
    assert "AppArmor" in switch.reason
    assert "sysctl" in switch.remedy
