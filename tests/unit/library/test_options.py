"""What the library's options become, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import boxlite
from boxlite.conversion import box_spec
from boxlite.options import Port, Volume
from engine.model import NetworkMode, VolumeKind


def test_public_names_all_exist_and_are_sorted() -> None:
    assert boxlite.__all__ == sorted(boxlite.__all__)
    assert all(getattr(boxlite, name) is not None for name in boxlite.__all__)


def test_import_loads_nothing_of_the_engine() -> None:
    code = (
        "import sys, boxlite; print([n for n in sys.modules if n.startswith(('engine', 'asyncio', 'grpc'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_box_options_without_anything_is_a_box_that_stays_up() -> None:
    spec = box_spec(boxlite.BoxOptions())
    assert (spec.image, spec.auto_remove, spec.detach, spec.is_job, spec.init) == (
        "alpine:latest", True, False, False, True,
    )  # fmt: skip
    assert not box_spec(boxlite.BoxOptions(cmd=["true"])).init


def test_env_as_dict_and_as_pairs_is_the_same() -> None:
    as_dict, as_pairs = (box_spec(boxlite.BoxOptions(env=env)).env for env in ({"A": "1"}, [("A", "1")]))
    assert as_dict == as_pairs == (("A", "1"),)


def test_volume_in_every_spelling_is_the_same(tmp_path: Path) -> None:
    host = str(tmp_path)
    spellings: list[Volume] = [
        (host, "/in", "ro"),
        (host, "/in", True),
        {"host_path": host, "guest_path": "/in", "read_only": True},
        boxlite.VolumeMount(host_path=tmp_path, guest_path="/in", read_only=True),
    ]
    (volume,) = set(box_spec(boxlite.BoxOptions(volumes=spellings)).volumes)
    assert (volume.kind, volume.source, volume.target, volume.read_only) == (
        VolumeKind.BIND,
        host,
        "/in",
        True,
    )


def test_port_in_every_spelling_is_the_same() -> None:
    spellings: list[Port] = [
        (8080, 80),
        (8080, 80, "tcp"),
        (8080, 80, "TCP", "0.0.0.0"),
        {"guest_port": 80, "host_port": 8080},
        boxlite.PortMapping(guest_port=80, host_port=8080),
    ]
    (port,) = set(box_spec(boxlite.BoxOptions(ports=spellings)).ports)
    assert str(port) == "0.0.0.0:8080->80/tcp"


def test_security_preset_can_be_changed_field_by_field() -> None:
    security = boxlite.SecurityOptions.maximum()
    security.max_open_files = 2048
    security.max_cpu_time = 60
    for options in (
        boxlite.BoxOptions(security=security),
        boxlite.BoxOptions(advanced=boxlite.AdvancedBoxOptions(security=security)),
    ):
        made = box_spec(options).security
        assert (made.preset, made.max_open_files, made.max_processes, made.max_cpu_time_s) == (
            "maximum",
            2048,
            100,
            60,
        )


def test_security_without_network_disables_it_and_refuses_what_needs_it() -> None:
    security = boxlite.SecurityOptions.maximum()
    security.network_enabled = False
    assert box_spec(boxlite.BoxOptions(security=security)).network.mode is NetworkMode.DISABLED
    for options in (
        boxlite.BoxOptions(security=security, network=boxlite.NetworkSpec()),
        boxlite.BoxOptions(security=security, ports=[80]),
    ):
        with pytest.raises(boxlite.InvalidArgumentError, match="network_enabled"):
            box_spec(options)


def test_network_rules_in_both_spellings_are_the_same() -> None:
    rules = ["api.example.com", "10.0.0.0/8:443"]
    spellings = (
        boxlite.NetworkSpec(allow_net=rules, tx_kbps=100),
        boxlite.NetworkSpec(outbound=boxlite.OutboundNetworkSpec(allow_net=rules), tx_kbps=100),
    )
    (network,) = {box_spec(boxlite.BoxOptions(network=one)).network for one in spellings}
    assert (network.mode, network.allow_net, network.tx_kbps) == (NetworkMode.ENABLED, tuple(rules), 100)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            boxlite.BoxOptions(
                security=boxlite.SecurityOptions(),
                advanced=boxlite.AdvancedBoxOptions(security=boxlite.SecurityOptions()),
            ),
            "twice",
        ),
        (boxlite.BoxOptions(cmd="echo hi"), "list of words"),
        (boxlite.BoxOptions(image="a", rootfs_path="/b"), "only one"),
        (boxlite.BoxOptions(volumes=[("/nonesuch", "/in")]), "/nonesuch"),
        (boxlite.BoxOptions(network=boxlite.NetworkSpec(mode="on")), "'on'"),
        (boxlite.BoxOptions(memory_mib=64), "memory"),
        (boxlite.BoxOptions(network=boxlite.NetworkSpec(allow_net="example.com")), "allow_net"),
        (
            boxlite.BoxOptions(
                network=boxlite.NetworkSpec(mode="enabled", outbound=boxlite.OutboundNetworkSpec())
            ),
            "not both",
        ),
        (
            boxlite.BoxOptions(
                ports=[80],
                network=boxlite.NetworkSpec(inbound=boxlite.InboundNetworkSpec(mode="disabled")),
            ),
            "inbound",
        ),
    ],
)
def test_wrong_options_are_refused_by_name(options: boxlite.BoxOptions, named: str) -> None:
    with pytest.raises(boxlite.InvalidArgumentError, match=named):
        box_spec(options)
