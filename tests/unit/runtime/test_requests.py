import pytest

from engine.errors import InvalidArgumentError
from engine.model import BoxSpec, ImageConfig, PortSpec, Protocol
from engine.runtime.requests import container_argv, container_env, published_ports

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


def test_published_ports_with_publish_all_adds_what_the_image_exposes() -> None:
    spec = BoxSpec(ports=(PortSpec(box_port=80, host_port=8080),), publish_all=True)
    ports = published_ports(spec, ImageConfig(exposed_ports=("80/tcp", "53/udp", "9000")))
    assert [(port.box_port, port.protocol, port.host_port) for port in ports] == [
        (80, Protocol.TCP, 8080),
        (53, Protocol.UDP, None),
        (9000, Protocol.TCP, None),
    ]
