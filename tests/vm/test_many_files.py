"""An image of 100,000 files in a real box, entry by entry."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.framework import bare_python
from tests.framework.cli import Boxlite
from tests.framework.image_builder import build_image, file, folder, layer_tar
from tests.framework.registry import RunningRegistry
from tests.framework.tree_model import Listing, differences, expected, normal

FILES = 100_000
DIRECTORIES = 100
TIMEOUT_S = 840.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_hundred_thousand_files_are_all_there_as_they_were(home: Path, registry: RunningRegistry) -> None:
    entries = [folder(f"data/d{number}", mode=0o750) for number in range(DIRECTORIES)]
    entries += [
        file(f"data/d{number % DIRECTORIES}/f{number}", b"%d" % number, uid=number % 7, mtime=number)
        for number in range(FILES)
    ]
    image = build_image(
        [layer_tar(entries), layer_tar(bare_python.layer())],
        config={"Env": bare_python.ENVIRONMENT, "Cmd": ["none"]},
    )
    reference = registry.push("many-files", "1", image)
    boxlite = Boxlite(home)
    boxlite("pull", "-q", reference, check=True, timeout_s=TIMEOUT_S)
    lister = bare_python.command(bare_python.LISTER, "/data")
    words = ("run", "--rm", "--network", "disabled", reference, *lister)
    listing: Listing = ast.literal_eval(boxlite.out(*words, timeout_s=TIMEOUT_S))
    wanted = {
        path.removeprefix(b"data/"): (*row[:-1], row[-1].removeprefix(b"data/"))
        for path, row in expected([entries]).items()
        if path != b"data"
    }
    assert len(listing) == FILES + DIRECTORIES
    assert differences(normal(listing), wanted) == []
