from __future__ import annotations

import pytest

from engine.host.packages import System, find_system, guest_build_programs, install_hint, needed_programs


@pytest.mark.parametrize(
    ("release", "system"),
    [
        ({"ID": "debian"}, System.DEBIAN),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, System.DEBIAN),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, System.DEBIAN),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, System.FEDORA),
        ({"ID": "manjaro", "ID_LIKE": "arch"}, System.ARCH),
        ({"ID": "void"}, None),
        ({}, None),
    ],
)
def test_find_system_goes_by_id_and_kin(release: dict[str, str], system: System | None) -> None:
    assert find_system(release) is system


def test_install_hint_on_debian_12_takes_backports_where_its_own_is_too_old() -> None:
    hints = {
        program.name: install_hint(program, System.DEBIAN, codename="bookworm")
        for program in (*needed_programs("x86_64"), *guest_build_programs())
    }
    assert hints["qemu-system-x86_64"] == "sudo apt install -t bookworm-backports qemu-system-x86"
    assert hints["mke2fs"] == "sudo apt install -t bookworm-backports e2fsprogs"
    assert hints["passt"] == "sudo apt install passt"


def test_install_hint_elsewhere_is_that_systems_command() -> None:
    qemu = needed_programs("aarch64")[0]
    assert install_hint(qemu, System.DEBIAN, codename="trixie") == "sudo apt install qemu-system-arm"
    assert install_hint(qemu, System.FEDORA) == "sudo dnf install qemu-system-aarch64"
    assert install_hint(qemu, System.ARCH) == "sudo pacman -S qemu-system-aarch64"
    assert install_hint(qemu, System.MACOS) == "brew install qemu"


def test_install_hint_on_an_unknown_system_names_the_packages_of_others() -> None:
    hint = install_hint(guest_build_programs()[0], None)
    assert hint == "install what provides mmdebstrap (Debian, Ubuntu: mmdebstrap; Fedora: mmdebstrap)"


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_every_needed_program_has_a_package_on_every_linux(arch: str) -> None:
    for program in needed_programs(arch):
        assert {System.DEBIAN, System.FEDORA, System.ARCH} <= set(program.packages), program.name
