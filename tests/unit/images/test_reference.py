"""The grammar of image references."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgumentError
from engine.images.endpoints import candidates, is_loopback
from engine.images.reference import ImageReference
from engine.model import RegistryConfig

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
        ("127.0.0.1:5000/x:y", "127.0.0.1:5000/x:y", "127.0.0.1:5000/x:y"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("[2001:db8::1]/x", "[2001:db8::1]/x:latest", "[2001:db8::1]/x:latest"),
        ("UPPER/x", "UPPER/x:latest", "UPPER/x:latest"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}", f"alpine@{DIGEST}"),
        (f"a.b/c:t@{DIGEST}", f"a.b/c:t@{DIGEST}", f"a.b/c:t@{DIGEST}"),
        ("a/b__c/d-e---f/g.h_i", "docker.io/a/b__c/d-e---f/g.h_i:latest", "a/b__c/d-e---f/g.h_i:latest"),
        ("x:_T.ag-1", "docker.io/library/x:_T.ag-1", "x:_T.ag-1"),
        ("xn--fiqs8s.example/x", "xn--fiqs8s.example/x:latest", "xn--fiqs8s.example/x:latest"),
        ("a" * 128 + "/" + "b" * 100, "docker.io/" + "a" * 128 + "/" + "b" * 100 + ":latest", "a" * 128 + "/" + "b" * 100 + ":latest"),
    ],
)  # fmt: skip
def test_reference_that_is_legal_gets_its_defaults(text: str, full: str, familiar: str) -> None:
    reference = ImageReference.parse(text)
    assert (str(reference), reference.familiar) == (full, familiar)
    assert ImageReference.parse(full) == reference
    assert ImageReference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", "/", ":tag", "@", "Alpine", "a//b", "a/", "/a", "a:", "a:b:c", "a:t/b:", "a@", "a@sha256:12", f"a@{DIGEST.upper()}",
        f"a@{DIGEST}0", f"a@sha999:{'a' * 64}", "a" * 64, "a_", "_a", "-a", "a-", "a..b", "a___b", "a._b", "a b", " a", "a ", "a\n",
        "a:-t", "a:" + "t" * 129, "a:\u0661", "\u00fc", "a.b:port/c", "a.b:/c", "-a.b/c", "a..b/c", "[::1/c", "[::g]/c", "http://a.b/c",
        "a.b/C", "localhost/", "x" * 300, "a/../b", "a.b/c?d", "a%2f", "a\0b", "docker.io/", "ghcr.io/a@b@c",
    ],
)  # fmt: skip
def test_reference_that_is_illegal_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="invalid image reference"):
        ImageReference.parse(text)


def test_reference_under_localhost_is_local_only_without_a_port() -> None:
    assert ImageReference.parse("localhost/x").is_local
    assert not ImageReference.parse("localhost:5000/x").is_local
    assert not ImageReference.parse("localhost.localdomain/x").is_local


def test_short_name_means_one_reference_per_searched_registry() -> None:
    registries = (
        RegistryConfig(host="ghcr.io/org", search=True), RegistryConfig(host="quay.io"), RegistryConfig(host="docker.io", search=True),
    )  # fmt: skip
    assert [str(one) for one in candidates("app:1", registries)] == [
        "ghcr.io/org/app:1",
        "docker.io/library/app:1",
    ]
    assert [str(one) for one in candidates("me/app", registries)] == [
        "ghcr.io/org/me/app:latest",
        "docker.io/me/app:latest",
    ]
    assert [str(one) for one in candidates("quay.io/app", registries)] == ["quay.io/app:latest"]
    assert [str(one) for one in candidates("app", ())] == ["docker.io/library/app:latest"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:5000", True), ("127.9.9.9", True), ("[::1]:80", True), ("localhost", True), ("localhost:1", True),
        ("127.0.0.1.example", False), ("localhost.example", False), ("10.0.0.1:5000", False), ("[fe80::1]", False),
    ],
)  # fmt: skip
def test_loopback_is_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
