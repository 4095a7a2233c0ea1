"""Where secrets are put, where they are not, and what comes back: the same over HTTP/1.1 and HTTP/2, with curl."""

from __future__ import annotations

import base64
import hashlib
import json
import resource
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from engine.errors import DeniedError
from tests.framework.authority import TestAuthority
from tests.framework.web import Stage, serve_raw
from tests.integration.net.conftest import OTHER_VALUE, VALUE

TOKEN = "<BOXLITE_SECRET:KEY>"
HEADER = f"X-Api-Key: {TOKEN}"
VALUE_ON_THE_WIRE = VALUE.encode().decode("latin-1")
"""As a server shows the bytes of a header."""
MIB = 1024 * 1024


@pytest.fixture(params=["--http1.1", "--http2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_placeholder_in_header_arrives_as_value(stage: Stage, version: str) -> None:
    done = stage.curl(version, "-H", HEADER, "https://api.test/echo")
    assert done.returncode == 0, done.stderr
    assert stage.application.last.headers["x-api-key"] == VALUE_ON_THE_WIRE
    assert stage.application.last.http_version == version.removeprefix("--http")


def test_placeholder_within_header_is_replaced_where_it_stands(stage: Stage, version: str) -> None:
    stage.curl(
        version, "-H", f"Authorization: Bearer {TOKEN}", "-H", f"X-Two: {TOKEN};{TOKEN}", "https://api.test/"
    )
    assert stage.application.last.headers["authorization"] == f"Bearer {VALUE_ON_THE_WIRE}"
    assert stage.application.last.headers["x-two"] == f"{VALUE_ON_THE_WIRE};{VALUE_ON_THE_WIRE}"


@pytest.mark.parametrize(
    "written", [quote(TOKEN, safe=""), quote(TOKEN, safe=":"), TOKEN, quote(TOKEN, safe="").lower().replace(
        "boxlite_secret", "BOXLITE_SECRET").replace("key", "KEY")]
)  # fmt: skip
def test_placeholder_in_query_arrives_as_encoded_value(stage: Stage, version: str, written: str) -> None:
    done = stage.curl(version, "--globoff", f"https://api.test/echo?a=1&key={written}&b=2")
    assert done.returncode == 0, done.stderr
    assert stage.application.last.query == f"a=1&key={quote(VALUE, safe='')}&b=2"


def test_placeholder_in_path_stays(stage: Stage, version: str) -> None:
    stage.curl(version, f"https://api.test/{quote(TOKEN, safe='')}/x")
    assert quote(TOKEN, safe="") in stage.application.last.path
    assert not stage.gateway.result().secrets


def test_placeholder_in_basic_authorization_arrives_as_value(stage: Stage, version: str) -> None:
    stage.curl(version, "-u", f"joe:{TOKEN}", "https://api.test/")
    scheme, credentials = stage.application.last.headers["authorization"].split()
    assert scheme == "Basic"
    assert base64.b64decode(credentials).decode() == f"joe:{VALUE}"


def test_placeholder_in_body_stays(stage: Stage, version: str) -> None:
    stage.curl(version, "-H", HEADER, "-d", f"key={TOKEN}", "https://api.test/echo")
    assert stage.application.last.body == f"key={TOKEN}".encode()
    assert stage.application.last.headers["x-api-key"] == VALUE_ON_THE_WIRE


def test_value_in_headers_of_answer_is_put_back(stage: Stage, version: str) -> None:
    done = stage.curl(
        version,
        "-i",
        "-H",
        HEADER,
        "-u",
        f"joe:{TOKEN}",
        f"https://api.test/reflect?k={quote(TOKEN, safe='')}",
    )
    answer = done.stdout
    for form in (
        VALUE,
        quote(VALUE),
        quote(VALUE, safe=""),
        base64.b64encode(f"joe:{VALUE}".encode()).decode(),
    ):
        assert form.encode() not in answer
    assert f"x-seen-x-api-key: {TOKEN}".encode() in answer
    assert f"set-cookie: k={TOKEN}".encode() in answer
    assert base64.b64encode(f"joe:{TOKEN}".encode()) in answer
    assert f"x-query: k={quote(TOKEN, safe='')}".encode() in answer


def test_redirect_to_other_host_carries_placeholder_only(stage: Stage, version: str) -> None:
    query = f"to=https://other.test/echo&k={quote(TOKEN, safe='')}"
    done = stage.curl(version, "-L", "--location-trusted", "-H", HEADER, f"https://api.test/redirect?{query}")
    assert done.returncode == 0, done.stderr
    first, second = stage.application.seen
    assert quote(VALUE, safe="") in first.query
    assert second.headers["host"] == "other.test"
    assert second.headers["x-api-key"] == TOKEN
    assert quote(TOKEN, safe="") in second.query
    assert quote(VALUE, safe="") not in second.query


def test_host_without_secret_is_not_intercepted(stage: Stage, version: str) -> None:
    done = stage.curl(version, "-v", "-H", HEADER, "https://other.test/echo")
    assert b"test authority" in done.stderr
    assert stage.application.last.headers["x-api-key"] == TOKEN
    assert not stage.gateway.begun


def test_port_without_secret_is_not_intercepted(stage: Stage, version: str) -> None:
    stage.curl(version, "-H", HEADER, "https://api.test:8443/echo", port=8443)
    assert stage.application.last.headers["x-api-key"] == TOKEN
    assert not stage.gateway.begun


def test_port_of_its_own_is_intercepted(stage: Stage, version: str) -> None:
    stage.curl(version, "-H", "X-Api-Key: $$other-token$$", "https://port.test:8443/echo", port=8443)
    assert stage.application.last.headers["x-api-key"] == OTHER_VALUE


def test_secret_of_other_host_stays_placeholder(stage: Stage, version: str) -> None:
    stage.curl(version, "-H", "X-Other: $$other-token$$", "-H", HEADER, "https://api.test/echo")
    assert stage.application.last.headers["x-other"] == "$$other-token$$"
    assert stage.application.last.headers["x-api-key"] == VALUE_ON_THE_WIRE


def test_wildcard_covers_one_level_only(stage: Stage, version: str) -> None:
    stage.curl(version, "-H", HEADER, "https://a.wild.test/echo")
    assert stage.application.last.headers["x-api-key"] == VALUE_ON_THE_WIRE
    stage.curl(version, "-H", HEADER, "https://b.a.wild.test/echo")
    assert stage.application.last.headers["x-api-key"] == TOKEN


@pytest.mark.parametrize("host", ["other.test", "api.test.evil.test", "api.test:8443", "evil.test", TOKEN])
def test_request_for_other_host_than_connection_is_refused(stage: Stage, version: str, host: str) -> None:
    done = stage.curl(version, "-i", "-H", f"Host: {host}", "-H", HEADER, "https://api.test/echo")
    assert b" 421" in done.stdout.splitlines()[0] or done.returncode != 0
    assert not stage.application.seen


def test_host_in_other_case_and_with_port_is_the_same_host(stage: Stage, version: str) -> None:
    stage.curl(version, "-H", "Host: API.test:443", "-H", HEADER, "https://api.test/echo")
    assert stage.application.last.headers["x-api-key"] == VALUE_ON_THE_WIRE


def test_certificate_of_server_not_trusted_is_refused_with_reason(
    stage: Stage, version: str, tmp_path: Path
) -> None:
    async def never(reader: object, writer: object) -> None:
        raise AssertionError("a request came through")

    stage.gateway.servers["bad.test"] = stage.thread.run(
        serve_raw(never, TestAuthority(tmp_path).issue("bad.test"), "h2", "http/1.1")
    )
    done = stage.curl(version, "-i", "-H", HEADER, "https://bad.test/")
    assert b" 502" in done.stdout.splitlines()[0]
    assert b"the certificate of bad.test is not trusted on this host: " in done.stdout
    assert "certificate" in (stage.gateway.result().failure or "")


def test_certificate_for_other_name_is_refused(stage: Stage, version: str) -> None:
    stage.gateway.servers["bad.test"] = stage.gateway.servers["api.test"]
    done = stage.curl(version, "-i", "-H", HEADER, "https://bad.test/")
    assert b" 502" in done.stdout.splitlines()[0]
    assert b"not valid for 'bad.test'" in done.stdout
    assert not stage.application.seen


def test_server_that_cannot_be_reached_is_said(stage: Stage, version: str) -> None:
    stage.gateway.refusal = ConnectionRefusedError(111, "Connection refused")
    done = stage.curl(version, "-i", "https://gone.test/")
    assert b" 502" in done.stdout.splitlines()[0]
    assert b"gone.test cannot be reached: Connection refused" in done.stdout


def test_denial_is_passed_on_with_its_hint(stage: Stage, version: str) -> None:
    stage.gateway.refusal = DeniedError("gone.test leads to a private address", hint="--allow-net 10.0.0.0/8")
    done = stage.curl(version, "-i", "https://gone.test/")
    assert b" 403" in done.stdout.splitlines()[0]
    assert b"leads to a private address (--allow-net 10.0.0.0/8)" in done.stdout


def test_chunks_arrive_whole(stage: Stage, version: str) -> None:
    done = stage.curl(version, "https://api.test/chunked")
    assert done.stdout == b"".join(b"%d" % number * 1000 for number in range(5)) + b"end"


def test_answer_without_body_is_passed_on(stage: Stage, version: str) -> None:
    assert b" 204" in stage.curl(version, "-i", "https://api.test/empty").stdout
    head = stage.curl(version, "-I", "https://api.test/large?size=65536")
    assert b"content-length: 65536" in head.stdout


def test_event_arrives_before_the_next_is_sent(stage: Stage, version: str) -> None:
    words = ("curl", "-sSN", version, "--cacert", str(stage.box_ca), "--connect-to",
             f"::127.0.0.1:{stage.ports[443]}", "-H", HEADER, "https://api.test/held")  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        assert curl.stdout.readline() == b"data: first\n"
        stage.application.released.set()
        assert b"data: second" in curl.stdout.read()


def test_many_requests_at_once_keep_apart(stage: Stage, version: str) -> None:
    done = stage.curl(version, "-Z", "--parallel-max", "30", "-H", HEADER, "https://api.test/echo?n=[1-30]")
    assert done.returncode == 0, done.stderr
    assert {request.query for request in stage.application.seen} == {f"n={n}" for n in range(1, 31)}
    assert {request.headers["x-api-key"] for request in stage.application.seen} == {VALUE_ON_THE_WIRE}


def test_large_upload_arrives_whole_in_bounded_memory(stage: Stage, version: str, tmp_path: Path) -> None:
    size = 128 * MIB
    source = tmp_path / "upload"
    piece = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    with source.open("wb") as file:
        for _ in range(size // len(piece)):
            file.write(piece)
            digest.update(piece)
    before = _peak_mib()
    done = stage.curl(
        version, "-H", HEADER, "-H", "Expect:", "-T", str(source), "https://api.test/echo", timeout_s=240
    )
    assert json.loads(done.stdout) == {"body_bytes": size, "sha256": digest.hexdigest(), "path": "/echo"}
    assert _peak_mib() - before < 48


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
