import pytest

from engine.errors import InvalidArgumentError
from engine.model import DOCKER_CAPABILITIES
from engine.runtime.capabilities import ALL_CAPABILITIES, effective_capabilities

DOCKER = set(DOCKER_CAPABILITIES)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), DOCKER),
        (("NET_ADMIN",), (), DOCKER | {"NET_ADMIN"}),
        (("cap_net_admin",), ("cap_chown",), (DOCKER | {"NET_ADMIN"}) - {"CHOWN"}),
        (("CHOWN",), ("CHOWN",), DOCKER),
        ((), ("ALL",), set()),
        (("CHOWN", "KILL"), ("all",), {"CHOWN", "KILL"}),
        (("ALL",), (), set(ALL_CAPABILITIES)),
        (("ALL",), ("SYS_ADMIN",), set(ALL_CAPABILITIES) - {"SYS_ADMIN"}),
    ],
)
def test_effective_capabilities_follow_the_rule(
    add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]
) -> None:
    assert set(effective_capabilities(add, drop)) == expected


def test_effective_capabilities_privileged_has_all() -> None:
    assert set(effective_capabilities((), ("ALL",), privileged=True)) == set(ALL_CAPABILITIES)


def test_effective_capabilities_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="'NET_MAGIC' does not exist"):
        effective_capabilities(("NET_MAGIC",), ())
