"""Feed random things to everything that reads what strangers wrote: references, manifests, archives, layers.

    python -m tests.framework.fuzz_images --minutes 10

Whatever comes in, the answer is a value or an error of ours, and soon. Ends with status 1 at the first thing
that is neither, and shows the smallest one found; otherwise says how many it has tried.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

EXAMPLES_A_ROUND = "400"
HANG_S, HANG_CPU_S = 1200.0, 120.0
"""A round takes a few seconds of the processor, and on a busy host many times as long."""

os.environ["BOXLITE_FUZZ_EXAMPLES"] = EXAMPLES_A_ROUND  # read when the properties are imported

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from engine.compression import iter_decompressed  # noqa: E402
from engine.disks.ext4_plan import number_tree  # noqa: E402
from engine.errors import BoxliteError  # noqa: E402
from engine.images.load import load_images  # noqa: E402
from engine.images.manifest import Manifest, parse_config, parse_document  # noqa: E402
from engine.layout import Layout  # noqa: E402
from engine.model import RuntimeConfig  # noqa: E402
from tests.framework.image_builder import build_image, compress, file, folder, hardlink, layer_tar, symlink  # noqa: E402
from tests.unit.disks import test_archive_fuzz as properties  # noqa: E402

TARS = [
    layer_tar(
        [folder("d"), file("d/f", b"x" * 700), hardlink("h", "d/f"), symlink("l", "t" * 90)], tar_format=kind
    )
    for kind in (0, 1, 2)
]
DAMAGE = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=16)), max_size=10)
IMAGE = build_image([[file("a", b"1")], [file("b")]])
CONFIG = IMAGE.blobs[json.loads(IMAGE.document)["config"]["digest"]]
"""Whatever a damaged manifest calls it."""
LIMITS = RuntimeConfig(max_layer_decompressed_bytes=1 << 22)


def damaged(good: bytes, damage: list[tuple[int, bytes]]) -> bytes:
    out = bytearray(good)
    for place, patch in damage:
        place %= len(out)
        out[place : place + len(patch)] = patch
    return bytes(out)


def sparse_tars() -> list[bytes]:
    """What GNU tar writes of a file with holes, in each of its forms."""
    with tempfile.TemporaryDirectory() as scratch:
        with (Path(scratch) / "holes").open("wb") as out:
            for place in range(0, 1 << 20, 1 << 17):
                out.seek(place)
                out.write(b"data" * 300)
        return [
            subprocess.run(("tar", "-C", scratch, "--sparse", *words, "-c", "holes"), capture_output=True, check=True).stdout
            for words in (["--format=gnu"], *(["--format=pax", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0")))
        ]  # fmt: skip


SPARSE = sparse_tars()


@properties.SETTINGS
@given(st.sampled_from([*TARS, *SPARSE]), DAMAGE, st.booleans())
def any_archive_is_read_or_refused(good: bytes, damage: list[tuple[int, bytes]], mend: bool) -> None:
    archive = bytearray(damaged(good, damage))
    if mend:  # right checksums, so that what stands behind them is reached
        for start in range(0, len(archive) - 511, 512):
            block = archive[start : start + 512]
            if block[257:262] == b"ustar":
                total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
                archive[start + 148 : start + 156] = b"%06o\0 " % total
    with contextlib.suppress(BoxliteError):
        number_tree(properties.read(bytes(archive)))


@properties.SETTINGS
@given(st.sampled_from(["none", "gzip", "zstd"]), DAMAGE, st.binary(max_size=64))
def any_stream_is_decompressed_or_refused(kind: str, damage: list[tuple[int, bytes]], tail: bytes) -> None:
    stream = io.BytesIO(damaged(compress(TARS[0], kind), damage) + tail)
    with contextlib.suppress(BoxliteError):
        assert sum(map(len, iter_decompressed(stream, limit_bytes=1 << 20, what="it"))) <= 1 << 20


@properties.SETTINGS
@given(DAMAGE, DAMAGE)
def any_bytes_are_a_manifest_and_a_configuration_or_refused(
    document: list[tuple[int, bytes]], config: list[tuple[int, bytes]]
) -> None:
    with contextlib.suppress(BoxliteError):
        parsed = parse_document(damaged(IMAGE.document, document), None, "it")
        if isinstance(parsed, Manifest):
            parse_config(damaged(CONFIG, config), parsed, "it")


def image_archive() -> bytes:
    """An OCI layout with docker's manifest.json beside it."""
    config = json.loads(IMAGE.document)["config"]["digest"]
    item = {
        "Config": f"blobs/sha256/{config[7:]}",
        "RepoTags": ["a:1"],
        "Layers": [f"blobs/sha256/{layer['digest'][7:]}" for layer in IMAGE.layers],
    }
    blobs = {**IMAGE.blobs, IMAGE.digest: IMAGE.document}
    return layer_tar(
        [
            file("index.json", json.dumps({"schemaVersion": 2, "manifests": [IMAGE.descriptor()]}).encode()),
            file("manifest.json", json.dumps([item]).encode()),
            *(file(f"blobs/sha256/{digest[7:]}", blob) for digest, blob in blobs.items()),
        ]
    )


ARCHIVE = image_archive()


@properties.SETTINGS
@given(DAMAGE, st.booleans())
def any_image_archive_is_loaded_or_refused(damage: list[tuple[int, bytes]], packed: bool) -> None:
    archive = damaged(ARCHIVE, damage)
    with tempfile.TemporaryDirectory() as scratch:
        layout = Layout(Path(scratch) / "home")
        layout.ensure()
        with contextlib.suppress(BoxliteError):
            source = io.BytesIO(gzip.compress(archive, 1) if packed else archive)
            asyncio.run(load_images(layout, source, platform="linux/amd64", limits=LIMITS))
        assert {path.name for path in Path(scratch).iterdir()} == {"home"}
        assert not [path for path in layout.tmp_dir.iterdir() if not path.name.startswith("blob-")]


PROPERTIES: tuple[Callable[[], None], ...] = (
    properties.test_any_text_is_a_reference_or_refused,
    properties.test_any_document_is_a_manifest_or_refused,
    properties.test_any_challenge_is_read,
    properties.test_archive_with_damage_is_read_or_refused,
    properties.test_merged_layers_always_make_a_file_system_without_a_fault,
    any_archive_is_read_or_refused,
    any_stream_is_decompressed_or_refused,
    any_bytes_are_a_manifest_and_a_configuration_or_refused,
    any_image_archive_is_loaded_or_refused,
)


class Hang(BaseException):
    """One round takes far longer than it should."""


@contextlib.contextmanager
def hang_is_an_error() -> Iterator[None]:
    def give_up(_signum: int, _frame: FrameType | None) -> None:
        raise Hang(f"a round of {EXAMPLES_A_ROUND} examples does not end")

    limits = {signal.ITIMER_REAL: HANG_S, signal.ITIMER_PROF: HANG_CPU_S}
    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGPROF, give_up)
    for timer, limit_s in limits.items():
        signal.setitimer(timer, limit_s)
    try:
        yield
    finally:
        for timer in limits:
            signal.setitimer(timer, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz everything that reads what strangers wrote.")
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    rounds: Counter[str] = Counter()
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        for check in PROPERTIES:
            if time.monotonic() >= end:
                break
            name = check.__name__.removeprefix("test_")
            try:
                with hang_is_an_error():
                    check()
            except BaseException as error:
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                raise
            rounds[name] += 1
    for name, count in sorted(rounds.items()):
        print(f"{count * int(EXAMPLES_A_ROUND):>9} examples  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
