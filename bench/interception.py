"""What it costs to put secrets into requests: a 1 GiB upload and a large download through the gateway's interception, beside the
same through a plain relay; time, rate, and the peak memory of the process that intercepts.

    .venv/bin/python bench/interception.py [--mib 1024] [--only "up http1.1 intercepted"]

Client (curl), gateway and server are processes of their own, on loopback.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine.net.interception.authority import generate_authority
from engine.net.interception.interceptor import Interceptor
from engine.net.secrets import SecretsGrant
from tests.framework.authority import TestAuthority
from tests.framework.web import LoopThread, TestGateway, secret, serve_web
from tests.framework.web_application import WebApplication

NAMES = ("with.test", "without.test")


def _serve(directory: Path, link: Connection) -> None:
    thread = LoopThread()
    authority = TestAuthority(directory)
    link.send(thread.run(serve_web(WebApplication(), authority.issue(*NAMES))).port)
    link.recv()


def _intercept(directory: Path, port: int, link: Connection) -> None:
    secrets = (secret("KEY", "the-value-of-the-key", "with.test"),)
    authority = generate_authority("bench", ["with.test"])
    bundle = authority.certificate_pem + (directory / "authority.pem").read_text()
    (directory / "bundle.pem").write_text(bundle)
    grant = SecretsGrant(secrets=secrets, authority=authority, ca_file=str(directory / "authority.pem"))
    thread = LoopThread()
    gateway = TestGateway(Interceptor(grant), dict.fromkeys(NAMES, port))
    link.send(thread.run(gateway.listen(443)))
    while link.recv():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        link.send((usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--only", default="", help="part of a case's name")
    options = parser.parse_args()
    mib = options.mib
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        server_link, server_end = multiprocessing.Pipe()
        gateway_link, gateway_end = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn").Process
        server = spawn(target=_serve, args=(directory, server_end), daemon=True)
        server.start()
        gateway = spawn(target=_intercept, args=(directory, server_link.recv(), gateway_end), daemon=True)
        gateway.start()
        port = gateway_link.recv()
        upload = directory / "upload"
        with upload.open("wb") as file:
            file.truncate(mib * 1024 * 1024)
        for host, way in (("without.test", "relayed"), ("with.test", "intercepted")):
            for version in ("http1.1", "http2"):
                for direction in ("up", "down"):
                    case = f"{direction} {version} {way}"
                    if options.only not in case:
                        continue
                    words = ["-H", "Expect:", "-T", str(upload)] if direction == "up" else []
                    path = "echo" if direction == "up" else f"large?size={mib * 1024 * 1024}"
                    words += [f"--{version}", f"https://{host}/{path}"]
                    print(
                        json.dumps({"case": case, **_measure(directory, port, words, mib, gateway_link)}),
                        flush=True,
                    )
        gateway.kill()
        server.kill()


def _measure(directory: Path, port: int, words: list[str], mib: int, link: Connection) -> dict[str, object]:
    link.send("usage")
    cpu_before = link.recv()[1]
    begun = time.monotonic()
    done = subprocess.run(
        ("curl", "-sS", "--noproxy", "*", "--cacert", str(directory / "bundle.pem"), "--connect-to",
         f"::127.0.0.1:{port}", "-H", "X-Key: <BOXLITE_SECRET:KEY>", "-o", "/dev/null", *words),
        capture_output=True, check=False,
    )  # fmt: skip
    took_s = time.monotonic() - begun
    link.send("usage")
    peak_mib, cpu_s = link.recv()
    return {
        "mib": mib,
        "ok": done.returncode == 0,
        "mib_per_s": round(mib / took_s, 1),
        "gateway_cpu_s": round(cpu_s - cpu_before, 2),
        "gateway_peak_mib": round(peak_mib, 1),
    }


if __name__ == "__main__":
    main()
