"""`boxlite cp`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from boxlite_cli.command import as_command
from boxlite_cli.progress import progress_display
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    from engine.runtime.copy_rules import CopyOptions
    from engine.runtime.runtime import Runtime

EXAMPLES = """
  boxlite cp notes.txt web:/srv/            into the box, as /srv/notes.txt
  boxlite cp web:/var/log ./logs            out of it, as ./logs/log
  boxlite cp site/. web:/srv/www            the contents of a directory
  boxlite cp web:/etc/hosts other:/tmp/     from box to box
  tar -c src | boxlite cp - web:/work       a tar archive
"""


class Place(NamedTuple):
    """One side of a copy: a path of the host, or with `box` a path in that box. `-` is a tar stream."""

    box: str | None
    path: str

    @property
    def is_stream(self) -> bool:
        return self.box is None and self.path == "-"


def cp(
    source: Annotated[str, typer.Argument(metavar="SRC")],
    target: Annotated[str, typer.Argument(metavar="DST")],
    settings: Settings,
    archive: Annotated[
        bool, typer.Option("--archive", "-a", help="Keep numeric owners, groups and set-id bits.")
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow-link",
            "--follow-symlinks",
            "-L",
            help="When SRC is a symbolic link, copy what it leads to.",
        ),
    ] = False,
    no_overwrite: Annotated[
        bool, typer.Option("--no-overwrite", help="Fail when a file is there already.")
    ] = False,
    no_include_parent: Annotated[
        bool, typer.Option("--no-include-parent", help="Copy a directory's contents, as SRC/. does.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Copy files between a box and the host, or between boxes.

    One of SRC and DST, or both, is BOX:PATH; paths in a box count from `/`. `-` reads a tar archive from standard input,
    or writes one to standard output. A file takes the name DST, or goes into DST when that is a directory or ends in
    a slash; a directory goes into DST. Missing directories are made. What is copied into a box belongs to the user that
    its commands run as. A box that does not run need not be started for it.
    """
    from engine.runtime.copy_rules import CopyOptions

    here, there = parse_place(source), parse_place(target)
    if here.box is None and there.box is None:
        raise InvalidArgumentError(
            "neither side is in a box", hint="name a box on one of them, as in `boxlite cp FILE BOX:/PATH`"
        )
    if there.is_stream and sys.stdout.isatty():
        raise InvalidArgumentError("an archive is nothing for a terminal", hint="pipe it on: … | tar -x")
    if here.is_stream and sys.stdin.isatty():
        raise InvalidArgumentError(
            "there is no archive on standard input", hint="pipe one in: tar -c DIR | …"
        )
    options = CopyOptions(
        overwrite=not no_overwrite,
        follow_link=follow,
        include_parent=not no_include_parent,
        keep_owner=archive,
    )
    return run_async(_cp(settings, here, there, options, quiet=quiet or not sys.stderr.isatty()))


async def _cp(settings: Settings, here: Place, there: Place, options: CopyOptions, *, quiet: bool) -> int:
    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            await _copy(runtime, here, there, options)
    return 0


async def _copy(runtime: Runtime, here: Place, there: Place, options: CopyOptions) -> None:
    if here.box is not None and there.box is not None:
        await runtime.copy_between(here.box, here.path, there.box, there.path, options)
    elif there.box is not None:
        if here.is_stream:
            await runtime.copy_tar_in(there.box, sys.stdin.buffer, there.path, options)
        else:
            await runtime.copy_in(there.box, here.path, there.path, options)
    elif here.box is not None:
        if there.is_stream:
            await runtime.copy_tar_out(here.box, here.path, sys.stdout.buffer, options)
        else:
            await runtime.copy_out(here.box, here.path, there.path, options)


def parse_place(text: str) -> Place:
    """`BOX:PATH`, or a path of the host: one that begins with `/` or `.`, or has no colon before its first slash."""
    box, colon, path = text.partition(":")
    if not text:
        raise InvalidArgumentError("a path is empty")
    if not colon or text.startswith(("/", ".")) or "/" in box:
        return Place(None, text)
    if not box:
        raise InvalidArgumentError(f"{text!r} names no box before the colon")
    if not path:
        raise InvalidArgumentError(f"{text!r} names no path in the box", hint=f"for all of it: {box}:/")
    return Place(box, path)


COMMAND = as_command(cp, "cp", examples=EXAMPLES)
