"""The bill of materials lists what the lock file pins, with its hashes."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("sbom", ROOT / "scripts" / "lib" / "sbom.py")
assert _SPEC is not None and _SPEC.loader is not None
sbom = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sbom)


def test_bill_lists_every_pin_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    components = list(sbom.python_components(lock))
    assert len(components) == len(re.findall(r"^[A-Za-z0-9._-]+==", lock, re.MULTILINE)) > 20
    assert all(one["externalReferences"][0]["hashes"] for one in components)


def test_bill_of_the_same_inputs_is_the_same() -> None:
    components = list(sbom.python_components("a==1 --hash=sha256:" + "0" * 64))
    assert sbom.bill("1", components) == sbom.bill("1", components)
    assert sbom.bill("1", components)["serialNumber"] != sbom.bill("2", components)["serialNumber"]


def test_debian_package_has_its_purl() -> None:
    (one,) = sbom.debian_components("crun 1.21-1 amd64\n")
    assert one["purl"] == "pkg:deb/debian/crun@1.21-1?arch=amd64&distro=trixie"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_pins_every_dependency_of_the_project_with_hashes(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"]]
    asked += project["optional-dependencies"]["dev"] if "dev" in lock else []
    names = {re.split(r"[<>=~!]", word)[0].lower().replace("_", "-").replace(".", "-") for word in asked}
    components = list(sbom.python_components((ROOT / lock).read_text()))
    assert names <= {one["name"].replace(".", "-") for one in components}
    assert all(one["externalReferences"][0]["hashes"] for one in components)


def test_auditor_is_among_the_pinned_tools() -> None:
    assert re.search(r"^pip-audit==", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
