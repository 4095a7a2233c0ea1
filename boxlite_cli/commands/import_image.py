"""`boxlite import`."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from boxlite_cli.command import as_command
from boxlite_cli.counting import CountedStream
from boxlite_cli.progress import progress_display
from boxlite_cli.result_options import ResultOptions
from boxlite_cli.results import Results, image_result
from boxlite_cli.session import run_async
from boxlite_cli.settings import Settings
from engine.errors import InvalidArgumentError
from engine.model import ImageConfig
from engine.progress import ProgressSink

EXAMPLES = """
  boxlite import rootfs.tar localhost/mine:1
  tar -C rootfs -c . | boxlite import -c 'CMD ["/bin/sh"]' -c 'ENV LANG=C.UTF-8' - localhost/mine:1
  boxlite import -m 'first import' - localhost/mine:2 < rootfs.tar
"""


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE|-")],
    result: ResultOptions,
    settings: Settings,
    reference: Annotated[str | None, typer.Argument(metavar="[NAME[:TAG]]", show_default=False)] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--change",
            "-c",
            metavar="INSTRUCTION",
            help="Like CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR of a Dockerfile; repeatable.",
        ),
    ] = None,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="What the image's history says of it.")
    ] = "",
    platform: Annotated[
        str | None,
        typer.Option("--platform", metavar="OS/ARCH", help="What it is for. [default: the host's]"),
    ] = None,
    no_progress: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Make an image from a tar archive of a file system.

    Prints the image's id.
    """
    config = ImageConfig()
    for instruction in change or []:
        config = apply_instruction(config, instruction)
    source = sys.stdin.buffer if file == "-" else _existing(file)
    return run_async(
        _import(settings, source, reference, config, message, platform, no_progress, result.open())
    )


async def _import(
    settings: Settings,
    source: Path | BinaryIO,
    reference: str | None,
    config: ImageConfig,
    message: str,
    platform: str | None,
    quiet: bool,
    results: Results,
) -> int:
    with progress_display(quiet=quiet) as display:
        async with settings.open_runtime(display.show) as runtime:
            with _opened(source, display.show) as archive:
                image = await runtime.images.import_rootfs(
                    archive, reference, config=config, message=message, platform=platform
                )
    results.print_one([image.config_digest], image_result(image))
    return 0


@contextlib.contextmanager
def _opened(source: Path | BinaryIO, progress: ProgressSink) -> Iterator[BinaryIO]:
    """The archive as a stream that tells how far it was read."""
    if not isinstance(source, Path):
        yield cast("BinaryIO", CountedStream(source, progress, stage="import", item="archive"))
        return
    try:
        file = source.open("rb")
    except OSError as error:
        raise InvalidArgumentError(f"the archive {source} cannot be read: {error.strerror}") from error
    with file:
        total = source.stat().st_size
        yield cast("BinaryIO", CountedStream(file, progress, stage="import", item=source.name, total=total))


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if name.startswith(("http://", "https://")):
        raise InvalidArgumentError(
            f"the archive {name} is not a file, and nothing is fetched for an import",
            hint=f"curl -fL {name} | boxlite import - NAME",
        )
    if path.is_dir():
        raise InvalidArgumentError(
            f"the archive {name} is a directory", hint=f"tar -C {name} -c . | boxlite import - NAME"
        )
    if not path.is_file():
        raise InvalidArgumentError(f"the archive {name} is not a file that is there")
    return path


def apply_instruction(config: ImageConfig, instruction: str) -> ImageConfig:
    """The configuration changed by one line of a Dockerfile."""
    word, _, rest = instruction.strip().partition(" ")
    rest = rest.strip()
    if not rest:
        raise InvalidArgumentError(f"change {instruction!r} is not an instruction and its value")
    match word.upper():
        case "CMD":
            return replace(config, cmd=_command(rest))
        case "ENTRYPOINT":
            return replace(config, entrypoint=_command(rest))
        case "ENV":
            return replace(config, env=(*config.env, *_assignments(rest)))
        case "EXPOSE":
            return replace(config, exposed_ports=(*config.exposed_ports, *rest.split()))
        case "LABEL":
            labels = dict(pair.split("=", 1) for pair in _assignments(rest))
            return replace(config, labels=config.labels | labels)
        case "STOPSIGNAL":
            return replace(config, stop_signal=rest)
        case "USER":
            return replace(config, user=rest)
        case "VOLUME":
            return replace(config, volumes=(*config.volumes, *(_exec_form(rest) or rest.split())))
        case "WORKDIR":
            return replace(config, working_dir=rest)
    raise InvalidArgumentError(
        f"change {instruction!r}: the instruction {word} cannot be applied to an import"
    )


def _command(text: str) -> tuple[str, ...]:
    """A JSON list as it is; anything else through a shell, as in a Dockerfile."""
    return _exec_form(text) or ("/bin/sh", "-c", text)


def _exec_form(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return tuple(words) if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def _assignments(text: str) -> list[str]:
    """`A=1 B="two words"`, or the old form `A one value`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidArgumentError(f"change {text!r}: {error}") from None
    if all("=" in word for word in words):
        return words
    name, _, value = text.partition(" ")
    return [f"{name}={value.strip()}"]


COMMAND = as_command(import_, "import", examples=EXAMPLES)
