from __future__ import annotations

import subprocess
import sys

import pytest

from engine import host


def test_every_public_name_can_be_had() -> None:
    assert sorted(host.__all__) == list(host.__all__)
    assert set(host.__all__) == set(host._MODULE_OF)
    for name in host.__all__:
        assert getattr(host, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = host.nonsense


def test_reading_settings_loads_nothing_else() -> None:
    code = "import sys; from engine import host; host.read_settings(); print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
