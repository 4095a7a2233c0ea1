"""`boxlite save`."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, cast

import typer

from boxlite_cli.command import as_command
from boxlite_cli.counting import CountedStream
from boxlite_cli.progress import progress_display
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.compression import Compression
from engine.errors import InvalidArgumentError

FORMATS = ("docker", "oci")
COMPRESSIONS = (Compression.NONE, Compression.GZIP, Compression.ZSTD)
EXAMPLES = """
  boxlite save -o images.tar alpine:3.20 web:1
  boxlite save --compress zstd web:1 | ssh host boxlite load
  boxlite save --format oci -o alpine.oci.tar alpine:3.20
"""


def save(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…")],
    settings: Settings,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to. [default: standard output]"),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="docker|oci",
            help="docker: an OCI layout that docker load takes too; oci: the layout alone. [default: docker]",
        ),
    ] = "docker",
    compress: Annotated[
        str,
        typer.Option("--compress", metavar="gzip|zstd", help="Compress the archive. [default: none]"),
    ] = "none",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Write images into an archive.

    Load takes it, and docker, podman and skopeo do.
    """
    if format_ not in FORMATS:
        raise InvalidArgumentError(f"format is docker or oci, not {format_!r}")
    if compress not in COMPRESSIONS:
        raise InvalidArgumentError(f"compress is none, gzip or zstd, not {compress!r}")
    if output in (None, "-") and sys.stdout.isatty():
        raise InvalidArgumentError(
            "an archive is nothing for a terminal", hint="name a file with -o, or pipe it on"
        )
    return run_async(_save(settings, images, output, format_, Compression(compress), quiet))


async def _save(
    settings: Settings,
    images: list[str],
    output: str | None,
    format_: str,
    compression: Compression,
    quiet: bool,
) -> int:
    from engine.images.save import ArchiveFormat

    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            with _target(output) as target:
                counted = CountedStream(target, display.show, stage="save", item=" ".join(images))
                await runtime.images.save(
                    images,
                    cast("IO[bytes]", counted),
                    archive_format=ArchiveFormat(format_),
                    compression=compression,
                )
    return 0


@contextlib.contextmanager
def _target(output: str | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes its name only when it is whole."""
    if output in (None, "-"):
        yield sys.stdout.buffer
        return
    path = Path(output).expanduser()
    if not path.parent.is_dir():
        raise InvalidArgumentError(
            f"the archive {output} cannot be written: there is no directory {path.parent}"
        )
    try:
        if path.exists() and not path.is_file():  # a pipe or a device: nothing to be put in its place
            with path.open("wb") as special:
                yield special
            return
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield cast("IO[bytes]", file)
                file.flush()
                Path(file.name).chmod(0o666 & ~_umask())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        from engine.fsutil import storage_error

        raise storage_error(error, "writing the archive") from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


COMMAND = as_command(save, "save", examples=EXAMPLES)
