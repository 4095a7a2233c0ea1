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
    assert {"web:/dev/shm/", "web:/dev/null"} <= set(offered(boxlite, "web:/dev/"))  # another mount
    script = "mkdir /many; cd /many; seq 3000 | xargs touch; mkdir /more; cd /more; seq 6000 | xargs touch"
    boxlite("exec", "web", "sh", "-c", script, check=True)
    assert len(offered(boxlite, "web:/many/")) == 500 and len(offered(boxlite, "web:/more/")) == 500
    assert offered(boxlite, "web:/more/599") == ["web:/more/599", *(f"web:/more/599{n}" for n in range(10))]


def test_path_completion_follows_links_within_the_box_alone(boxlite: Boxlite, alpine: str) -> None:
    script = (
        "mkdir /a; touch /a/inside; ln -s /a /absolute; ln -s ../../../a /above; ln -s /proc/1/root /magic;"
        "ln -s loop /loop; mkdir /t; mount -t tmpfs t /t; touch /t/mounted; exec sleep 1000"
    )
    boxlite("run", "-d", "--privileged", "--name", "links", alpine, "sh", "-c", script, check=True)
    boxlite("exec", "links", "sh", "-c", "until [ -e /t/mounted ]; do sleep 0.1; done", check=True)
    for link in ("absolute", "above", "magic/a"):
        assert offered(boxlite, f"links:/{link}/") == [f"links:/{link}/inside"]
    assert offered(boxlite, "links:/t/") == ["links:/t/mounted"]
    assert not offered(boxlite, "links:/loop/")
    assert offered(boxlite, "links:/../a/") == ["links:/../a/inside"]


def test_path_completion_survives_names_of_any_bytes(boxlite: Boxlite, alpine: str) -> None:
    script = (
        r"mkdir /n; cd /n; for i in $(seq 300); do touch $(printf '\303\274%.0s' $(seq 120))$i; done;"
        r" touch $(printf 'bad\377') $(printf 'esc\033[31m') plain; exec sleep 1000"
    )
    boxlite("run", "-d", "--name", "bytes", alpine, "sh", "-c", script, check=True)
    boxlite("exec", "bytes", "sh", "-c", "until [ -e /n/plain ]; do sleep 0.1; done", check=True)
    assert offered(boxlite, "bytes:/n/p") == ["bytes:/n/plain"]
    assert not offered(boxlite, "bytes:/n/bad") and not offered(boxlite, "bytes:/n/esc")
    assert len(offered(boxlite, "bytes:/n/ü")) > 50


def test_path_completion_leaves_the_box_as_it_was(boxlite: Boxlite, alpine: str) -> None:
    boxlite("run", "-d", "--name", "left", alpine, "sleep", "1000", check=True)
    assert offered(boxlite, "left:/etc/ho") == ["left:/etc/hostname", "left:/etc/hosts"]
    assert boxlite.out("exec", "left", "echo", "the port is as it was") == "the port is as it was"
    boxlite("stop", "-t", "0", "left", check=True)
    assert not offered(boxlite, "left:/etc/ho")
