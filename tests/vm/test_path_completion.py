"""Paths in a running box, as a shell asks for them."""

from __future__ import annotations

import json

from tests.framework.cli import Boxlite


def offered(boxlite: Boxlite, word: str) -> list[str]:
    return boxlite.out("__complete", "places", word).splitlines()


def test_path_completion_lists_what_is_in_the_box(boxlite: Boxlite, alpine: str) -> None:
    script = "rm /bin/ls; mkdir -m 700 /root/mine; touch '/root/mine/two words' /root/mine/.hidden /root/mine/é; exec sleep 1000"
    boxlite("run", "-d", "--name", "web", "-u", "0", alpine, "sh", "-c", script, check=True)
    box_id = json.loads(boxlite.out("inspect", "web"))[0]["Id"]
    assert offered(boxlite, "web:/etc/ho") == ["web:/etc/hostname", "web:/etc/hosts"]
    assert offered(boxlite, f"{box_id[:6]}:/etc/hosts") == [f"{box_id[:6]}:/etc/hosts"]
    assert offered(boxlite, "web:/roo") == ["web:/root/"] and offered(boxlite, "web:roo") == ["web:/root/"]
    assert offered(boxlite, "web:/root/mine/") == ["web:/root/mine/two words", "web:/root/mine/é"]
    assert offered(boxlite, "web:/root/mine/.") == ["web:/root/mine/.hidden"]
    assert not offered(boxlite, "web:/none/at/all") and not offered(boxlite, "web:/etc/hosts/")
    boxlite("exec", "web", "sh", "-c", "mkdir /many; cd /many; seq 3000 | xargs touch", check=True)
    assert len(offered(boxlite, "web:/many/")) == 500
    assert boxlite.out("exec", "web", "echo", "the port is as it was") == "the port is as it was"
    boxlite("stop", "-t", "0", "web", check=True)
    assert not offered(boxlite, "web:/etc/ho")
