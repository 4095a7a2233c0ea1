import socket

import pytest

from engine.errors import PortInUseError
from engine.model import PortSpec, Protocol
from engine.net.passt import build_passt_argv
from engine.net.plan import mac_of, plan_ports, tcp_server


def test_mac_of_a_box_is_stable_local_and_unicast() -> None:
    mac = mac_of("abcdefghijkl")
    assert mac == mac_of("abcdefghijkl") != mac_of("abcdefghijkm")
    first = int(mac.split(":")[0], 16)
    assert first & 0b10 and not first & 0b1


def test_plan_ports_without_host_port_picks_a_free_one() -> None:
    (port,) = plan_ports([PortSpec(box_port=80, host_ip="127.0.0.1")])
    assert port.host_port and port.box_port == 80


@pytest.mark.parametrize("protocol", list(Protocol))
def test_plan_ports_when_taken_names_the_address(protocol: Protocol) -> None:
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if protocol is Protocol.TCP:
            holder.listen()
        number = holder.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"127.0.0.1:{number}/{protocol}"):
            plan_ports([PortSpec(box_port=80, host_port=number, host_ip="127.0.0.1", protocol=protocol)])


def test_passt_argv_publishes_just_the_asked_ports() -> None:
    ports = [PortSpec(box_port=80, host_port=8080, host_ip="127.0.0.1")]
    argv = build_passt_argv("passt", 9, ports)
    words = " ".join(argv)
    assert "--fd 9" in words and "--tcp-ports 127.0.0.1/8080:80" in words and "--udp-ports none" in words
    assert "--dns-forward 192.168.127.1" in words and "--dns " not in words and "--no-map-gw" not in words


def test_passt_argv_without_host_access_does_not_map_the_gateway() -> None:
    assert "--no-map-gw" in build_passt_argv("passt", 9, [], host_access=False)


@pytest.mark.parametrize(
    ("server", "reached"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "192.168.127.254"),
        ("::1", "fd00:b0c5:11fe::fe"),
        ("127.0.0.53", None),
    ],
)
def test_name_server_is_reached_over_tcp_where_the_network_process_leads(
    server: str, reached: str | None
) -> None:
    assert tcp_server(server) == reached
