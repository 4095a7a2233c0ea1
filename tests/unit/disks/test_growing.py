"""A layer that is read while it grows is the layer, however it comes."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from pathlib import Path

import pytest

from engine.disks.growing import GrowingFile
from engine.disks.spool import Spool, spool_archive
from engine.errors import BoxliteError, ImageError, InternalError
from tests.framework.image_builder import compress, digest_of, file, folder, layer_tar

PLAIN = layer_tar(
    [folder("d"), *(file(f"d/{number}", random.Random(number).randbytes(5000)) for number in range(60))]
)


class Layer:
    """One that comes into `part` and gets its place at `whole`."""

    def __init__(self, directory: Path, content: bytes) -> None:
        self.part, self.whole, self.content = directory / "part", directory / "whole", content
        self.growing = GrowingFile()
        self._directory = directory

    def come(self, pieces: list[int], *, wrong_first: bytes = b"") -> None:
        """In pieces of these lengths, the rest in one; perhaps after a beginning that is thrown away."""
        with self.part.open("wb", buffering=0) as out:
            if wrong_first:
                out.write(wrong_first)
                self.growing.grow(self.part, len(wrong_first))
                time.sleep(0.01)
                out.seek(0)
                out.truncate()
                self.growing.grow(self.part, 0)
            held = 0
            for length in (*pieces, len(self.content)):
                held += out.write(self.content[held : held + length])
                self.growing.grow(self.part, held)
        self.part.rename(self.whole)

    def spooled(self, plain: bytes = PLAIN) -> Spool:
        return spool_archive(
            self.whole, self._directory, limit_bytes=1 << 30, what="layer", digest=digest_of(self.content),
            diff_id=digest_of(plain), growing=self.growing,
        )  # fmt: skip


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("seed", range(8))
async def test_layer_is_the_same_however_it_comes(tmp_path: Path, compression: str, seed: int) -> None:
    chance = random.Random(seed)
    content = compress(PLAIN, compression)
    layer = Layer(tmp_path, content)
    pieces = [chance.choice((1, 3, 100, 5000, 70_000)) for _ in range(chance.randrange(12))]
    wrong = b"" if seed % 2 else content[: chance.randrange(1, 90_000)] + b"wrong"
    spooling = asyncio.create_task(asyncio.to_thread(layer.spooled))
    await asyncio.to_thread(layer.come, pieces, wrong_first=wrong)
    await layer.growing.begun.wait()
    layer.growing.finish()
    spool = await spooling
    try:
        assert [entry.path for entry in spool.entries[:2]] == [b"d/", b"d/0"]
        assert len(spool.entries) == 61
    finally:
        spool.close()


async def test_layer_that_is_damaged_is_refused_only_once_it_is_whole(tmp_path: Path) -> None:
    damaged = b"\x1f\x8b" + bytes(100)
    layer = Layer(tmp_path, damaged)
    spooling = asyncio.create_task(asyncio.to_thread(layer.spooled))
    await asyncio.to_thread(layer.come, [50])
    await asyncio.sleep(0.1)
    assert not spooling.done()
    layer.growing.finish()
    with pytest.raises(ImageError, match="not a valid gzip stream"):
        await spooling


@pytest.mark.parametrize("held", [0, 1, 5000])
async def test_layer_that_is_given_up_lets_its_reader_go(tmp_path: Path, held: int) -> None:
    layer = Layer(tmp_path, compress(PLAIN, "gzip"))
    layer.part.write_bytes(layer.content[:held])
    layer.growing.grow(layer.part, held)
    ends: list[BoxliteError] = []

    def read() -> None:
        try:
            layer.spooled()
        except BoxliteError as error:
            ends.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    await asyncio.sleep(0.05)
    layer.growing.give_up()
    await asyncio.to_thread(reader.join, 10)
    assert [type(end) for end in ends] == [InternalError]
