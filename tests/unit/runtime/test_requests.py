import pytest

from engine.errors import InvalidArgumentError
from engine.model import BoxSpec, ImageConfig
from engine.runtime.requests import container_argv, container_env

IMAGE = ImageConfig(entrypoint=("/entry",), cmd=("a", "b"), env=("PATH=/x", "A=1"))


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "expected"),
    [
        (None, None, ("/entry", "a", "b")),
        (None, ("c",), ("/entry", "c")),
        (("/mine",), None, ("/mine",)),
        (("/mine",), ("c",), ("/mine", "c")),
        ((), ("c",), ("c",)),
    ],
)
def test_container_argv_combines_as_docker_does(
    entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None, expected: tuple[str, ...]
) -> None:
    assert container_argv(BoxSpec(entrypoint=entrypoint, cmd=cmd), IMAGE) == expected


def test_container_argv_without_any_command_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="names no command"):
        container_argv(BoxSpec(), ImageConfig())


def test_container_env_later_ones_win() -> None:
    env = container_env(BoxSpec(env=(("A", "2"), ("B", "3=4")), tty=True), IMAGE, hostname="h")
    assert env == ["PATH=/x", "HOSTNAME=h", "TERM=xterm", "A=2", "B=3=4"]
