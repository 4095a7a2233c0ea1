"""`boxlite why` and `run --plan` on real boxes."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.framework.cli import Boxlite


def plan(boxlite: Boxlite, *words: str) -> dict[str, Any]:
    found = json.loads(boxlite.out("--json", "run", "--plan", *words))
    assert isinstance(found, dict)
    return found


def why(boxlite: Boxlite, name: str) -> dict[str, Any]:
    found = json.loads(boxlite.out("why", "--format", "json", name))
    assert isinstance(found, dict)
    return found


def test_plan_says_what_would_happen_and_starts_nothing(boxlite: Boxlite, alpine: str) -> None:
    before = sorted(path.name for path in boxlite.home.rglob("*") if "db" not in path.parts)
    found = plan(
        boxlite,
        "-e",
        "TOKEN=hidden-word",
        "-p",
        "80",
        "-m",
        "1g",
        "-v",
        "/etc:/host:ro",
        "--rm",
        alpine,
        "id",
    )
    assert found["Digest"].startswith("sha256:") and found["PullBytes"] == 0
    assert found["Command"] == ["id"] and "TOKEN" in found["EnvNames"]
    assert "hidden-word" not in json.dumps(found)
    assert found["Memory"] == 1 << 30 and found["AutoRemove"] is True
    assert found["Mounts"] == [{"Type": "bind", "Source": "/etc", "Destination": "/host", "RW": False}]
    assert "->80/tcp" in found["Network"]["Ports"]
    assert "read /etc" in found["Jail"]["Grants"]
    assert boxlite.out("ls", "-aq") == ""
    assert sorted(path.name for path in boxlite.home.rglob("*") if "db" not in path.parts) == before


def test_plan_of_an_image_that_is_not_here_asks_the_registry_and_stores_nothing(
    boxlite: Boxlite, alpine: str
) -> None:
    digest = plan(boxlite, alpine)["Digest"]
    boxlite("rmi", alpine, check=True)
    found = plan(boxlite, alpine)
    assert found["Digest"] == digest and found["PullBytes"] > 1_000_000
    assert found["First"][0] == "pull the image"
    assert boxlite.out("images", "-q") == ""
    boxlite("pull", "-q", alpine, check=True)


def test_plan_refuses_what_a_start_would_refuse(boxlite: Boxlite, alpine: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        done = boxlite("run", "--plan", "-p", f"{port}:80", alpine)
        assert done.returncode == 125 and b"in use" in done.stderr
    assert boxlite("run", "--plan", "-v", "/nope:/x", alpine).returncode == 2


def test_why_names_the_stage_at_which_a_start_failed(boxlite: Boxlite, alpine: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        assert boxlite("run", "-d", "--name", "blocked", "-p", f"{port}:80", alpine).returncode == 125
        found = why(boxlite, "blocked")
        assert found["FailedStart"]["Code"] == "port_in_use" and found["FailedStart"]["Stage"] == "box_config"
        assert str(port) in found["Cause"] and found["Fine"] is False
        stages = {stage["Name"]: stage for stage in found["Stages"]}
        assert stages["box_config"]["Failed"] and stages["image_prepare"]["Milliseconds"] >= 0
        assert stages["box_spawn"]["Milliseconds"] is None
    boxlite("start", "blocked", check=True)
    found = why(boxlite, "blocked")
    assert found["Fine"] is True and found["FailedStart"] is None
    assert all(stage["Milliseconds"] is not None for stage in found["Stages"])


def test_why_explains_an_end(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "--name", "three", alpine, "sh", "-c", "exit 3")
    found = why(boxlite, "three")
    assert "status 3" in found["Cause"] and found["ExitCode"] == 3
    text = boxlite.out("why", "three")
    assert text.startswith("box three") and "\nnext:   boxlite logs three" in text and "accelerator" in text
    assert boxlite("run", "--name", "lost", alpine, "nosuchprogram").returncode == 127
    assert "nosuchprogram" in why(boxlite, "lost")["Cause"]


def test_why_of_a_box_that_nobody_knows_names_the_near_one(boxlite: Boxlite, alpine: str) -> None:
    boxlite("create", "--name", "webserver", alpine, check=True)
    done = boxlite("why", "webservr")
    assert done.returncode == 1 and b"did you mean webserver?" in done.stderr
    assert "never started" in why(boxlite, "webserver")["Cause"]
