"""Global options, the environment and the configuration file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxlite_cli.configfile import load_config
from boxlite_cli.global_options import GlobalOptions
from boxlite_cli.settings import find_values, resolve_settings
from engine.errors import ConfigError
from engine.model import Accel, RuntimeConfig


def written(tmp_path: Path, document: Any) -> str:
    path = tmp_path / "config.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_settings_options_beat_environment_beat_file(tmp_path: Path) -> None:
    file = written(tmp_path, {"home_dir": "/from/file", "image_registries": [{"host": "file.example"}]})
    options = GlobalOptions(config=file, registry=["first.example"])
    assert resolve_settings(options, {}).home == Path("/from/file")
    assert resolve_settings(options, {"BOXLITE_HOME": "/from/env"}).home == Path("/from/env")
    settings = resolve_settings(GlobalOptions(home="/given").over(options), {"BOXLITE_HOME": "/from/env"})
    assert settings.home == Path("/given") and settings.config.home_dir == "/given"
    assert [registry.host for registry in settings.config.image_registries] == [
        "first.example",
        "file.example",
    ]


def test_settings_accelerator_comes_from_the_environment() -> None:
    assert resolve_settings(GlobalOptions(), {"BOXLITE_ACCEL": "TCG"}).config.accel is Accel.TCG
    assert resolve_settings(GlobalOptions(), {"BOXLITE_ACCEL": "auto"}).config.accel is None
    with pytest.raises(ConfigError, match="BOXLITE_ACCEL"):
        resolve_settings(GlobalOptions(), {"BOXLITE_ACCEL": "warp"})


def test_config_registries_are_read(tmp_path: Path) -> None:
    config = load_config(
        Path(
            written(
                tmp_path,
                {
                    "image_registries": [
                        {"host": "a.example", "protocol": "http", "skip_verify": True, "search": True},
                        {"host": "b.example", "auth": {"type": "basic", "username": "me", "password": "pw"}},
                        {"host": "c.example/team", "auth": {"type": "bearer", "token": "t"}},
                        {"host": "d.example", "username": "me", "password": "pw"},
                    ]
                },
            )
        )
    )
    first, second, third, fourth = config.image_registries
    assert (first.transport, first.skip_verify, first.search) == ("http", True, True)
    assert (second.username, second.password) == ("me", "pw") == (fourth.username, fourth.password)
    assert third.bearer_token == "t"


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "is not JSON"),
        ([], "must be an object"),
        ({"homedir": "/x"}, "unknown key 'homedir'"),
        ({"home_dir": "x"}, "home_dir must be an absolute path"),
        ({"image_registries": {}}, "image_registries must be a list"),
        ({"image_registries": [{}]}, r"image_registries\[0\].host"),
        ({"image_registries": [{"host": "https://x"}]}, "without a scheme"),
        ({"image_registries": [{"host": "x", "transport": "ftp"}]}, "transport"),
        ({"image_registries": [{"host": "x", "search": "yes"}]}, "search must be true or false"),
        ({"image_registries": [{"host": "x", "username": "u"}]}, "together"),
        ({"image_registries": [{"host": "x", "auth": {"type": "basic"}}]}, "auth.username must be given"),
        ({"image_registries": [{"host": "x", "auth": {"type": "magic"}}]}, "anonymous, basic or bearer"),
    ],
)
def test_config_wrong_is_named_with_its_place(tmp_path: Path, document: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_config(Path(written(tmp_path, document)))
    assert "config.json" in str(caught.value)


def test_config_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nope.json")


CONFIG = """\
home_dir: /from/file
accel: tcg
image_registries:
  - host: ghcr.io/me
    username: me
    password: hidden-word
aliases:
  ll: ls -a
  broken: "run 'x"
defaults:
  ls: {all: true}
  run:
    memory: 1g
    label: [team=web]
"""


@pytest.fixture
def configured(tmp_path: Path) -> dict[str, str]:
    """An environment whose user has a configuration file."""
    path = tmp_path / "xdg/boxlite/config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(CONFIG)
    return {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}


def test_settings_of_the_users_own_file_are_found_with_their_origin(configured: dict[str, str]) -> None:
    values = find_values(GlobalOptions(), configured)
    path = f"{configured['XDG_CONFIG_HOME']}/boxlite/config.yaml"
    assert values["home_dir"] == ("/from/file", f"{path}:1")
    assert values["accel"] == ("tcg", f"{path}:2")
    assert values["security"] == ("enabled", "default")
    values = find_values(GlobalOptions(home="/given"), {**configured, "BOXLITE_ACCEL": "kvm"})
    assert values["home_dir"] == ("/given", "--home") and values["accel"] == ("kvm", "BOXLITE_ACCEL")


def test_settings_another_file_takes_the_place_of_the_users_own(
    configured: dict[str, str], tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("accel: hvf\n")
    environment = {**configured, "BOXLITE_CONFIG": str(other)}
    assert resolve_settings(GlobalOptions(), environment).config == RuntimeConfig(accel=Accel.HVF)
    given = GlobalOptions(config=str(other))
    assert find_values(given, configured)["home_dir"] == (None, "default")


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("accel: tcg\nhome: /x\n", 2, "unknown key 'home'"),
        ("accel: fast\n", 1, "accel must be auto, kvm, hvf or tcg"),
        ("aliases:\n  run: ls\n", 2, "another name: there is a command of this one"),
        ("aliases:\n  Ll: ls\n", 2, "lower-case letters"),
        ("aliases:\n  ll: 3\n", 2, "a command line"),
        ("color: red\n", 1, "auto, always or never"),
        ("defaults:\n  rnu: {}\n", 2, "named after a command"),
        ("defaults:\n  run:\n    memory: {a: b}\n", 3, "a value, or a list of values"),
        ("image_registries:\n- host: a\n- hots: b\n", 3, "unknown key 'hots'"),
        ("a: [\n", 0, "is not YAML"),
    ],
)
def test_config_wrong_is_named_with_its_line(tmp_path: Path, text: str, line: int, complaint: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_config(path)
    assert f"{path}:{line}: " in str(caught.value) if line else str(path) in str(caught.value)


Program = Callable[..., subprocess.CompletedProcess[str]]


def test_config_show_names_the_origin_and_hides_passwords(
    program: Program, configured: dict[str, str]
) -> None:
    done = program("config", "show", "--origin", **configured)
    assert done.returncode == 0 and "hidden-word" not in done.stdout
    lines = {row.split()[0]: row.split()[-1] for row in done.stdout.splitlines()}
    assert lines["home_dir"] == "BOXLITE_HOME"  # the test's own
    assert lines["accel"].endswith("config.yaml:2")
    assert lines["defaults.run.label"].endswith("config.yaml:14")
    assert program("config", "show", "accel", **configured).stdout == "tcg\n"
    found = json.loads(program("config", "show", "--format", "json", **configured).stdout)
    assert {"Key": "security", "Value": "enabled", "Origin": "default"} in found
    assert program("config", "show", "acel", **configured).returncode == 2
    assert program("config", "path", **configured).stdout.strip().endswith("xdg/boxlite/config.yaml")


def test_config_defaults_stand_in_for_options_and_give_way_to_them(
    program: Program, configured: dict[str, str]
) -> None:
    file = Path(configured["XDG_CONFIG_HOME"], "boxlite/config.yaml")
    file.write_text("defaults:\n  ls: {format: json}\n  run: {rm: true}\n")
    assert program("ls", **configured).stdout == "[]\n"
    assert program("ls", "--format", "yaml", **configured).stdout == "[]\n"
    assert program("ls", "--format", "table", **configured).stdout.startswith("ID")
    clash = program("run", "--restart", "always", "alpine", **configured)
    assert "--rm cannot be combined with --restart" in clash.stderr
    fine = program("run", "--rm=false", "--restart", "always", "--allow-net", "x", "alpine", **configured)
    assert "--rm cannot" not in fine.stderr
    file.write_text("defaults:\n  run:\n    memry: 1g\n")
    wrong = program("run", "alpine", **configured)
    assert (
        wrong.returncode == 125 and "config.yaml:3" in wrong.stderr and "did you mean memory?" in wrong.stderr
    )
    assert program("run", "--help", **configured).returncode == 0
    assert program("version", **configured).returncode == 0


def test_config_alias_is_expanded(program: Program, configured: dict[str, str]) -> None:
    assert program("ll", "-q", **configured).returncode == 0
    assert "not a command line" in program("broken", **configured).stderr
    assert program("lll", **configured).returncode == 2


def test_errors_as_json_have_code_hint_and_retryable(program: Program) -> None:
    for words, code in (
        (["rnu"], "invalid_argument"),
        (["ls", "--nope"], "invalid_argument"),
        (["stop", "nope"], "not_found"),
        (["inspect", "nope"], "not_found"),
        (["run", "-m", "lots", "alpine"], "invalid_argument"),
        (["ls", "--config", "/nope"], "config_error"),
    ):
        done = program("--json", *words)
        (line,) = done.stderr.splitlines()
        error = json.loads(line)["error"]
        assert error["code"] == code and error["message"] and error["retryable"] is False
        assert "hint" in error and done.returncode != 0
    assert json.loads(program("ls", "--json").stdout) == []
