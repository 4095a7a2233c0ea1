"""Images of a Docker or Podman that runs on this host, had by way of their own command lines.

    docker-daemon:NAME        docker save NAME
    containers-storage:NAME   podman save NAME

The prefixes are those of skopeo and podman (containers-transports(5)).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine import process
from engine.errors import ImageError, ImageNotFoundError, InvalidArgumentError
from engine.host.environment import environment
from engine.layout import Layout
from engine.model import Image, RuntimeConfig
from engine.process import Command
from engine.values import dataclass

_TIMEOUT_S = 3600.0
_VARIABLES = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
              "DBUS_SESSION_BUS_ADDRESS")  # fmt: skip
_VARIABLE_PREFIXES = ("DOCKER_", "CONTAINER_", "CONTAINERS_", "STORAGE_")
_MISSING = ("no such image", "image not known", "reference does not exist")
"""What docker and podman say of an image that they do not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSource:
    """An image called `name` in the store that `program` looks after."""

    program: str
    arguments: tuple[str, ...]
    name: str

    def command(self, target: Path) -> Command:
        """Write the image to `target` as an archive."""
        variables = environment()
        return Command(
            argv=(self.program, *self.arguments, "--output", str(target), self.name),
            env={
                key: value
                for key, value in variables.items()
                if key in _VARIABLES or key.startswith(_VARIABLE_PREFIXES)
            },
        )


_SOURCES = {
    "docker-daemon": ("docker", ("save",)),
    "containers-storage": ("podman", ("save", "--quiet", "--format", "docker-archive")),
}


def parse_local_source(text: str) -> LocalSource | None:
    """The source that `text` names, None when it has none of the prefixes. Raises InvalidArgumentError for a prefix alone."""
    scheme, colon, name = text.partition(":")
    if not colon or scheme not in _SOURCES:
        return None
    if not name or name.startswith("-"):
        raise InvalidArgumentError(f"{text!r} names no image", hint=f"write {scheme}:NAME[:TAG]")
    program, arguments = _SOURCES[scheme]
    return LocalSource(program=program, arguments=arguments, name=name)


async def load_from_local(
    layout: Layout, source: LocalSource, *, platform: str | None = None, limits: RuntimeConfig | None = None
) -> list[Image]:
    """Copy the image into our store. Raises ImageNotFoundError when the other store does not have it, ImageError when
    its program fails, UnsupportedError when that is not installed."""
    from engine.images.load import load_images

    with tempfile.TemporaryDirectory(dir=layout.tmp_dir, prefix="saved-") as scratch:
        archive = Path(scratch) / "image.tar"
        done = await process.run(source.command(archive), timeout_s=_TIMEOUT_S, check=False)
        if done.exit_status != 0:
            raise _failure(source, done.stderr_tail)
        return await load_images(layout, archive, platform=platform, limits=limits)


def _failure(source: LocalSource, said: str) -> ImageError:
    last = said.splitlines()[-1].removeprefix("Error: ") if said else "no reason given"
    if any(words in said.lower() for words in _MISSING):
        return ImageNotFoundError(
            f"{source.program} has no image {source.name}: {last}",
            hint=f"`{source.program} images` lists what it has",
        )
    return ImageError(
        f"{source.program} could not save {source.name}: {last}",
        hint=f"check that `{source.program} save {source.name}` works for this user",
    )
