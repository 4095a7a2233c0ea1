"""What flags of commands about images and the installation do, those that no other test is about."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pexpect
import pytest

from engine.layout import Layout
from engine.model import BoxStatus
from engine.store import BoxStore
from tests.framework.cli import Boxlite, shared_home
from tests.framework.image_builder import BuiltImage, build_image, build_index, file
from tests.framework.records import make_record
from tests.framework.registry import RunningRegistry


def two_platforms() -> BuiltImage:
    images = [
        (build_image([[file("a", b"a")]], architecture=name), {"os": "linux", "architecture": name})
        for name in ("amd64", "arm64")
    ]
    return build_index(images)


def write_layout(image: BuiltImage, directory: Path) -> None:
    """An OCI layout with an image of several platforms."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    documents = {digest: document for digest, (document, _) in image.documents.items()}
    for digest, content in {**image.blobs, **documents, image.digest: image.document}.items():
        (blobs / digest.removeprefix("sha256:")).write_bytes(content)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [image.descriptor()]}))


def test_platform_is_what_is_taken(
    boxlite: Boxlite, registry: RunningRegistry, alpine_rootfs: Path, tmp_path: Path
) -> None:
    image = two_platforms()
    name = registry.push("flags/two", "1", image)
    write_layout(image, tmp_path / "layout")
    pulled = boxlite.out("pull", "--format", "{{.ID}}", name)
    loaded = boxlite.out("load", "--format", "{{.ID}}", str(tmp_path / "layout"))
    assert pulled == loaded
    other = boxlite.out("pull", "--platform", "linux/arm64", "--format", "{{.ID}}", name)
    assert other != pulled
    words = ("--format", "{{.ID}}", str(tmp_path / "layout"))
    assert boxlite.out("load", "--platform", "linux/arm64", *words) == other
    boxlite("import", "--platform", "linux/arm64", str(alpine_rootfs), "localhost/made:1", check=True)
    assert json.loads(boxlite.out("image", "inspect", "localhost/made:1"))[0]["Architecture"] == "arm64"


def test_import_message_stands_in_the_history(boxlite: Boxlite, alpine_rootfs: Path) -> None:
    boxlite("import", "--message", "as it was", str(alpine_rootfs), "localhost/told:1", check=True)
    assert "as it was" in boxlite.out("image", "history", "localhost/told:1")


def test_no_trunc_and_quiet_show_whole_digests(boxlite: Boxlite, alpine: str) -> None:
    found = json.loads(boxlite.out("image", "inspect", alpine))[0]
    assert found["Id"] not in boxlite.out("images")
    assert found["Id"] in boxlite.out("images", "--no-trunc")
    (layer,) = boxlite.out("image", "history", "--quiet", alpine).splitlines()
    assert layer.startswith("sha256:") and len(layer) == 71
    assert layer not in boxlite.out("image", "history", alpine)
    assert layer in boxlite.out("image", "history", "--no-trunc", alpine)


def test_registry_is_asked_for_short_names(boxlite: Boxlite, alpine: str) -> None:
    host = alpine.partition("/")[0]
    assert boxlite("pull", "flags/none:1", "--registry", host).returncode == 1
    assert boxlite.out("--registry", host, "pull", "alpine:3.20").splitlines()[0] == alpine
    assert boxlite.out("--version").startswith("boxlite ")


def test_quiet_draws_nothing_on_a_terminal(
    boxlite: Boxlite, alpine: str, alpine_rootfs: Path, tmp_path: Path
) -> None:
    archive, rootfs = str(tmp_path / "alpine.tar"), str(alpine_rootfs)
    for words in (
        ("save", "--quiet", "-o", archive, alpine),
        ("load", "--quiet", archive),
        ("import", "--quiet", rootfs, "localhost/x:1"),
    ):
        shown = []
        for line in (words[:1] + words[2:], words):
            child = pexpect.spawn(
                boxlite.argv()[0], list(line), env=boxlite.environment(TERM="xterm"),
                timeout=60, encoding="utf-8",
            )  # fmt: skip
            child.expect(pexpect.EOF)
            child.close()
            assert child.exitstatus == 0
            shown.append(child.before)
        assert "\x1b[" in shown[0] and "\x1b" not in shown[1], words


@pytest.fixture
def own_guest(tmp_path: Path) -> Boxlite:
    """A home whose guest is a copy that nobody else uses."""
    home = tmp_path / "own"
    home.mkdir(mode=0o700)
    source = (shared_home() / "guest").resolve()
    digest = (source / "current").read_text().strip()
    (home / "guest").mkdir(mode=0o700)
    for path in (source / digest, *source.glob("debian-*")):
        shutil.copytree(path, home / "guest" / path.name)
    shutil.copy(source / "current", home / "guest/current")
    return Boxlite(home)


def test_setup_flags_make_it_anew_or_fetch_it(
    boxlite: Boxlite, own_guest: Boxlite, registry: RunningRegistry, tmp_path: Path
) -> None:
    reference = f"{registry.host}/flags/guest:1"
    digest = boxlite.out("system", "setup")
    assert boxlite.out("system", "guest", "push", "--quiet", reference).startswith("sha256:")
    assert own_guest.out("system", "setup", "--quiet") == digest
    made = own_guest.home / "guest" / digest
    before = made.stat().st_ino
    done = own_guest("system", "setup", "--force", "--quiet", check=True)
    assert done.stdout.decode().strip() == digest and not done.stderr
    assert own_guest("system", "setup", "--force", check=True).stderr
    fetched = Boxlite(tmp_path / "fetched")
    assert fetched.out("system", "setup", "--from", reference) == digest
    assert before and (fetched.home / "guest" / digest).is_dir()


def test_system_prune_flags_choose_what_goes(alpine: str, tmp_path: Path) -> None:
    boxlite = Boxlite(tmp_path / "home")
    boxlite("pull", "-q", alpine, check=True)

    async def fill() -> None:
        async with BoxStore(Layout(boxlite.home)) as store:
            for name in ("old", "kept"):
                record = make_record(name, status=BoxStatus.STOPPED)
                await store.insert(record)

    asyncio.run(fill())
    boxlite("update", "--label", "keep", "kept", check=True)
    assert boxlite("system", "prune").returncode == 2, "nobody can be asked"
    boxlite("system", "prune", "--force", "--filter", "label!=keep", check=True)
    assert boxlite.out("ls", "-a", "--format", "{{.Names}}") == "kept"
    assert boxlite.out("images", "-q")
    boxlite("system", "prune", "--force", "--all", check=True)
    assert not boxlite.out("images", "-q") and not boxlite.out("ls", "-aq")
