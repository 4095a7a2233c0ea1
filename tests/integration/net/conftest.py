"""One stage for all tests of interception: servers, a gateway, clients with a box's trust."""

from collections.abc import Iterator

import pytest

from tests.framework.web import Stage, open_stage, secret

VALUE = "sk-live/4711+äß=?&%"
OTHER_VALUE = "other-value-0815"
NAMES = ("api.test", "other.test", "a.wild.test", "b.a.wild.test", "port.test")


@pytest.fixture(scope="session")
def whole_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    secrets = (
        secret(
            "KEY",
            VALUE,
            "api.test",
            "*.wild.test",
            "raw.test",
            "grpc.test",
            "bad.test",
            "gone.test",
            "plain.test",
        ),
        secret("GRPC", "ascii-value-1", "grpc.test"),
        secret("OTHER", OTHER_VALUE, "other-host.test", "port.test:8443", placeholder="$$other-token$$"),
    )
    with open_stage(tmp_path_factory.mktemp("stage"), secrets, NAMES) as stage:
        yield stage


@pytest.fixture
def stage(whole_stage: Stage) -> Iterator[Stage]:
    whole_stage.application.seen.clear()
    whole_stage.application.released.clear()
    whole_stage.gateway.forget()
    yield whole_stage
