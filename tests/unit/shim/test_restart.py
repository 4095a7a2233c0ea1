import pytest

from engine.model import RestartKind, RestartPolicy
from engine.shim.restart import backoff_s, should_restart
from engine.shim.run import Ending


@pytest.mark.parametrize(
    ("kind", "retries", "exit_code", "restarts", "expected"),
    [
        (RestartKind.NO, 0, 1, 0, False),
        (RestartKind.ALWAYS, 0, 0, 100, True),
        (RestartKind.UNLESS_STOPPED, 0, 0, 0, True),
        (RestartKind.ON_FAILURE, 0, 0, 0, False),
        (RestartKind.ON_FAILURE, 0, 1, 50, True),
        (RestartKind.ON_FAILURE, 3, 1, 2, True),
        (RestartKind.ON_FAILURE, 3, 1, 3, False),
        (RestartKind.ON_FAILURE, 3, None, 0, True),
    ],
)
def test_should_restart_follows_the_policy(
    kind: RestartKind, retries: int, exit_code: int | None, restarts: int, expected: bool
) -> None:
    policy = RestartPolicy(kind=kind, max_retries=retries)
    assert should_restart(policy, Ending(exit_code=exit_code), restarts) is expected


def test_backoff_doubles_up_to_a_minute_and_begins_anew_after_a_long_run() -> None:
    assert [backoff_s(n, 0.0) for n in range(4)] == [0.1, 0.2, 0.4, 0.8]
    assert backoff_s(40, 0.0) == 60.0
    assert backoff_s(40, 10.0) == 0.1
