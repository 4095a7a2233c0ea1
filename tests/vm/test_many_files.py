"""An image of 100,000 files: pulled, made a disk, and every one of them there in a real box."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from tests.framework import bare_python
from tests.framework.cli import Boxlite
from tests.framework.image_builder import build_image, file, folder, layer_tar
from tests.framework.registry import RunningRegistry

FILES = 100_000
DIRECTORIES = 100
PULL_S = 60.0
TIMEOUT_S = 300.0
SAMPLED = 100
SUMMED_UP = f"""
import os, _sha256
found, count = _sha256.sha256(), 0
for parent in sorted(os.listdir("/data")):
    os.chdir("/data/" + parent)
    for name in sorted(os.listdir()):
        status, content = os.lstat(name), b""
        if count % {SAMPLED} == 0:
            fd = os.open(name, os.O_RDONLY)
            content = os.read(fd, 100)
            os.close(fd)
        row = (parent, name, status.st_mode, status.st_uid, status.st_size, int(status.st_mtime), content)
        found.update(repr(row).encode())
        count += 1
print(count, found.hexdigest())
"""
"""Names, kinds, modes, owners, sizes and times of all, contents of some, in one number: a row for each, and opening each, would be
many times the work."""


@pytest.mark.timeout(600)
def test_hundred_thousand_files_are_all_there_as_they_were(home: Path, registry: RunningRegistry) -> None:
    numbers = range(FILES)
    entries = [folder(f"data/d{number:02}", mode=0o750) for number in range(DIRECTORIES)]
    entries += [
        file(f"data/d{number % DIRECTORIES:02}/f{number:06}", b"%d" % number, uid=number % 7, mtime=number)
        for number in numbers
    ]
    image = build_image(
        [layer_tar(entries), layer_tar(bare_python.layer())],
        config={"Env": bare_python.ENVIRONMENT, "Cmd": ["none"]},
        compression="zstd",
    )
    reference = registry.push("many-files", "1", image)
    boxlite = Boxlite(home)
    begun = time.monotonic()
    boxlite("pull", "-q", reference, check=True, timeout_s=TIMEOUT_S)
    took_s = time.monotonic() - begun
    wanted = hashlib.sha256()
    for count, number in enumerate(sorted(numbers, key=lambda number: (number % DIRECTORIES, number))):
        parent, content = f"d{number % DIRECTORIES:02}", b"%d" % number
        row = (parent, f"f{number:06}", 0o100644, number % 7, len(content), number, content)
        wanted.update(repr(row if count % SAMPLED == 0 else (*row[:-1], b"")).encode())
    words = ("run", "--rm", "--network", "disabled", reference, *bare_python.command("-c", SUMMED_UP))
    assert boxlite.out(*words, timeout_s=TIMEOUT_S) == f"{FILES} {wanted.hexdigest()}"
    assert took_s < PULL_S
