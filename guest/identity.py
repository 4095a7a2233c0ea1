"""What makes a restored machine one of its own: clock, entropy, names and network.

A machine restored from a template shares its whole past with every other one; until this has run nothing random or
unique may be handed out.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guest.netlink import Rtnetlink
from guest.wire.constants import BOX_ADDRESS, BOX_MTU, BOX_PREFIX_LENGTH, HOST_ADDRESS

_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207
_VIRTIO_NET_DRIVER = Path("/sys/bus/virtio/drivers/virtio_net")
_NET_DIR = Path("/sys/class/net")
_GATEWAY_MAC = "52:54:00:b0:c5:fe"
"""Any will do: the network process at the other end takes every frame."""
_PREPARED_ADDRESS = f"{BOX_ADDRESS}/{BOX_PREFIX_LENGTH}"

_LOOPBACK_HOSTS = (
    ("127.0.0.1", ("localhost",)),
    ("::1", ("localhost", "ip6-localhost", "ip6-loopback")),
    ("fe00::", ("ip6-localnet",)),
    ("ff00::", ("ip6-mcastprefix",)),
    ("ff02::1", ("ip6-allnodes",)),
    ("ff02::2", ("ip6-allrouters",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The one interface. Addresses carry their prefix; empty strings: none."""

    mac: str = ""
    address: str = ""
    gateway: str = ""
    address6: str = ""
    gateway6: str = ""
    mtu: int = 0
    announce: bool = False


def set_clock(realtime_ns: int) -> None:
    time.clock_settime_ns(time.CLOCK_REALTIME, realtime_ns)


def renew_entropy(seed: bytes) -> None:
    """Mix bytes from the host into the kernel's generator, make it use them now, and reseed this process's own."""
    fd = os.open("/dev/urandom", os.O_WRONLY)
    try:
        pool = struct.pack("ii", len(seed) * 8, len(seed)) + seed
        fcntl.ioctl(fd, _RNDADDENTROPY, pool)
        fcntl.ioctl(fd, _RNDRESEEDCRNG)
    finally:
        os.close(fd)
    # An integer: seeding with bytes hashes them first, with code that nothing else here needs.
    random.seed(int.from_bytes(os.urandom(32)))


def set_hostname(name: str) -> None:
    socket.sethostname(name)


def prepare_network() -> None:
    """Bring the links up, with the address and route that every box has. Done before the template is saved: it is what
    takes longest.

    IPv6 stays off until there is an address: it would send packets of its own, and a template's interface leads nowhere.
    """
    with Rtnetlink() as link:
        link.set_link("lo")
        name = _find_interface()
        if name is not None:
            _switch_ipv6(name, on=False)
            link.set_link(name, mtu=BOX_MTU)
            link.add_address(name, _PREPARED_ADDRESS)
            link.add_default_route(name, HOST_ADDRESS)


def set_up_network(network: Network | None) -> None:
    """Give the interface its addresses; without a network take the interface away. Raises OSError."""
    name = _find_interface()
    if network is None:
        if name is not None:
            _remove_interface(name)
        return
    if name is None:
        raise OSError("the machine has no network interface")
    with Rtnetlink() as link:
        if network.announce:
            Path(f"/proc/sys/net/ipv4/conf/{name}/arp_notify").write_text("1")
        link.set_link(name, mac=network.mac, mtu=0 if network.mtu == BOX_MTU else network.mtu)
        if (network.address, network.gateway) != (_PREPARED_ADDRESS, HOST_ADDRESS):
            link.delete_address(name, _PREPARED_ADDRESS)
            _add(link, name, network.address, network.gateway)
        if network.address6:
            _add_ipv6(link, name, network.address6.partition("/")[0], network.gateway6)


def _add(link: Rtnetlink, name: str, address: str, gateway: str) -> None:
    if address:
        link.add_address(name, address)
    if gateway:
        link.add_default_route(name, gateway)


def _add_ipv6(link: Rtnetlink, name: str, address: str, gateway: str) -> None:
    """The address sits on the loopback: on the interface it would be announced to others, and nobody is there who would
    have to be told. A box that does not use its network sends nothing."""
    _switch_ipv6(name, on=True)
    link.add_address("lo", f"{address}/128")
    link.add_default_route6(name, gateway, _GATEWAY_MAC, address)


def _switch_ipv6(name: str, *, on: bool) -> None:
    """On: with the addresses we give it only, none from router advertisements."""
    knobs = Path("/proc/sys/net/ipv6/conf") / name
    if knobs.is_dir():
        (knobs / "accept_ra").write_text("0")
        (knobs / "addr_gen_mode").write_text("1")
        (knobs / "disable_ipv6").write_text("0" if on else "1")


def _find_interface() -> str | None:
    return next((entry.name for entry in sorted(_NET_DIR.iterdir()) if (entry / "device").exists()), None)


def _remove_interface(name: str) -> None:
    """Part the device from its driver: the interface is then not there at all."""
    device = (_NET_DIR / name / "device").resolve().name
    (_VIRTIO_NET_DRIVER / "unbind").write_text(device)


def hosts_file(entries: Sequence[tuple[str, Sequence[str]]]) -> str:
    """/etc/hosts: the loopback's names, then `entries` (address, names)."""
    lines = (*_LOOPBACK_HOSTS, *entries)
    return "".join(f"{address}\t{' '.join(names)}\n" for address, names in lines)


def resolv_file(servers: Sequence[str], search: Sequence[str]) -> str:
    """/etc/resolv.conf (resolv.conf(5))."""
    lines = [f"search {' '.join(search)}\n"] if search else []
    return "".join([*lines, *(f"nameserver {server}\n" for server in servers)])
