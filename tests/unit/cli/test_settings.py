"""Global options, the environment and the configuration file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxlite_cli.configfile import load_config
from boxlite_cli.settings import GlobalOptions, resolve_settings
from engine.errors import ConfigError
from engine.model import Accel


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
