"""Right, wrong and no credentials on the command line, against registries that ask for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.framework.certificates import Certificate
from tests.framework.cli import Boxlite
from tests.framework.guarded import IMAGE, PASSWORD, USER
from tests.framework.registry import RunningRegistry
from tests.framework.token_server import TokenServer

GUARDS = ("guarded", "token_guarded")


@pytest.fixture
def boxlite(tmp_path: Path, certificate: Certificate) -> Boxlite:
    """The command with a home and credentials of its own."""
    (tmp_path / "user").mkdir()
    return Boxlite(tmp_path / "home", {"HOME": str(tmp_path / "user")})


@pytest.fixture(params=GUARDS)
def asking(request: pytest.FixtureRequest) -> RunningRegistry:
    """One registry after the other that asks who one is."""
    found: RunningRegistry = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def config(asking: RunningRegistry, certificate: Certificate, tmp_path: Path) -> list[str]:
    """The options that make the registry's certificate be trusted."""
    document = {"image_registries": [{"host": asking.host, "ca_file": str(certificate.certificate)}]}
    (tmp_path / "config.json").write_text(json.dumps(document))
    return ["--config", str(tmp_path / "config.json")]


def test_pull_with_no_credentials_names_registry_repository_and_remedy(
    boxlite: Boxlite, asking: RunningRegistry, config: list[str]
) -> None:
    done = boxlite(*config, "pull", f"{asking.host}/team/app:v1")
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (1, b"")
    assert "refused" in said and "an anonymous pull" in said and "Traceback" not in said
    assert asking.host in said and "team/app" in said
    assert f"boxlite login {asking.host}" in said


def test_login_then_pull_then_logout(boxlite: Boxlite, asking: RunningRegistry, config: list[str]) -> None:
    login = ("login", "--username", USER, "--password-stdin", asking.host)
    done = boxlite(*config, *login, stdin=f"{PASSWORD}\n".encode(), check=True)
    assert PASSWORD not in done.stderr.decode()
    kept = boxlite.home / "auth.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    done = boxlite(*config, "pull", f"{asking.host}/team/app:v1", check=True)
    assert f"Digest: {IMAGE.digest}" in done.stdout.decode()
    boxlite(*config, "logout", asking.host, check=True)
    assert boxlite(*config, "pull", f"{asking.host}/team/app:v1").returncode == 1
    assert b"not logged in" in boxlite("logout", asking.host).stderr


def test_login_with_a_wrong_password_is_refused_and_not_kept(
    boxlite: Boxlite, asking: RunningRegistry, config: list[str]
) -> None:
    done = boxlite(*config, "login", "-u", USER, "--password-stdin", asking.host, stdin=b"guess")
    said = done.stderr.decode()
    assert done.returncode == 1 and asking.host in said and "refused" in said and USER in said
    assert "guess" not in said and not (boxlite.home / "auth.json").exists()


def test_pull_with_a_wrong_password_of_docker_names_its_file(
    boxlite: Boxlite, asking: RunningRegistry, config: list[str], tmp_path: Path
) -> None:
    docker = tmp_path / "user" / ".docker" / "config.json"
    docker.parent.mkdir()
    docker.write_text(json.dumps({"auths": {asking.host: {"username": USER, "password": "stale"}}}))
    done = boxlite(*config, "pull", f"{asking.host}/team/app:v1")
    said = done.stderr.decode()
    assert done.returncode == 1 and str(docker) in said and USER in said and "stale" not in said
    assert f"boxlite login {asking.host}" in said


def test_token_is_asked_for_the_repository_alone(
    boxlite: Boxlite,
    token_guarded: RunningRegistry,
    token_server: TokenServer,
    certificate: Certificate,
    tmp_path: Path,
) -> None:
    document = {
        "image_registries": [
            {"host": token_guarded.host, "ca_file": str(certificate.certificate),
             "auth": {"type": "basic", "username": USER, "password": PASSWORD}}
        ]
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(document))
    boxlite(
        "--config", str(tmp_path / "config.json"), "pull", f"{token_guarded.host}/team/app:v1", check=True
    )
    assert [query["scope"] for query in token_server.asked] == [["repository:team/app:pull"]]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--password-stdin", "localhost:1"], "--password-stdin needs --username"),
        (["-u", "ann", "localhost:1"], "there is nobody to ask"),
        (["-u", "ann", "-p", "x", "--password-stdin", "localhost:1"], "cannot be combined"),
        (["-u", "ann", "--password-stdin", "localhost:1/team"], "is not a registry's host"),
        (["-u", "ann", "--password-stdin", "localhost:1"], "the password is empty"),
    ],
)
def test_login_wrong_command_lines_are_refused(boxlite: Boxlite, words: list[str], complaint: str) -> None:
    done = boxlite("login", *words, stdin=b"x" if "team" in words[-1] else b"")
    assert done.returncode == 2 and complaint in done.stderr.decode()


def test_login_to_what_is_no_registry_says_so(boxlite: Boxlite) -> None:
    done = boxlite("login", "-u", "ann", "--password-stdin", "127.0.0.1:9", stdin=b"x")
    assert done.returncode == 1 and b"cannot be reached" in done.stderr
