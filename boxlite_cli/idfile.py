"""The file of `--cidfile`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import AlreadyExistsError, InvalidArgumentError


@contextlib.contextmanager
def new_id_file(name: str | None) -> Iterator[Callable[[str], object]]:
    """Make the file before there is a box, and hand out what writes the id into it. Nothing is left of it when there
    comes to be no box. Raises AlreadyExistsError when it is there already."""
    if name is None:
        yield lambda _: None
        return
    path = Path(name)
    try:
        path.open("x").close()
    except FileExistsError:
        raise AlreadyExistsError(f"the file {name} of --cidfile", hint="remove it or name another") from None
    except OSError as error:
        raise InvalidArgumentError(
            f"the file {name} of --cidfile cannot be made: {error.strerror}"
        ) from error
    try:
        yield path.write_text
    except BaseException:
        path.unlink(missing_ok=True)
        raise
