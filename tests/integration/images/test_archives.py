"""Images from and to files, checked with the tools other people use."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from engine.compression import Compression
from engine.disks.base import ensure_base
from engine.errors import (
    BoxliteError,
    ImageError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnsupportedError,
)
from engine.images.archive import import_rootfs
from engine.images.load import load_images
from engine.images.platforms import Platform
from engine.images.save import save_images
from engine.images.store import ImageStore
from engine.layout import Layout
from engine.model import ImageConfig, RuntimeConfig
from tests.framework.ext4 import Ext4Image
from tests.framework.image_builder import build_image, build_index, compress, digest_of, file, layer_tar
from tests.framework.stored import store_image

HOST = Platform.of_host().architecture
ROOTFS = layer_tar([file("bin/sh", b"#!", mode=0o755)])


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_import_of_a_root_file_system_makes_a_local_image(
    layout: Layout, tmp_path: Path, compression: str
) -> None:
    (tmp_path / "rootfs").write_bytes(compress(ROOTFS, compression))
    config = ImageConfig(
        cmd=("/bin/sh",), env=("A=1",), labels={"k": "v"}, exposed_ports=("80/tcp",), user="1"
    )
    image = await import_rootfs(layout, tmp_path / "rootfs", "localhost/mine:1", config)
    assert image.reference == "localhost/mine:1"
    assert (image.config.cmd, image.config.env, image.config.labels) == (("/bin/sh",), ("A=1",), {"k": "v"})
    assert (image.config.exposed_ports, image.config.user, image.config.architecture) == (
        ("80/tcp",),
        "1",
        HOST,
    )
    assert image.layers[0].diff_id == digest_of(ROOTFS)
    disk = await ensure_base(layout, image, size_gb=1)
    assert Ext4Image(disk.base_path).read("/bin/sh") == b"#!"


async def test_import_without_a_name_makes_an_image_known_by_its_id(layout: Layout) -> None:
    image = await import_rootfs(layout, io.BytesIO(ROOTFS), None)
    assert image.names == ()
    assert (await ImageStore(layout).get(image.config_digest)).layers == image.layers


async def test_import_from_a_stream_works(layout: Layout) -> None:
    image = await import_rootfs(layout, io.BytesIO(gzip.compress(ROOTFS)), "mine")
    assert (await ImageStore(layout).get("mine")).layers == image.layers


async def test_import_of_alpine_makes_a_disk_that_holds_it(layout: Layout, alpine_rootfs: Path) -> None:
    image = await import_rootfs(layout, alpine_rootfs, "localhost/alpine:3.20")
    disk = await ensure_base(layout, image, size_gb=1)
    assert Ext4Image(disk.base_path).read("/etc/alpine-release") == b"3.20.3\n"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"no tar at all" * 100, ImageError),
        (b"", ImageError),
        (b"BZh9" + bytes(600), UnsupportedError),
        (gzip.compress(b"x" * 9000), ImageError),
    ],
)
async def test_import_of_what_is_no_root_file_system_leaves_nothing(
    layout: Layout, content: bytes, error: type[BoxliteError]
) -> None:
    with pytest.raises(error):
        await import_rootfs(layout, io.BytesIO(content), "mine")
    assert not [
        path for path in layout.images_dir.rglob("*") if path.is_file() and path.parent.name == "sha256"
    ]
    assert not list(layout.tmp_dir.iterdir())


async def test_import_over_the_cap_is_refused(layout: Layout) -> None:
    bomb = gzip.compress(layer_tar([file("zeros", bytes(4 << 20))]))
    with pytest.raises(ResourceExhaustedError):
        await import_rootfs(
            layout, io.BytesIO(bomb), "mine", limits=RuntimeConfig(max_layer_decompressed_bytes=1 << 20)
        )
    with pytest.raises(InvalidArgumentError, match="cannot be named by one"):
        await import_rootfs(layout, io.BytesIO(ROOTFS), "mine@sha256:" + "0" * 64)


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
async def test_saved_images_load_elsewhere_the_same(
    layout: Layout, tmp_path: Path, compression: Compression
) -> None:
    one = await store_image(
        layout, build_image([[file("s", b"shared")], [file("a", b"1")]], architecture=HOST), "app:1"
    )
    two = await store_image(
        layout, build_image([[file("s", b"shared")], [file("a", b"2")]], architecture=HOST), "x.io/y/z:2"
    )
    out = io.BytesIO()
    await save_images(layout, ["app:1", "x.io/y/z:2"], out, compression=compression)
    again = io.BytesIO()
    await save_images(layout, ["app:1", "x.io/y/z:2"], again, compression=compression)
    assert out.getvalue() == again.getvalue()
    other = Layout(tmp_path / "other")
    other.ensure()
    loaded = await load_images(other, io.BytesIO(out.getvalue()))
    assert [(image.reference, image.manifest_digest) for image in loaded] == [
        (one.reference, one.manifest_digest), (two.reference, two.manifest_digest),
    ]  # fmt: skip
    (tmp_path / "archive").write_bytes(out.getvalue())
    assert len(await load_images(other, tmp_path / "archive")) == 2


def skopeo(*arguments: str) -> bytes:
    program = shutil.which("skopeo")
    if program is None:
        pytest.skip("skopeo is not installed")
    return subprocess.run((program, *arguments), capture_output=True, check=True).stdout


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci"])
async def test_archives_written_by_skopeo_load(layout: Layout, tmp_path: Path, kind: str) -> None:
    plain = layer_tar([file("a", b"from skopeo")])
    source = Layout(tmp_path / "source")
    source.ensure()
    await store_image(source, build_image([plain], architecture=HOST), "example.com/app:v1")
    target = tmp_path / "target"
    name = "example.com/app:v1" if kind != "oci" else "v1"
    skopeo("copy", "-q", f"oci:{source.images_dir}:v1", f"{kind}:{target}:{name}")
    (image,) = await load_images(layout, target)
    if kind != "oci":
        assert image.reference == "example.com/app:v1"
    assert image.layers[0].diff_id == digest_of(plain)
    assert (await ImageStore(layout).get(image.config_digest)).layers == image.layers


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_saved_image_is_read_by_skopeo(layout: Layout, tmp_path: Path, kind: str) -> None:
    image = await store_image(
        layout, build_image([[file("a", b"1")]], architecture=HOST), "example.com/app:v1"
    )
    with (tmp_path / "saved.tar").open("wb") as out:
        await save_images(layout, ["example.com/app:v1"], out)
    name = "example.com/app:v1" if kind == "docker-archive" else "v1"
    shown = json.loads(skopeo("inspect", "--config", f"{kind}:{tmp_path}/saved.tar:{name}"))
    assert shown["rootfs"]["diff_ids"] == [image.layers[0].diff_id]


async def test_load_of_an_index_takes_this_hosts_image(layout: Layout, tmp_path: Path) -> None:
    mine, other = (
        build_image([[file("a", b"m")]], architecture=HOST),
        build_image([[file("a", b"o")]], architecture="s390x"),
    )
    index = build_index(
        [(other, {"os": "linux", "architecture": "s390x"}), (mine, {"os": "linux", "architecture": HOST})]
    )
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for content in (
        *index.blobs.values(),
        *(document for document, _ in index.documents.values()),
        index.document,
    ):
        (blobs / digest_of(content)[7:]).write_bytes(content)
    (tmp_path / "layout" / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "manifests": [index.descriptor()]})
    )
    (image,) = await load_images(layout, tmp_path / "layout")
    assert image.manifest_digest == mine.digest
    (image,) = await load_images(layout, tmp_path / "layout", platform="linux/s390x")
    assert image.manifest_digest == other.digest


def archive_of(**files: bytes) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    out.seek(0)
    return out


CONFIG = json.dumps(
    {"os": "linux", "architecture": HOST, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}
).encode()
CUT_OFF = archive_of(**{"index.json": b"{}".ljust(9000)}).getvalue()[:3000]
HOSTILE = {
    "nothing": (io.BytesIO(b""), "ends before it is whole"),
    "an archive cut off": (io.BytesIO(CUT_OFF), "ends before it is whole"),
    "no archive": (io.BytesIO(b"text" * 500), "cannot be read as an archive of images"),
    "a root file system": (io.BytesIO(ROOTFS), "neither index.json nor manifest.json"),
    "index that is no JSON": (archive_of(**{"index.json": b"{"}), "not valid JSON"),
    "index of another version": (archive_of(**{"index.json": b'{"schemaVersion":7}'}), "schemaVersion"),
    "missing blob": (
        archive_of(**{"index.json": json.dumps({"schemaVersion": 2, "manifests": [build_image([[]]).descriptor()]}).encode()}), "is missing"),
    "manifest that is no list": (archive_of(**{"manifest.json": b"{}"}), "not a list of images"),
    "manifest of nothing": (archive_of(**{"manifest.json": b"[{}]"}), "lacks the file None"),
    "config outside": (archive_of(**{"manifest.json": b'[{"Config":"../../etc/passwd","Layers":[]}]'}), "lacks the file"),
    "layer outside": (archive_of(**{"manifest.json": b'[{"Config":"c","Layers":["/etc/passwd"]}]', "c": CONFIG}), "lacks the layer"),
    "layer of another digest": (
        archive_of(**{"manifest.json": b'[{"Config":"c","Layers":["l"]}]', "c": CONFIG, "l": ROOTFS}), "where its configuration says"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_load_of_what_is_no_image_is_refused_with_the_reason(layout: Layout, name: str) -> None:
    source, message = HOSTILE[name]
    source.seek(0)
    with pytest.raises(ImageError, match=message):
        await load_images(layout, source)
    assert await ImageStore(layout).list_images() == []
