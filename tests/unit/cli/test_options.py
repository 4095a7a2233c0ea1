"""From a command line to the spec the engine gets: the whole parser, without an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import pytest
import typer

from boxlite_cli.command import as_command
from boxlite_cli.exec_options import build_exec_spec
from boxlite_cli.option_groups import BoxOptions
from boxlite_cli.options import build_box_spec
from boxlite_cli.process_options import EnvironmentOptions, TerminalOptions
from engine.errors import InvalidArgumentError
from engine.model import (
    BoxSpec,
    ExecSpec,
    HealthCheck,
    NetworkMode,
    PortSpec,
    RestartKind,
    Ulimit,
    VolumeKind,
)


def spec_of(*words: str, environment: Mapping[str, str] | None = None, auto_remove: bool = False) -> BoxSpec:
    """What `boxlite run WORDS…` asks for."""
    seen: list[BoxSpec] = []

    def run(
        options: BoxOptions,
        terminal: TerminalOptions,
        rest: Annotated[list[str] | None, typer.Argument()] = None,
    ) -> int:
        spec = build_box_spec(
            options, rest or [], terminal=terminal, auto_remove=auto_remove, environment=environment or {}
        )
        seen.append(spec)
        return 0

    parse(as_command(run, "run", words_end_options=True), list(words))
    return seen[0]


def exec_spec_of(*words: str) -> ExecSpec:
    seen: list[ExecSpec] = []

    def exec_(
        terminal: TerminalOptions,
        environment: EnvironmentOptions,
        rest: Annotated[list[str], typer.Argument()],
    ) -> int:
        seen.append(build_exec_spec(rest, environment, terminal, environment={}))
        return 0

    parse(as_command(exec_, "exec", words_end_options=True), list(words))
    return seen[0]


def parse(command: Any, words: list[str]) -> None:
    """As the program does, but for errors, which are raised."""
    with command.make_context("run", words) as ctx:
        ctx.invoke(command.callback, **ctx.params)


def test_spec_of_an_image_alone_has_the_defaults() -> None:
    spec = spec_of("alpine")
    assert spec == replace(BoxSpec(image="alpine"), labels={})
    assert not spec.is_job


def test_spec_words_after_the_image_are_the_command() -> None:
    assert spec_of("alpine", "ls", "-d", "--rm").cmd == ("ls", "-d", "--rm")
    assert spec_of("--name", "x", "alpine", "--", "ls").cmd == ("--", "ls")


def test_spec_entrypoint_drops_the_images_command() -> None:
    assert (
        spec_of("--entrypoint", "sh", "alpine").entrypoint,
        spec_of("--entrypoint", "sh", "alpine").cmd,
    ) == (
        ("sh",),
        (),
    )
    assert spec_of("--entrypoint", "", "alpine", "ls").entrypoint == ()


def test_spec_of_every_option_carries_it() -> None:
    spec = spec_of(
        *[
            "-i",
            "-t",
            "-u",
            "1000:100",
            "-e",
            "A=1",
            "-w",
            "/srv",
            "--cpus",
            "3",
            "-m",
            "1g",
            "--disk-size",
            "20",
            "-h",
            "web",
            "--network",
            "enabled",
        ],
        *[
            "--allow-net",
            "example.com",
            "--deny-net",
            "evil.example",
            "--host-access",
            "disabled",
            "-p",
            "8080:80",
            "-p",
            "53/udp",
            "-P",
        ],
        *[
            "-v",
            "data:/data:ro",
            "--tmpfs",
            "/run:size=1m",
            "--mount",
            "type=volume,target=/m",
            "--read-only",
        ],
        *[
            "-l",
            "team=web",
            "--label",
            "b",
            "--cap-add",
            "NET_ADMIN",
            "--cap-drop",
            "all",
            "--privileged",
            "--pids-limit",
            "99",
        ],
        *[
            "--ulimit",
            "nofile=10:20",
            "--shm-size",
            "64m",
            "--init",
            "--stop-signal",
            "INT",
            "--stop-timeout",
            "1m",
            "--timeout",
            "2h",
        ],
        *[
            "--auto-stop",
            "10m",
            "--auto-delete",
            "7d",
            "--no-auto-resume",
            "--restart",
            "on-failure:3",
            "--health-interval",
            "5s",
        ],
        *[
            "--health-retries",
            "2",
            "--health-timeout",
            "1s",
            "--health-start-period",
            "0",
            "--security",
            "maximum",
        ],
        *[
            "--platform",
            "linux/amd64",
            "--dns",
            "1.1.1.1",
            "--dns-search",
            "example.com",
            "--add-host",
            "db:10.0.0.2",
        ],
        *["--net-tx-kbps", "100", "--net-rx-kbps", "200", "--cold-boot"],
        "--health-cmd",
        "curl -f localhost",
        "alpine:3.20",
        "sh",
    )
    assert spec.image == "alpine:3.20" and spec.cmd == ("sh",)
    assert spec.tty and spec.stdin_open and spec.user == "1000:100"
    assert spec.env == (("A", "1"), ("TERM", "xterm"))
    assert (spec.cpus, spec.memory_mib, spec.disk_size_gb) == (3, 1024, 20)
    assert (spec.working_dir, spec.hostname) == ("/srv", "web")
    assert spec.network.allow_net == ("example.com",) and spec.network.deny_net == ("evil.example",)
    assert not spec.network.host_access and spec.network.dns == ("1.1.1.1",)
    assert spec.network.dns_search == ("example.com",) and spec.network.add_host == (("db", "10.0.0.2"),)
    assert (spec.network.tx_kbps, spec.network.rx_kbps) == (100, 200)
    assert PortSpec(host_port=8080, box_port=80) in spec.ports and len(spec.ports) == 2 and spec.publish_all
    assert [volume.kind for volume in spec.volumes] == [
        VolumeKind.NAMED,
        VolumeKind.ANONYMOUS,
        VolumeKind.TMPFS,
    ]
    assert spec.read_only and spec.labels == {"team": "web", "b": ""}
    assert spec.cap_add == ("NET_ADMIN",) and spec.cap_drop == ("all",) and spec.privileged
    assert spec.pids_limit == 99 and spec.ulimits == (Ulimit(name="nofile", soft=10, hard=20),)
    assert spec.shm_size_bytes == 64 * 1024**2 and spec.init and spec.stop_signal == "INT"
    assert (spec.stop_timeout_s, spec.timeout_s) == (60, 7200)
    assert (spec.auto_stop_s, spec.auto_delete_s, spec.auto_resume) == (600, 604800, False)
    assert (spec.restart.kind, spec.restart.max_retries) == (RestartKind.ON_FAILURE, 3)
    assert spec.health == HealthCheck(
        command=("/bin/sh", "-c", "curl -f localhost"),
        interval_s=5,
        timeout_s=1,
        retries=2,
        start_period_s=0,
    )
    assert (spec.security.preset, spec.platform, spec.cold_boot) == ("maximum", "linux/amd64", True)


def test_spec_security_comes_from_the_environment_unless_given() -> None:
    environment = {"BOXLITE_SECURITY": "disable"}
    assert not spec_of("alpine", environment=environment).security.jailer_enabled
    assert spec_of("--security", "enable", "alpine", environment=environment).security.jailer_enabled


def test_spec_network_takes_dockers_words() -> None:
    assert spec_of("--net", "none", "alpine").network.mode is NetworkMode.DISABLED
    assert spec_of("--network=bridge", "alpine").network.mode is NetworkMode.ENABLED


def test_spec_rootfs_takes_the_place_of_the_image(tmp_path: Any) -> None:
    spec = spec_of("--rootfs", str(tmp_path), "ls", "/")
    assert (spec.image, spec.rootfs, spec.cmd) == (None, str(tmp_path), ("ls", "/"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "no image"),
        ("-m 64 alpine", "memory must be between"),
        ("--cpus 0 alpine", "cpus"),
        ("--network disabled --allow-net a.example alpine", "allow_net needs the network"),
        ("--network host alpine", "host's network"),
        ("-w relative alpine", "not an absolute path"),
        ("--hostname -x alpine", "host name"),
        ("-v a1:/x -v b1:/x/ alpine", "two volumes"),
        ("--health-interval 1s alpine", "need --health-cmd"),
        ("--health-cmd true --no-healthcheck alpine", "--no-healthcheck"),
        ("--stop-signal NOPE alpine", "signal"),
        ("--dns example.com alpine", "name server"),
        ("--security tight alpine", "security preset"),
        ("--rootfs /nope ls", "neither a directory nor a tar archive"),
        ("--host-access perhaps alpine", "host access is enabled or disabled"),
    ],
)
def test_spec_wrong_options_are_named(words: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        spec_of(*words.split())


@pytest.mark.parametrize("words", ["--restart always", "--auto-stop 5m", "--auto-delete 5m"])
def test_spec_removed_at_its_end_has_no_later_life(words: str) -> None:
    assert not spec_of(*words.split(), "alpine").auto_remove
    with pytest.raises(InvalidArgumentError, match="--rm cannot be combined"):
        spec_of(*words.split(), "alpine", auto_remove=True)


def test_exec_spec_carries_its_options() -> None:
    spec = exec_spec_of(*["-i", "-u", "root", "-e", "A=1", "-w", "/", "ls", "-d", "--all"])
    assert spec == ExecSpec(
        argv=("ls", "-d", "--all"), env=(("A", "1"),), working_dir="/", user="root", stdin=True
    )


def test_spec_exposed_ports_are_published_with_publish_all_only() -> None:
    assert spec_of("--expose", "80", "alpine").ports == ()
    ports = spec_of("-P", "--expose", "80", "--expose", "53/udp", "-p", "8080:80", "alpine").ports
    assert [(port.host_port, port.box_port, str(port.protocol)) for port in ports] == [
        (8080, 80, "tcp"),
        (ports[1].host_port, 53, "udp"),
    ]
    with pytest.raises(InvalidArgumentError, match="has a port of the host"):
        spec_of("--expose", "8080:80", "alpine")
