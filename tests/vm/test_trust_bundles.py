"""The authority of a box in the trust bundles of the distributions' layouts, and programs that verify with it there."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.framework.cli import Boxlite
from tests.framework.image_builder import build_image
from tests.framework.registry import RunningRegistry
from tests.framework.secret_stage import ADDRESS, MODULES, Servers, programs_layer, servers

__all__ = ["servers"]

VALUE = "sk-another-real-one"
HOST_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
CURL, PYTHON = "/usr/bin/curl", "/usr/bin/python3.11"
DEBIAN_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
FEDORA_BUNDLE = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
VERIFY = """
import os, ssl, sys, urllib.request as u
os.environ.pop("SSL_CERT_FILE")
for path in sys.argv[1:]:
    request = u.Request("https://api.test/echo", headers={"X-Key": os.environ["BOXLITE_SECRET_API_KEY"]})
    u.urlopen(request, context=ssl.create_default_context(cafile=path)).read()
    text = open(path).read()
    print(text.count("# BoxLite: begin"), text.count("BEGIN CERT"))
"""


@dataclass(frozen=True)
class Layout:
    """Where a distribution has its bundle (`file`), what links lead there, and its tool's directory for more authorities."""

    file: str
    links: tuple[tuple[str, str], ...] = ()
    anchors: str | None = None


LAYOUTS = {
    # ca-certificates 20230311: the bundle, and one link to each authority
    "debian": Layout(file=DEBIAN_BUNDLE, anchors="/usr/local/share/ca-certificates"),
    # ca-certificates-bundle 20240226 of Alpine 3.20
    "alpine": Layout(file=DEBIAN_BUNDLE, links=(("/etc/ssl/cert.pem", "certs/ca-certificates.crt"),)),
    # ca-certificates 2024.2.69 of Fedora 40
    "fedora": Layout(
        file=FEDORA_BUNDLE,
        links=(
            ("/etc/pki/tls/certs/ca-bundle.crt", FEDORA_BUNDLE),
            ("/etc/pki/tls/cert.pem", FEDORA_BUNDLE),
            ("/etc/ssl/certs", "../pki/tls/certs"),
        ),
        anchors="/etc/pki/ca-trust/source/anchors",
    ),
    # gcr.io/distroless/base: no shell, no tool, one file
    "distroless": Layout(file=DEBIAN_BUNDLE),
    # Many a small image has none at all.
    "none": Layout(file=""),
}


def bundle_layer(layout: Layout) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        if layout.file:
            entry = tarfile.TarInfo(layout.file.lstrip("/"))
            content = HOST_BUNDLE.read_bytes()
            entry.size, entry.mode = len(content), 0o444
            tar.addfile(entry, io.BytesIO(content))
        for path, target in layout.links:
            link = tarfile.TarInfo(path.lstrip("/"))
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        if layout.anchors:
            directory = tarfile.TarInfo(layout.anchors.lstrip("/"))
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def programs() -> bytes:
    if not all(Path(path).exists() for path in (CURL, PYTHON, MODULES, HOST_BUNDLE)):
        pytest.skip("this host does not have the programs")
    return programs_layer((CURL, PYTHON, "/usr/bin/sleep"))


@pytest.fixture(scope="module", params=LAYOUTS)
def box(
    request: pytest.FixtureRequest,
    boxlite_of_module: Boxlite,
    registry: RunningRegistry,
    servers: Servers,
    programs: bytes,
) -> Iterator[tuple[str, Layout]]:
    """A box whose image has this layout, curl and Python, and no shell."""
    name = str(request.param)
    image = build_image([programs, bundle_layer(LAYOUTS[name])], config={"Cmd": ["/usr/bin/sleep", "900"]})
    boxlite_of_module.out(
        "run", "-d", "--name", name, "--secret", "API_KEY,host=api.test", "--dns", ADDRESS,
        registry.push(f"trust-{name}", "1", image),
        API_KEY=VALUE, SSL_CERT_FILE=str(servers.ca_file), timeout_s=280,
    )  # fmt: skip
    yield name, LAYOUTS[name]
    boxlite_of_module("rm", "-f", name, check=True)


@pytest.fixture
def run(boxlite_of_module: Boxlite, box: tuple[str, Layout]) -> Callable[..., bytes]:
    def call(*words: str) -> bytes:
        done = boxlite_of_module("exec", box[0], *words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return call


def test_curl_and_python_verify_by_the_variables_alone(run: Callable[..., bytes], servers: Servers) -> None:
    run(CURL, "-sSf", "-H", "X-Key: <BOXLITE_SECRET:API_KEY>", "https://api.test/echo")
    assert servers.last.headers["x-key"] == VALUE
    servers.application.seen.clear()
    run(PYTHON, "-c", "import urllib.request as u; u.urlopen('https://api.test/echo')")
    assert len(servers.application.seen) == 1


def test_every_path_of_the_bundle_leads_to_the_authority_and_to_those_that_were_there(
    run: Callable[..., bytes], box: tuple[str, Layout], servers: Servers
) -> None:
    _, layout = box
    links = [link for link, _ in layout.links if link != "/etc/ssl/certs"]
    paths = [layout.file or DEBIAN_BUNDLE, *links]
    if len(links) < len(layout.links):
        paths.append("/etc/ssl/certs/ca-bundle.crt")
    servers.application.seen.clear()
    lines = run(PYTHON, "-c", VERIFY, *paths).decode().splitlines()
    there = HOST_BUNDLE.read_bytes().count(b"BEGIN CERT") if layout.file else 0
    assert lines == [f"1 {there + 1}"] * len(paths)
    assert [request.headers["x-key"] for request in servers.application.seen] == [VALUE] * len(paths)


def test_tool_of_the_distribution_would_keep_the_authority(
    run: Callable[..., bytes], box: tuple[str, Layout]
) -> None:
    _, layout = box
    own = run(PYTHON, "-c", "print(open('/usr/local/share/ca-certificates/boxlite.crt').read())")
    assert own.count(b"BEGIN CERT") == 1
    if layout.anchors:
        listed = run(PYTHON, "-c", f"import os; print(os.listdir({layout.anchors!r}))")
        assert b"boxlite" in listed
