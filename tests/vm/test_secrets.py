"""Secrets in a real box, with the programs people use there: one box, servers of ours on an address of this host."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite
from tests.framework.image_builder import build_image
from tests.framework.registry import RunningRegistry
from tests.framework.secret_stage import ADDRESS, MODULES, Servers, programs_layer, servers

__all__ = ["servers"]

VALUE = "sk-very-real-" + base64.b32encode(os.urandom(10)).decode()
TOKEN = "<BOXLITE_SECRET:API_KEY>"
OTHER_ADDRESS = "198.51.100.72"
PROGRAMS = (
    "/usr/bin/curl",
    "/usr/bin/wget",
    "/usr/bin/python3.11",
    "/usr/bin/git",
    "/usr/lib/git-core/git-remote-https",
)


@pytest.fixture(scope="module")
def tools(registry: RunningRegistry, alpine_rootfs: Path) -> str:
    """Alpine with a Debian host's curl, wget, Python and Git in it: what people use, and three TLS libraries."""
    if not all(Path(program).exists() for program in (*PROGRAMS, MODULES)):
        pytest.skip("this host does not have the programs")
    layers = [gzip.decompress(alpine_rootfs.read_bytes()), programs_layer(PROGRAMS), _git_link()]
    config = {"Cmd": ["/bin/sleep", "900"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
    return registry.push("tools", "1", build_image(layers, config=config))


def _git_link() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("usr/lib/git-core/git")
        link.type, link.linkname = tarfile.SYMTYPE, "/usr/bin/git"
        tar.addfile(link)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def box(boxlite_of_module: Boxlite, servers: Servers, tools: str) -> Iterator[str]:
    boxlite_of_module.out(
        "run", "-d", "--name", "agent", "--secret", "API_KEY,host=api.test", "--dns", ADDRESS, tools,
        API_KEY=VALUE, SSL_CERT_FILE=str(servers.ca_file), timeout_s=280,
    )  # fmt: skip
    yield "agent"


@pytest.fixture
def run(boxlite_of_module: Boxlite, box: str, servers: Servers) -> Run:
    servers.application.seen.clear()
    return Run(boxlite_of_module, box)


@dataclass
class Run:
    """Runs a shell command in the box; its whole output, status in front."""

    boxlite: Boxlite
    box: str

    def __call__(self, script: str) -> str:
        done = self.boxlite(
            "exec", self.box, "sh", "-c", f"({script}) 2>&1; s=$?; echo; echo status=$s", timeout_s=120
        )
        print(script, done.stdout.decode(), done.stderr.decode())  # shown when the test fails
        return done.stdout.decode()


def test_box_sees_placeholder_and_trust_only(run: Run) -> None:
    shown = run("env; tail -n 3 $SSL_CERT_FILE; grep -c 'BEGIN CERT' $SSL_CERT_FILE")
    assert f"BOXLITE_SECRET_API_KEY={TOKEN}" in shown
    for name in (
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "GIT_SSL_CAINFO",
    ):
        assert f"\n{name}=/" in "\n" + shown
    assert "BoxLite: end" in shown
    assert VALUE not in shown


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_sends_value(run: Run, servers: Servers, version: str) -> None:
    run(
        f'curl -sS {version} -H "X-Key: $BOXLITE_SECRET_API_KEY" -u "me:$BOXLITE_SECRET_API_KEY" https://api.test/echo'
    )
    assert servers.last.headers["x-key"] == VALUE
    assert base64.b64decode(servers.last.headers["authorization"].split()[1]).decode() == f"me:{VALUE}"
    assert servers.last.http_version == version.removeprefix("--http")


def test_wget_sends_value(run: Run, servers: Servers) -> None:
    run(
        '/usr/bin/wget -qO- --ca-certificate=$SSL_CERT_FILE --header "X-Key: $BOXLITE_SECRET_API_KEY" https://api.test/'
    )
    assert servers.last.headers["x-key"] == VALUE


def test_python_sends_value(run: Run, servers: Servers) -> None:
    run(
        'python3.11 -c \'import os,urllib.request as u; u.urlopen(u.Request("https://api.test/echo?key="+'
        'os.environ["BOXLITE_SECRET_API_KEY"].replace("<","%3C").replace(">","%3E")))\''
    )
    assert servers.last.query == f"key={VALUE}"


def test_git_sends_value(run: Run, servers: Servers) -> None:
    run('git -c "http.extraHeader=X-Key: $BOXLITE_SECRET_API_KEY" ls-remote https://api.test/repository')
    assert servers.last.headers["x-key"] == VALUE


def test_body_and_answer_hold_placeholders(run: Run, servers: Servers) -> None:
    shown = run(
        'curl -sSi -H "X-Key: $BOXLITE_SECRET_API_KEY" -d "$BOXLITE_SECRET_API_KEY" https://api.test/reflect'
    )
    assert servers.last.body.decode() == TOKEN
    assert f"x-seen-x-key: {TOKEN}" in shown
    assert VALUE not in shown


@pytest.mark.parametrize(
    "words",
    [
        "-k https://other.test/echo",
        "-k https://api.test:8443/echo",
        f"-k -H 'Host: api.test' https://{ADDRESS}/echo",
        "-k --connect-to api.test:443:other.test:8443 https://api.test/echo",
    ],
)
def test_value_goes_nowhere_else(run: Run, servers: Servers, words: str) -> None:
    run(f'curl -sS -H "X-Key: $BOXLITE_SECRET_API_KEY" {words}')
    assert [request.headers["x-key"] for request in servers.application.seen] == [TOKEN]


def test_request_for_another_host_on_the_connection_is_refused(run: Run, servers: Servers) -> None:
    shown = run('curl -sSi -H "Host: other.test" -H "X-Key: $BOXLITE_SECRET_API_KEY" https://api.test/echo')
    assert " 421" in shown
    assert not servers.application.seen


def test_address_that_the_box_chose_does_not_matter(run: Run, servers: Servers) -> None:
    run(
        f'curl -sS --connect-to api.test:443:{OTHER_ADDRESS}:443 -H "X-Key: $BOXLITE_SECRET_API_KEY" https://api.test/'
    )
    assert servers.last.headers["x-key"] == VALUE


def test_plain_http_gets_no_value(run: Run, servers: Servers) -> None:
    shown = run('curl -sSi --max-time 10 -H "X-Key: $BOXLITE_SECRET_API_KEY" http://api.test:443/')
    assert VALUE not in shown
    assert not servers.application.seen


def test_value_is_found_nowhere_on_the_host(boxlite_of_module: Boxlite, run: Run) -> None:
    run('curl -sS -H "X-Key: $BOXLITE_SECRET_API_KEY" https://api.test/echo')
    needle = VALUE.encode()
    encoded = base64.b64encode(f"me:{VALUE}".encode())
    told = [boxlite_of_module(*words).stdout for words in (
        ("inspect", run.box), ("events", "--since", "1h", "--no-follow"), ("logs", run.box), ("network", "log", run.box), ("ls", "-a"),
    )]  # fmt: skip
    assert b"api.test" in told[3]
    places = dict(zip(["inspect", "events", "logs", "network", "ls"], told, strict=True))
    for pid in (entry for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()):
        for what in ("cmdline", "environ"):
            try:
                places[f"/proc/{pid}/{what}"] = Path(f"/proc/{pid}/{what}").read_bytes()
            except OSError:
                continue
    assert [name for name, text in places.items() if needle in text or encoded in text] == []
    files = [path for top in (boxlite_of_module.home, Path("/run")) for path in top.rglob("*")]
    assert [path for path in files if path.is_file() and not path.is_symlink() and _holds(path, needle)] == []
    assert "status=1" in run(
        f"grep -rlaF {VALUE[:6]}''{VALUE[6:]} /etc /tmp /root /run /home /usr/local /proc/1/environ | grep -v nothing"
    )


def _holds(path: Path, needle: bytes) -> bool:
    """Is it in the file? Holes, of which disks mostly consist, are not read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    with open(fd, "rb") as file:
        end = 0
        while True:
            try:
                begin = os.lseek(fd, end, os.SEEK_DATA)
            except OSError:  # no more data, or a file of the kernel's
                return False
            end = os.lseek(fd, begin, os.SEEK_HOLE)
            file.seek(begin)
            tail = b""
            while (left := end - file.tell()) > 0 and (piece := file.read(min(left, 1 << 22))):
                if needle in tail + piece:
                    return True
                tail = piece[-len(needle) :]


def test_inspect_shows_what_the_secret_opens(boxlite_of_module: Boxlite, box: str) -> None:
    shown = boxlite_of_module.out("inspect", box)
    assert json.loads(shown)
    assert '"api.test"' in shown


def test_restarted_box_fetches_its_value_again(
    boxlite_of_module: Boxlite, run: Run, servers: Servers
) -> None:
    boxlite_of_module.out("stop", "-t", "0", run.box)
    refused = boxlite_of_module("start", run.box)
    assert refused.returncode == 1
    assert b"the variable API_KEY, which has the value of secret API_KEY, is not set here" in refused.stderr
    boxlite_of_module.out("start", run.box, API_KEY=VALUE + "-2", SSL_CERT_FILE=str(servers.ca_file))
    run('curl -sS -H "X-Key: $BOXLITE_SECRET_API_KEY" https://api.test/echo')
    assert servers.last.headers["x-key"] == VALUE + "-2"
    assert run("grep -c 'BoxLite: begin' $SSL_CERT_FILE").split()[0] == "1"
