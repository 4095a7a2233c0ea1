from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.host.environment import DEFAULT_MAX_LAYER_BYTES, read_settings
from engine.model import Accel


def test_settings_of_an_empty_environment_are_the_defaults() -> None:
    settings = read_settings({"HOME": "/home/ada"})
    assert settings.home_dir == Path("/home/ada/.boxlite")
    assert settings.accel is None
    assert settings.max_layer_decompressed_bytes == DEFAULT_MAX_LAYER_BYTES
    assert settings.proxies == {}


def test_settings_without_home_fall_back_to_the_user_database() -> None:
    assert read_settings({}).home_dir.is_absolute()


def test_settings_take_every_variable() -> None:
    settings = read_settings(
        {
            "BOXLITE_HOME": "/srv/boxes", "BOXLITE_ACCEL": "TCG", "BOXLITE_SECURITY": "maximum",
            "BOXLITE_TMPDIR": "/var/tmp", "BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE": "1024",
            "HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost",
        }
    )  # fmt: skip
    assert settings.home_dir == Path("/srv/boxes")
    assert settings.accel is Accel.TCG
    assert settings.security == "maximum"
    assert settings.tmp_dir == Path("/var/tmp")
    assert settings.max_layer_decompressed_bytes == 1024
    assert settings.proxies == {"https_proxy": "http://proxy:3128", "no_proxy": "localhost"}


@pytest.mark.parametrize(
    "variables",
    [
        {"BOXLITE_HOME": "boxes"},
        {"BOXLITE_TMPDIR": "./tmp"},
        {"BOXLITE_ACCEL": "warp"},
        {"BOXLITE_SECURITY": "none"},
        {"BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE": "20G"},
        {"BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE": "0"},
        {"BOXLITE_MAX_LAYER_DECOMPRESSED_SIZE": "-1"},
    ],
)
def test_settings_with_an_impossible_value_name_the_variable(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(variables))):
        read_settings({"HOME": "/root", **variables})


@pytest.mark.parametrize("name", ["BOXLITE_HOME", "BOXLITE_ACCEL", "BOXLITE_SECURITY", "BOXLITE_TMPDIR"])
def test_empty_variable_counts_as_unset(name: str) -> None:
    assert read_settings({"HOME": "/root", name: ""}) == read_settings({"HOME": "/root"})


def test_accel_auto_counts_as_unset() -> None:
    assert read_settings({"HOME": "/root", "BOXLITE_ACCEL": "auto"}).accel is None
