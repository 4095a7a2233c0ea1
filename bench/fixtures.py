"""What the comparisons need around them: an image, a registry that has it, a podman that runs, a bare initramfs."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "bench/image"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
HYBRID_TREE = Path("/sys/fs/cgroup/unified")
PODMAN_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")


def make_rootfs(target: Path) -> Path:
    """The busybox image of the quickstart, as a tar file."""
    script = ROOT / "scripts" / "lib" / "busybox_image.py"
    subprocess.run((sys.executable, str(script), str(target)), check=True)
    return target


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def registry(directory: Path) -> Iterator[str]:
    """A registry on loopback; gives `127.0.0.1:PORT`."""
    address = f"127.0.0.1:{free_port()}"
    config = directory / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory / 'registry'}}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    process = subprocess.Popen(
        ("docker-registry", "serve", str(config)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://{address}/v2/")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_for(url: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def push_image(address: str, rootfs: Path) -> str:
    """Make an OCI image of one layer of a tar file, put it into the registry and return its reference."""
    return push_layers(address, [rootfs])


def push_layers(address: str, archives: Iterable[Path], *, repository: str = REPOSITORY) -> str:
    """Make an OCI image with a layer of each tar file, put it into the registry and return its reference
    (OCI distribution-spec, "Pushing")."""
    diff_ids, layers = [], []
    for archive in archives:
        packed = archive.read_bytes()
        plain = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
        layer = gzip.compress(plain, compresslevel=6, mtime=0)
        diff_ids.append(_digest(plain))
        layers.append(_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer))
        _push_blob(address, repository, layer)
    config = json.dumps(
        {
            "architecture": ARCHITECTURES[os.uname().machine],
            "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    _push_blob(address, repository, config)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": layers,
        }
    ).encode()
    _request("PUT", f"http://{address}/v2/{repository}/manifests/latest", manifest, OCI_MANIFEST)
    return f"{address}/{repository}:latest"


def _push_blob(address: str, repository: str, blob: bytes) -> None:
    upload = _request("POST", f"http://{address}/v2/{repository}/blobs/uploads/")
    mark = "&" if "?" in upload else "?"
    _request("PUT", f"{upload}{mark}digest={_digest(blob)}", blob, "application/octet-stream")


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _request(method: str, url: str, body: bytes = b"", media_type: str = "") -> str:
    request = urllib.request.Request(url, data=body, method=method)
    if media_type:
        request.add_header("Content-Type", media_type)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.headers.get("Location", ""))


class Podman:
    """podman with a store of its own."""

    def __init__(self, directory: Path) -> None:
        self._stores = ("--root", str(directory / "root"), "--runroot", str(directory / "run"))

    def argv(self, verb: str, *words: str) -> tuple[str, ...]:
        limits = PODMAN_LIMITS if verb == "run" and HYBRID_TREE.is_mount() else ()
        command = ("podman", *self._stores, verb, *limits, *words)
        if HYBRID_TREE.is_mount():
            script = f'umount {HYBRID_TREE} && exec "$@"'
            return ("unshare", "--mount", "sh", "-c", script, "sh", *command)
        return command

    def problem(self, image: str) -> str:
        """Why it cannot be compared with; empty when it runs the image."""
        if shutil.which("podman") is None:
            return "podman is not installed"
        for argv in (self.argv("pull", "--tls-verify=false", image), self.argv("run", "--rm", image, "true")):
            done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines()
                return f"podman does not work here: {lines[-1] if lines else done.returncode}"
        return ""

    def close(self) -> None:
        """Remove every container, image and mount of the store."""
        if shutil.which("podman") is not None:
            subprocess.run(self.argv("rm", "--all", "--force", "--time", "0"), capture_output=True)
            subprocess.run(self.argv("rmi", "--all", "--force"), capture_output=True)


def busybox_initramfs(target: Path) -> Path:
    """The least a kernel can boot to: a busybox that restarts the machine at once (the kernel's
    Documentation/driver-api/early-userspace/buffer-format.rst, "newc")."""
    found = shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("busybox is not installed")
    entries = (
        ("bin", 0o040755, b""),
        ("bin/busybox", 0o100755, Path(found).read_bytes()),
        ("dev", 0o040755, b""),
        ("init", 0o100755, b"#!/bin/busybox sh\n/bin/busybox reboot -f\n"),
    )
    archive = b"".join(_newc(number, *entry) for number, entry in enumerate(entries, start=1))
    target.write_bytes(archive + _newc(0, "TRAILER!!!", 0, b""))
    return target


def _newc(inode: int, name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + encoded) + _padded(content)


def _padded(blob: bytes) -> bytes:
    return blob + bytes(-len(blob) % 4)
