import pytest

from engine.errors import InvalidArgumentError
from engine.model import RestartKind, RestartPolicy
from engine.shim.control import changes_of_plan


def test_changes_of_plan_become_values_of_the_plan() -> None:
    found = changes_of_plan(
        {"timeout_s": 5, "stop_signal": 2, "restart": {"kind": "always", "max_retries": 0}}
    )
    policy = RestartPolicy(kind=RestartKind.ALWAYS)
    assert found == {"timeout_s": 5.0, "stop_signal": 2, "restart": policy}


@pytest.mark.parametrize("fields", [{"home": "/"}, {"timeout_s": "5"}, {"restart": {"kind": "always"}}])
def test_changes_of_plan_that_are_none_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        changes_of_plan(fields)
