"""Write the bill of materials as CycloneDX 1.5 (JSON): the Python packages of a lock file with their hashes, and Debian's
packages in the guest image when there is one.

    python scripts/lib/sbom.py requirements.lock VERSION [guest-packages.txt] > sbom.json

Nothing is installed or fetched for it, and the same inputs give the same bytes.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?P<marker>\s*;[^\\]*)?")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def python_components(lock: str) -> Iterator[dict[str, Any]]:
    """One component for each pinned package. The hashes are of all its files, whichever of them a platform takes."""
    for entry in lock.replace("\\\n", " ").splitlines():
        pin = PIN.match(entry)
        if pin is None:
            continue
        name, version = pin["name"].lower().replace("_", "-"), pin["version"]
        component: dict[str, Any] = {
            "type": "library", "bom-ref": f"pkg:pypi/{name}@{version}", "name": name, "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "externalReferences": [
                {
                    "type": "distribution", "url": f"https://pypi.org/project/{name}/{version}/",
                    "hashes": [{"alg": "SHA-256", "content": found} for found in HASH.findall(entry)],
                }
            ],
        }  # fmt: skip
        if pin["marker"]:
            component["properties"] = [{"name": "boxlite:marker", "value": pin["marker"].strip(" ;")}]
        yield component


def debian_components(listing: str) -> Iterator[dict[str, Any]]:
    """One for each line `package version architecture`."""
    for line in listing.splitlines():
        name, version, arch = line.split()
        purl = f"pkg:deb/debian/{name}@{version}?arch={arch}&distro=trixie"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def bill(version: str, components: list[dict[str, Any]]) -> dict[str, Any]:
    """The document (CycloneDX specification 1.5). Its serial number follows from what it lists."""
    listed = json.dumps(components, sort_keys=True)
    root = {"type": "application", "bom-ref": "boxlite", "name": "boxlite", "version": version,
            "licenses": [{"license": {"id": "Apache-2.0"}}]}  # fmt: skip
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'boxlite {version} {listed}')}",
        "metadata": {"component": root},
        "components": components,
        "dependencies": [{"ref": "boxlite", "dependsOn": [one["bom-ref"] for one in components]}],
    }  # fmt: skip


def main() -> None:
    lock, version, *listings = sys.argv[1:]
    components = [*python_components(Path(lock).read_text())]
    for listing in listings:
        components += debian_components(Path(listing).read_text())
    components.sort(key=lambda one: str(one["bom-ref"]))
    json.dump(bill(version, components), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
