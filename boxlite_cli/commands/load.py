"""`boxlite load`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, cast

import typer

from boxlite_cli.command import as_command
from boxlite_cli.counting import CountedStream
from boxlite_cli.progress import progress_display
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, image_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import InvalidArgumentError
from engine.progress import ProgressSink

LOCAL_STORES = ("docker-daemon:", "containers-storage:")
EXAMPLES = """
  boxlite load images.tar.gz
  docker save web:1 | boxlite load
  boxlite load containers-storage:localhost/web:1
"""


def load(
    result: ResultOptions,
    settings: Settings,
    source: Annotated[str | None, typer.Argument(metavar="[FILE|-|docker-daemon:NAME|…]")] = None,
    input_: Annotated[
        str | None, typer.Option("--input", "-i", metavar="FILE", help="The same as FILE, as in Docker.")
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option("--platform", metavar="OS/ARCH", help="Platform to choose. [default: the host's]"),
    ] = None,
    no_progress: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Bring in images from an archive, from standard input, or from Docker or Podman on this host.

    FILE is what docker save, podman save or boxlite save wrote, plain or compressed with gzip or zstd, or an OCI layout
    directory. docker-daemon:NAME and containers-storage:NAME take an image from a Docker or a Podman.
    """
    if source is not None and input_ is not None:
        raise InvalidArgumentError("give the archive once: as FILE or with -i")
    return run_async(_load(settings, source or input_ or "-", platform, no_progress, result.open()))


async def _load(settings: Settings, word: str, platform: str | None, quiet: bool, results: Results) -> int:
    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            if word.startswith(LOCAL_STORES):
                images = [await runtime.images.pull(word, platform=platform)]
            else:
                with _archive(word, display.show) as archive:
                    images = list(await runtime.images.load(archive, platform=platform))
    for image in images:
        line = (
            f"Loaded image: {image.reference}" if image.names else f"Loaded image ID: {image.config_digest}"
        )
        results.add([line], image_result(image))
    results.close()
    return 0


@contextlib.contextmanager
def _archive(word: str, progress: ProgressSink) -> Iterator[Path | IO[bytes]]:
    """What to load: a directory as it is, a file or standard input as a stream that tells how far it was read."""
    if word == "-":
        if sys.stdin.isatty():
            raise InvalidArgumentError(
                "there is no archive on standard input, which is a terminal",
                hint="name a file, or pipe one in",
            )
        yield cast("IO[bytes]", CountedStream(sys.stdin.buffer, progress, stage="load", item="images"))
        return
    path = Path(word).expanduser()
    if not path.exists():
        raise InvalidArgumentError(f"the archive {word} is not there")
    if not path.is_file():
        yield path
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidArgumentError(f"the archive {word} cannot be read: {error.strerror}") from error
    with file:
        total = path.stat().st_size
        yield cast("IO[bytes]", CountedStream(file, progress, stage="load", item=path.name, total=total))


COMMAND = as_command(load, "load", examples=EXAMPLES)
