"""Random archives and documents: never anything but a result or an error of ours."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.disks.ext4_plan import number_tree, shape_for
from engine.disks.ext4_writer import write_ext4
from engine.disks.merge import Tree
from engine.disks.tar_entry import EntryKind, TarEntry
from engine.disks.tar_reader import iter_entries
from engine.errors import BoxliteError, InvalidArgumentError
from engine.images.challenge import parse_challenges
from engine.images.manifest import Manifest, parse_config, parse_document
from engine.images.reference import ImageReference
from tests.framework.image_builder import build_image, file, layer_tar, symlink

SETTINGS = settings(max_examples=int(os.environ.get("BOXLITE_FUZZ_EXAMPLES", "150")), deadline=None)

NAMES = st.sampled_from(
    [
        b"a",
        b"b",
        b"c",
        b"a/b",
        b"a/b/c",
        b"../a",
        b"/b/../c",
        b"./",
        b"",
        b"a/.wh.b",
        b".wh.a",
        b"a/.wh..wh..opq",
        b"\xff/x",
    ]
)
ENTRIES = st.builds(
    TarEntry,
    path=NAMES,
    kind=st.sampled_from(list(EntryKind)),
    link=NAMES.filter(lambda name: b".wh." not in name),  # a name like a whiteout's could not be read back
    mode=st.integers(0, 0o7777),
    mtime_ns=st.integers(-(10**20), 10**20),
    size_bytes=st.shared(st.sampled_from([0, 1, 4096, 70_000]), key="size"),
    stored_bytes=st.shared(st.sampled_from([0, 1, 4096, 70_000]), key="size"),
    dev_major=st.sampled_from([1, 300]),
    xattrs=st.lists(
        st.tuples(
            st.sampled_from([b"user.a", b"user.\xff" + b"b" * 80, b"security.capability", b"trusted.c"]),
            st.sampled_from([b"", b"\0\n=", b"v" * 24, b"\xfe" * 700]),
        ),
        max_size=4,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
)  # fmt: skip
SEED = layer_tar(
    [file("a/b", b"x" * 700), symlink("l", "t" * 150), file("\N{SNOWMAN}" * 60, xattrs={"user.a": b"1"})]
)
MUTATIONS = st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.binary(min_size=1, max_size=12)), max_size=8)


def read(archive: bytes) -> Tree:
    tree = Tree()
    with tempfile.TemporaryFile() as spool:
        spool.write(archive)
        spool.flush()
        tree.apply(0, iter_entries(spool.fileno(), len(archive), what="layer"), what="layer")
    return tree


@SETTINGS
@given(MUTATIONS)
def test_archive_with_damage_is_read_or_refused(mutations: list[tuple[int, bytes]]) -> None:
    archive = bytearray(SEED)
    for place, patch in mutations:
        archive[place : place + len(patch)] = patch
        if place % 3 == 0:  # give the checksum a chance to be right, so that deeper code is reached
            block = place // 512 * 512
            archive[block + 148 : block + 156] = b" " * 8
            archive[block + 148 : block + 156] = b"%06o\0 " % sum(archive[block : block + 512])
    try:
        read(bytes(archive))
    except BoxliteError as error:
        assert error.message


class Zeros:
    """Files of nothing but zeros, of any length."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/zero", os.O_RDONLY)

    is_packed = True

    def descriptor(self, entry: TarEntry) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


@settings(SETTINGS, max_examples=SETTINGS.max_examples // 3)
@given(st.lists(st.lists(ENTRIES, max_size=12), max_size=4))
def test_merged_layers_always_make_a_file_system_without_a_fault(layers: list[list[TarEntry]]) -> None:
    tree = Tree()
    try:
        for number, entries in enumerate(layers):
            tree.apply(number, entries, what="layer")
        need = number_tree(tree)
    except BoxliteError as error:
        assert error.message
        return
    with tempfile.TemporaryDirectory() as scratch, contextlib.closing(Zeros()) as source:
        target = Path(scratch) / "base.ext4"
        write_ext4(tree, [source] * len(layers), target, shape_for(need, size_gb=1, uuid=UUID(int=1)))
        done = subprocess.run(("e2fsck", "-f", "-n", target), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert f": {need.inodes}/" in done.stdout


@SETTINGS
@given(st.one_of(st.text(), st.from_regex(r"[a-zA-Z0-9._:/@\[\]-]{0,80}", fullmatch=True)))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = ImageReference.parse(text)
    except InvalidArgumentError:
        return
    assert ImageReference.parse(str(reference)) == reference
    assert ImageReference.parse(reference.familiar) == reference


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["schemaVersion", "mediaType", "layers", "manifests", "config", "digest", "size", "platform", "os", "architecture", "rootfs", "diff_ids", "Env", "annotations"]
    ), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
GOOD = build_image([[file("a")]])


@SETTINGS
@given(
    JSON,
    st.sampled_from([2, 1, None]),
    st.dictionaries(st.sampled_from(["layers", "config", "manifests", "mediaType"]), JSON),
)
def test_any_document_is_a_manifest_or_refused(
    document: object, version: int | None, changes: dict[str, object]
) -> None:
    import json

    good = json.loads(GOOD.document) | changes | {"schemaVersion": version}
    for candidate in (document, good):
        try:
            parsed = parse_document(json.dumps(candidate).encode(), None, "it")
        except BoxliteError as error:
            assert error.message
            continue
        if isinstance(parsed, Manifest):
            try:
                parse_config(json.dumps(document).encode(), parsed, "it")
            except BoxliteError as error:
                assert error.message


@SETTINGS
@given(st.one_of(st.text(), st.from_regex(r'(Bearer|Basic)( [a-z]+="?[a-z,= ]*"?,?){0,4}', fullmatch=True)))
def test_any_challenge_is_read(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme
