from engine.model import BoxSpec, RestartKind, RestartPolicy
from engine.runtime.changes import BoxChanges


def test_changes_leave_out_what_is_so_already() -> None:
    spec = BoxSpec(image="a", cpus=2, labels={"x": "1"})
    assert BoxChanges(cpus=2, labels={"x": "1"}).fields_for(spec) == {}
    policy = RestartPolicy(kind=RestartKind.ALWAYS)
    assert BoxChanges(cpus=3, restart=policy).fields_for(spec) == {"cpus": 3, "restart": policy}


def test_changes_of_labels_are_made_beside_those_there_are() -> None:
    spec = BoxSpec(image="a", labels={"x": "1", "y": "2"})
    found = BoxChanges(labels={"z": "3"}, remove_labels=("x", "none")).fields_for(spec)
    assert found == {"labels": {"y": "2", "z": "3"}}


def test_changes_to_zero_are_changes() -> None:
    assert BoxChanges(auto_stop_s=0.0).fields_for(BoxSpec(image="a", auto_stop_s=9.0)) == {"auto_stop_s": 0.0}
