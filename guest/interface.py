"""The machine's one network interface.

What every box has alike is set up before the template is saved, and stays so; a restored machine only takes a hardware
address of its own. In an emulated processor each further request to the kernel would be felt at every start.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from guest.cgroups import CGROUP_ROOT
from guest.handshakes import HandshakeCompleter
from guest.nameserver import NameServer
from guest.netlink import Rtnetlink
from guest.resets import ResetAmender
from guest.wire.constants import (
    BOX_ADDRESS,
    BOX_ADDRESS6,
    BOX_MTU,
    BOX_PREFIX_LENGTH,
    BOX_PREFIX_LENGTH6,
    HOST_ADDRESS,
    HOST_ADDRESS6,
)

_VIRTIO_NET_DRIVER = Path("/sys/bus/virtio/drivers/virtio_net")
_NET_DIR = Path("/sys/class/net")
_SIOCSIFHWADDR = 0x8924
_ARPHRD_ETHER = 1
_IFREQ_HARDWARE = struct.Struct("16sH6s16x")
"""struct ifreq with a hardware address, netdevice(7)."""
_RECEIVE_LIMITS = Path("/proc/sys/net/ipv4/tcp_rmem")
_RECEIVE_BUFFERS = "4096 131072 262144"
"""Smallest, first and largest buffer of a TCP connection (tcp(7), tcp_rmem): the largest is that small because the network
process sends all that the window lets it, at once, whether there is room on the way or not. It is a host's thread away, so no
long distance is slowed by that; for those the host's own windows count."""
_GATEWAY_MAC = "52:54:00:b0:c5:fe"
"""Any will do: the network process at the other end takes every frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What the interface shall be. Addresses carry their prefix; empty strings: none."""

    mac: str = ""
    address: str = ""
    gateway: str = ""
    address6: str = ""
    gateway6: str = ""
    mtu: int = 0
    announce: bool = False
    link_address6: str = ""
    name_server: str = ""


_PREPARED = Network(
    address=f"{BOX_ADDRESS}/{BOX_PREFIX_LENGTH}",
    gateway=HOST_ADDRESS,
    address6=f"{BOX_ADDRESS6}/{BOX_PREFIX_LENGTH6}",
    gateway6=HOST_ADDRESS6,
    mtu=BOX_MTU,
)


class Interface:
    """Set up once by `prepare`, then made a box's own by `become`. Both raise OSError."""

    def __init__(self) -> None:
        self._name = _find_interface()
        self._link = Rtnetlink()
        self._amenders: list[ResetAmender | HandshakeCompleter] = []
        self._name_server: NameServer | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def prepare(self) -> None:
        """Bring the links up, with the addresses and routes that nearly every box has. Nothing is sent for it: addresses
        are not looked for twice on the link, routers not asked."""
        self._link.set_link("lo")
        if self._name is not None:
            _switch_ipv6(
                self._name, on=True
            )  # first: a link that comes up with the kernel's own habits asks for routers
            _RECEIVE_LIMITS.write_text(_RECEIVE_BUFFERS)
            self._link.set_link(self._name, mtu=BOX_MTU)
            self._amenders = [ResetAmender(self._name), HandshakeCompleter(self._name)]
            self._name_server = NameServer(CGROUP_ROOT)
            self._add(self._name, _PREPARED)
            self._add6(self._name, _PREPARED)

    def become(self, network: Network | None) -> None:
        """Give the interface its addresses; without a network take the interface away."""
        name = self._name
        if network is None:
            if name is not None:
                _remove_interface(name)
            return
        if name is None:
            raise OSError("the machine has no network interface")
        if network.announce:
            Path(f"/proc/sys/net/ipv4/conf/{name}/arp_notify").write_text("1")
        if network.link_address6 and _has_ipv6(name):
            self._link.add_address(name, network.link_address6)
            (_knobs(name) / "ndisc_notify").write_text("1")
        if network.name_server and self._name_server is not None:
            self._name_server.lead_to(network.name_server)
        if network.mac:
            self._set_mac(name, network.mac)
        if network.mtu not in (0, BOX_MTU):
            self._link.set_link(name, mtu=network.mtu)
        if (network.address, network.gateway) != (_PREPARED.address, _PREPARED.gateway):
            self._link.delete_address(name, _PREPARED.address)
            self._add(name, network)
        if (network.address6, network.gateway6) == (_PREPARED.address6, _PREPARED.gateway6):
            self._link.add_neighbour6(name, network.gateway6, _GATEWAY_MAC)  # it went with the old address
        else:
            self._remove6(name)
            self._add6(name, network)

    def _set_mac(self, name: str, mac: str) -> None:
        """An ioctl is a third of the work that the same over netlink is."""
        address = bytes.fromhex(mac.replace(":", ""))
        fcntl.ioctl(self._socket, _SIOCSIFHWADDR, _IFREQ_HARDWARE.pack(name.encode(), _ARPHRD_ETHER, address))

    def _add(self, name: str, network: Network) -> None:
        if network.address:
            self._link.add_address(name, network.address)
        if network.gateway:
            self._link.add_default_route(name, network.gateway)

    def _add6(self, name: str, network: Network) -> None:
        """The address sits on the loopback: on the interface it would be announced to others, and nobody is there who
        would have to be told. A box that does not use its network sends nothing."""
        if not network.address6:
            return
        address = network.address6.partition("/")[0]
        _switch_ipv6(name, on=True)
        self._link.add_address("lo", f"{address}/128")
        self._link.add_neighbour6(name, network.gateway6, _GATEWAY_MAC)
        self._link.add_default_route6(name, network.gateway6, address)

    def _remove6(self, name: str) -> None:
        _switch_ipv6(name, on=False)
        if _has_ipv6(name):
            self._link.delete_address("lo", f"{_PREPARED.address6.partition('/')[0]}/128")


def _switch_ipv6(name: str, *, on: bool) -> None:
    """On: with the addresses we give it only, none from router advertisements. Off: its routes go too."""
    if _has_ipv6(name):
        knobs = _knobs(name)
        (knobs / "accept_ra").write_text("0")
        (knobs / "addr_gen_mode").write_text("1")
        (knobs / "disable_ipv6").write_text("0" if on else "1")


def _has_ipv6(name: str) -> bool:
    return _knobs(name).is_dir()


def _knobs(name: str) -> Path:
    return Path("/proc/sys/net/ipv6/conf") / name


def _find_interface() -> str | None:
    return next((entry.name for entry in sorted(_NET_DIR.iterdir()) if (entry / "device").exists()), None)


def _remove_interface(name: str) -> None:
    """Part the device from its driver: the interface is then not there at all."""
    device = (_NET_DIR / name / "device").resolve().name
    (_VIRTIO_NET_DRIVER / "unbind").write_text(device)
