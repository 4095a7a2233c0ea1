"""The tree in a real box equals what the image's layers say, entry by entry."""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.framework import bare_python, tree_lister
from tests.framework.cli import Boxlite
from tests.framework.image_builder import BuiltImage, build_image, file, layer_tar
from tests.framework.image_cases import CAP_NET_RAW, Case, capability, cases
from tests.framework.tree_model import MTIME, Listing, differences, entries_of, expected, normal

AT_ONCE = 2
MADE_BY_THE_BOX = (bare_python.PLACE, *(name.decode() for name in tree_lister.MOUNT_POINTS))
MOUNTED_FILES = (b"etc/hosts", b"etc/hostname", b"etc/resolv.conf")
NOT_BY_UMOCI = {
    "oci-zstd": "knows no zstd",
    "docker-schema-2": "knows no Docker manifests",
    "sparse-gnu": "knows no entries of type S",
    "xattr-that-is-empty": "leaves it out: to Go's tar a pax record without a value takes one back",
    "file-of-8-gib": "writes all the zeros, for minutes",
}
"""What umoci 0.4.7 does otherwise than the definition, or not at all."""
LIST = bare_python.command(bare_python.LISTER, "/", *MADE_BY_THE_BOX)


Run = Future[subprocess.CompletedProcess[bytes]]


@dataclass(frozen=True)
class Lab:
    """Every case's image in one home, and a run of its box."""

    boxlite: Boxlite
    cases: dict[str, Case]
    images: dict[str, BuiltImage]
    listings: dict[str, Run]
    pool: ThreadPoolExecutor

    def listing(self, name: str) -> Listing:
        done = self.listings[name].result()
        assert done.returncode == 0, done.stderr.decode()
        listing: Listing = ast.literal_eval(done.stdout.decode())
        return normal(listing)


@pytest.fixture(scope="module")
def lab(
    home: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    tools = layer_tar(bare_python.layer())
    found = {case.name: case for case in cases(tmp_path_factory.mktemp("cases"))}
    images = {name: built(case, tools) for name, case in found.items()}
    boxlite = Boxlite(home)
    archive = tmp_path_factory.mktemp("archive") / "images.tar"
    write_oci_archive(archive, {f"localhost/{name}:1": image for name, image in images.items()})
    loaded = boxlite.out("load", "-q", str(archive)).splitlines()
    assert len(loaded) == len(images)
    chosen = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        listings = {
            name: pool.submit(run, boxlite, f"localhost/{name}:1", *LIST) for name in images if name in chosen
        }
        yield Lab(boxlite, found, images, listings, pool)
        for listing in listings.values():
            listing.cancel()
    boxlite.remove_all()


def built(case: Case, tools: bytes) -> BuiltImage:
    return build_image(
        [*case.layer_archives(), tools],
        compression=case.compression,
        flavour=case.flavour,
        config={"Env": bare_python.ENVIRONMENT, "Cmd": ["none"]},
    )


def run(boxlite: Boxlite, image: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    return boxlite("run", "--rm", "--network", "disabled", image, *words)


def write_oci_archive(path: Path, images: dict[str, BuiltImage]) -> None:
    """An OCI layout in a tar; the annotations name the images."""
    index = {
        "schemaVersion": 2,
        "manifests": [
            {**image.descriptor(), "annotations": {"io.containerd.image.name": name}}
            for name, image in images.items()
        ],
    }
    blobs = {
        digest: blob
        for image in images.values()
        for digest, blob in {**image.blobs, image.digest: image.document}.items()
    }
    with tarfile.open(path, "w") as tar:
        for name, content in {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **{"blobs/" + digest.replace(":", "/"): blob for digest, blob in blobs.items()},
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def case_names() -> list[str]:
    """Known without making the images."""
    return [
        "oci-gzip", "oci-zstd", "oci-none", "docker-schema-2", "gnu-long-names", "pax-names-of-255-bytes", "ustar",
        "names-not-utf-8", "foreign-order", "no-entries-for-directories", "sizes", "sparse-gnu", "sparse-pax-0.0",
        "sparse-pax-0.1", "sparse-pax-1.0", "file-of-8-gib", "hard-links", "hard-links-across-layers", "hard-link-whose-target-is-replaced",
        "symbolic-links", "whiteout", "whiteout-after-its-replacement", "whiteout-of-nothing", "opaque-first", "opaque-last",
        "opaque-below-opaque", "kinds-replaced", "removed-and-made-again", "modes-and-owners", "times", "xattrs",
        "xattr-that-is-empty", "file-capabilities", "access-lists", "devices", "127-layers", "empty-layers", "wide-directory", "4000-files",
    ]  # fmt: skip


def test_lab_has_every_case(lab: Lab) -> None:
    assert sorted(lab.cases) == sorted(case_names())


@pytest.mark.parametrize("name", case_names())
def test_tree_in_the_box_is_what_the_layers_say(lab: Lab, name: str) -> None:
    case = lab.cases[name]
    assert differences(lab.listing(name), in_a_box(expected(case.layers, case.huge))) == []


def in_a_box(listing: Listing) -> Listing:
    """The same tree with what every box mounts over it, and the directory it makes for that."""
    tree = {
        path: row
        for path, row in listing.items()
        if path.partition(b"/")[0] not in tree_lister.MOUNT_POINTS and path not in MOUNTED_FILES
    }
    old = tree.get(b"etc", ("directory", 0o755, 0, 0, None, 0, b"", (0, 0), (), "", b"etc"))
    return {**tree, b"etc": (*old[:MTIME], None, *old[MTIME + 1 :])}


@pytest.mark.parametrize("name", [name for name in case_names() if name not in NOT_BY_UMOCI])
def test_tree_in_the_box_is_what_umoci_unpacks(lab: Lab, name: str, tmp_path: Path) -> None:
    umoci = shutil.which("umoci")
    if umoci is None or os.geteuid() != 0:
        pytest.skip("umoci, run by root, is needed to unpack with owners and devices")
    write_layout(tmp_path / "layout", lab.images[name])
    subprocess.run(
        (umoci, "unpack", "--image", f"{tmp_path / 'layout'}:it", str(tmp_path / "bundle")),
        capture_output=True,
        check=True,
    )
    unpacked = tree_lister.list_tree(
        os.fsencode(tmp_path / "bundle" / "rootfs"), (os.fsencode(bare_python.PLACE),)
    )
    assert differences(lab.listing(name), in_a_box(timeless(normal(unpacked), lab.cases[name]))) == []


def timeless(listing: Listing, case: Case) -> Listing:
    """The same, but with any time for directories that no layer describes: umoci makes them now."""
    undescribed = {path for path, row in expected(case.layers, case.huge).items() if row[MTIME] is None}
    return {
        path: (*row[:MTIME], None, *row[MTIME + 1 :]) if path in undescribed else row
        for path, row in listing.items()
    }


def write_layout(path: Path, image: BuiltImage) -> None:
    (path / "blobs" / "sha256").mkdir(parents=True)
    for digest, blob in {**image.blobs, image.digest: image.document}.items():
        (path / "blobs" / "sha256" / digest.partition(":")[2]).write_bytes(blob)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    named = {**image.descriptor(), "annotations": {"org.opencontainers.image.ref.name": "it"}}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))


def test_alpine_in_the_box_is_what_its_archive_has(lab: Lab, alpine_rootfs: Path, tmp_path: Path) -> None:
    archive = gzip.decompress(alpine_rootfs.read_bytes())
    image = build_image(
        [archive, layer_tar(bare_python.layer())], config={"Env": bare_python.ENVIRONMENT, "Cmd": ["none"]}
    )
    write_oci_archive(tmp_path / "alpine.tar", {"localhost/alpine:1": image})
    lab.boxlite.out("load", str(tmp_path / "alpine.tar"))
    done = run(lab.boxlite, "localhost/alpine:1", *LIST)
    listing: Listing = ast.literal_eval(done.stdout.decode())
    assert differences(normal(listing), in_a_box(expected([entries_of(archive)]))) == []


@pytest.fixture(scope="module")
def busybox() -> bytes:
    """A static busybox, which has a ping."""
    path = Path("/bin/busybox")
    if not path.exists() or subprocess.run(("ldd", path), capture_output=True).returncode == 0:
        pytest.skip("busybox-static is not installed (Debian: busybox-static)")
    return path.read_bytes()


def load(boxlite: Boxlite, tmp_path: Path, name: str, image: BuiltImage) -> str:
    write_oci_archive(tmp_path / "image.tar", {name: image})
    boxlite.out("load", str(tmp_path / "image.tar"))
    return name


WHO = bare_python.command(
    "-c", "import posix as p; print(p.getuid(), p.getgid(), sorted({*p.getgroups()} - {p.getgid()}))"
)
ACCOUNTS = [
    file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nnonroot:x:65532:65533::/home/nonroot:/sbin/nologin\n"),
    file("etc/group", b"root:x:0:\nnonroot:x:65533:\nextra:x:70:nonroot,other\n"),
]
USERS = {
    "root": ("", [], "0 0 []"),
    "number": ("1234", [], "1234 0 []"),
    "numbers": ("1234:5678", [], "1234 5678 []"),
    "name": ("nonroot", ACCOUNTS, "65532 65533 [70]"),
    "name-and-group": ("nonroot:extra", ACCOUNTS, "65532 70 []"),
    "known-number": ("65532", ACCOUNTS, "65532 65533 [70]"),
}
"""How a user is given: what the image says, the files it has besides one program, and who that is."""


@pytest.fixture(scope="module")
def users(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    tools = layer_tar(bare_python.layer())
    images = {
        f"localhost/user-{how}:1": build_image(
            [entries, tools], config={"Env": bare_python.ENVIRONMENT, "Cmd": WHO, "User": user}
        )
        for how, (user, entries, _) in USERS.items()
    }
    archive = tmp_path_factory.mktemp("users") / "images.tar"
    write_oci_archive(archive, images)
    lab.boxlite.out("load", str(archive))
    return {how: lab.pool.submit(run, lab.boxlite, f"localhost/user-{how}:1") for how in USERS}


@pytest.mark.parametrize("how", USERS)
def test_user_of_the_image_is_who_runs(users: dict[str, Run], how: str) -> None:
    """By name and number, with and without /etc/passwd, in an image that has nothing but one program."""
    done = users[how].result()
    assert done.stdout.decode().strip() == USERS[how][2], done.stderr.decode()


def test_file_capability_lets_a_user_ping(lab: Lab, tmp_path: Path, busybox: bytes) -> None:
    raw = {"security.capability": capability(CAP_NET_RAW)}
    tools = [
        file("bin/busybox", busybox, mode=0o755),
        file("cap/ping", busybox, mode=0o755, xattrs=raw),
        file("plain/ping", busybox, mode=0o755),
    ]
    image = build_image([tools], config={"User": "1000:1000", "Cmd": ["none"]})
    name = load(lab.boxlite, tmp_path, "localhost/ping:1", image)
    script = """
        for ping in cap plain; do /$ping/ping -c 1 127.0.0.1 && echo "$ping works"; done
        echo for $(/bin/busybox cat /proc/sys/net/ipv4/ping_group_range)
    """
    done = run(lab.boxlite, name, "/bin/busybox", "sh", "-c", script)
    assert b"1 packets received" in done.stdout and b"cap works" in done.stdout, done.stderr.decode()
    # With an empty range only a raw socket will do, which needs the capability.
    assert (b"plain works" not in done.stdout) is (b"for 1 0" in done.stdout)


def test_base_of_a_root_file_system_goes_with_a_box_that_removes_itself(lab: Lab, tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs.tar"
    rootfs.write_bytes(layer_tar([*bare_python.layer(), file("hello", b"hi")]))
    before = set((lab.boxlite.home / "bases").iterdir())
    environment = [word for variable in bare_python.ENVIRONMENT for word in ("-e", variable)]
    shown = bare_python.command("-c", "print(open('/hello').read())")
    words = ("run", "--rm", "--network", "disabled", *environment, "--rootfs", str(rootfs), *shown)
    assert lab.boxlite.out(*words) == "hi"
    assert set((lab.boxlite.home / "bases").iterdir()) == before
