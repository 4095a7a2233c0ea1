"""The wheel and the sdist: built, installed into an environment of their own, used."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.version import __version__
from guest.wire.constants import AGENT_VERSION
from tests.framework.boxes import ALPINE_ENV
from tests.framework.cli import Boxlite, make_home
from tests.framework.first_session import Terminal, comparable, record
from tests.framework.image_builder import build_image
from tests.framework.registry import RunningRegistry

ROOT = Path(__file__).resolve().parents[2]
SHARED = (
    "man/man1/boxlite.1",
    "man/man1/boxlite-image-ls.1",
    "man/man5/boxlite-configuration.5",
    "bash-completion/completions/boxlite",
    "zsh/site-functions/_boxlite",
    "fish/vendor_completions.d/boxlite.fish",
)


def pip(python: Path | str, *words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in version control: no build is to pick up anything else."""
    target = tmp_path_factory.mktemp("sources") / "boxlite"
    target.mkdir()
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, names.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
            (target / name).chmod((ROOT / name).stat().st_mode)
    return target


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(directory), str(sources))
    (found,) = directory.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with nothing but the wheel and what it needs, as pipx makes one."""
    directory = tmp_path_factory.mktemp("venv")
    venv.create(directory, with_pip=True)
    pip(directory / "bin/python", "install", str(wheel))
    return directory


def run(installed: Path, *words: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home.parent), "BOXLITE_HOME": str(home)}
    return subprocess.run(
        [str(installed / "bin/boxlite"), *words],
        env=environment, capture_output=True, text=True, timeout=120, cwd="/", stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_wheel_holds_guest_completions_manual_and_topics(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "guest/agent.py", "guest/wire/portal.proto", "engine/vmm/guest_init.sh", "boxlite_cli/topics/errors.md",
        "boxlite_cli/completions/_boxlite", "boxlite_cli/front_page.txt", "boxlite/py.typed",
    ):  # fmt: skip
        assert wanted in names, wanted
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docs/"))]
    assert f"boxlite-{__version__}" in wheel.name


def test_version_is_the_same_everywhere(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read(f"boxlite-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert __version__ == AGENT_VERSION
    assert f'"BoxLite {__version__}"' in (ROOT / "man/man1/boxlite.1").read_text()


def test_installed_wheel_runs_a_box(installed: Path, boxlite: Boxlite, alpine: str) -> None:
    home = boxlite.home
    assert run(installed, "--version", home=home).stdout == f"boxlite {__version__}\n"
    doctor = run(installed, "system", "doctor", home=home)
    assert doctor.returncode == 0, doctor.stdout
    assert "guest image" in doctor.stdout
    done = run(installed, "run", "--rm", alpine, "echo", "installed", home=home)
    assert (done.returncode, done.stdout) == (0, "installed\n"), done.stderr
    assert run(installed, "help", "errors", home=home).returncode == 0
    assert run(installed, "completion", "fish", home=home).stdout.startswith("# fish completion")


@pytest.fixture
def hub(registry: RunningRegistry, alpine_rootfs: Path, tmp_path: Path) -> Path:
    """A configuration in which Docker Hub is the tests' registry."""
    config = {"Cmd": ["/bin/sh"], "Env": ALPINE_ENV}
    registry.push(
        "library/alpine", "3.20", build_image([gzip.decompress(alpine_rootfs.read_bytes())], config=config)
    )
    path = tmp_path / "config.yaml"
    path.write_text(f"image_registries:\n- host: docker.io\n  mirrors: [{registry.host}]\n")
    return path


@pytest.fixture
def terminal(installed: Path, wheel: Path, home: Path, hub: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal of somebody who has the wheel's file, and all that it needs."""
    pip(installed / "bin/python", "uninstall", "--yes", "boxlite")
    shutil.copy(wheel, tmp_path)
    own = make_home(tmp_path / "home")
    terminal = Terminal(
        tmp_path,
        {
            "PATH": f"{installed}/bin:{os.environ['PATH']}", "HOME": str(tmp_path), "BOXLITE_HOME": str(own),
            "BOXLITE_CONFIG": str(hub), "BOXLITE_ACCEL": "tcg", "LANG": "C.UTF-8",
        },
    )  # fmt: skip
    yield terminal
    Boxlite(own).remove_all()
    terminal.close()
    pip(installed / "bin/python", "install", "--no-deps", str(wheel))


def test_first_session_is_what_the_page_shows(terminal: Terminal) -> None:
    page = ROOT / "docs/first-session.md"
    recorded = record(terminal)
    if os.environ.get("REWRITE_GOLDEN"):
        page.write_text(recorded)
    assert comparable(recorded) == comparable(page.read_text())


def test_installed_wheel_has_manual_and_completions_where_they_are_looked_for(installed: Path) -> None:
    missing = [name for name in SHARED if not (installed / "share" / name).is_file()]
    assert not missing


def test_sdist_makes_the_same_wheel(sources: Path, wheel: Path, tmp_path: Path) -> None:
    script = "import sys; from hatchling.build import build_sdist; print(build_sdist(sys.argv[1]))"
    pip(sys.executable, "install", "--target", str(tmp_path / "backend"), "hatchling")
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=sources, env={"PYTHONPATH": str(tmp_path / "backend"), "PATH": os.environ["PATH"]}, check=True, capture_output=True,
    )  # fmt: skip
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(unpacked))
    (again,) = tmp_path.glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())
