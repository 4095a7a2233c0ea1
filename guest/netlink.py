"""The machine's network interface, set up over rtnetlink(7): one socket, no program started."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")

_NLMSG_ERROR = 2
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_DELADDR, _RTM_NEWROUTE, _RTM_NEWNEIGH = 16, 20, 21, 24, 28
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400

_IFF_UP = 0x1
_IFLA_ADDRESS, _IFLA_MTU = 1, 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_NODAD = 0x02
_RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 4, 5, 7
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT, _ONLINK = 1, 2, 0x80, 4
_TABLE_MAIN, _PROTOCOL_STATIC = 254, 4
_SCOPE_UNIVERSE, _SCOPE_HOST, _TYPE_UNICAST, _TYPE_LOCAL = 0, 254, 1, 2


class Rtnetlink:
    """A conversation with the kernel; every call waits for its acknowledgement and raises OSError naming itself."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0
        self._indexes: dict[str, int] = {}

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def set_link(self, name: str, *, mac: str = "", mtu: int = 0, up: bool = True) -> None:
        index = self._index(name)
        attributes = b""
        if mac:
            attributes += _attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))
        if mtu:
            attributes += _attribute(_IFLA_MTU, struct.pack("=I", mtu))
        flags = _IFF_UP if up else 0
        body = _LINK.pack(socket.AF_UNSPEC, 0, index, flags, _IFF_UP) + attributes
        self._request(_RTM_NEWLINK, 0, body, f"setting up {name}")

    def add_address(self, name: str, address: str) -> None:
        """`address` with its prefix, e.g. 192.168.127.2/24."""
        body = _address_body(self._index(name), address)
        self._request(_RTM_NEWADDR, _CREATE | _REPLACE, body, f"adding the address {address} to {name}")

    def delete_address(self, name: str, address: str) -> None:
        """The routes over it go too."""
        body = _address_body(self._index(name), address)
        self._request(_RTM_DELADDR, 0, body, f"taking the address {address} from {name}")

    def add_default_route(self, name: str, gateway: str) -> None:
        address = ipaddress.ip_address(gateway)
        body = _ROUTE.pack(
            _family(address), 0, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_UNIVERSE, _TYPE_UNICAST, 0
        )
        body += _attribute(_RTA_GATEWAY, address.packed)
        body += _attribute(_RTA_OIF, struct.pack("=I", self._index(name)))
        self._request(_RTM_NEWROUTE, _CREATE | _REPLACE, body, f"adding the route over {gateway}")

    def add_neighbour6(self, name: str, address: str, mac: str) -> None:
        """Tell where an IPv6 neighbour is, so that it is not looked for."""
        index, packed = self._index(name), socket.inet_pton(socket.AF_INET6, address)
        body = _NEIGHBOUR.pack(socket.AF_INET6, index, _NUD_PERMANENT, 0, _TYPE_UNICAST)
        body += _attribute(_NDA_DST, packed)
        body += _attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
        self._request(_RTM_NEWNEIGH, _CREATE | _REPLACE, body, f"adding the neighbour {address}")

    def add_default_route6(self, name: str, gateway: str, source: str) -> None:
        index, address = self._index(name), ipaddress.IPv6Address(gateway)
        body = _ROUTE.pack(
            socket.AF_INET6, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_UNIVERSE, _TYPE_UNICAST, _ONLINK
        )
        body += _attribute(_RTA_GATEWAY, address.packed)
        body += _attribute(_RTA_PREFSRC, ipaddress.IPv6Address(source).packed)
        body += _attribute(_RTA_OIF, struct.pack("=I", index))
        self._request(_RTM_NEWROUTE, _CREATE | _REPLACE, body, f"adding the route over {gateway}")

    def add_local_default(self, name: str, source: str) -> None:
        """Deliver to this machine itself whatever has no other route, coming from `source`."""
        address = ipaddress.ip_address(source)
        body = _ROUTE.pack(
            _family(address), 0, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL, 0
        )
        body += _attribute(_RTA_PREFSRC, address.packed)
        body += _attribute(_RTA_OIF, struct.pack("=I", self._index(name)))
        self._request(_RTM_NEWROUTE, _CREATE | _REPLACE, body, f"adding a local route from {source}")

    def _index(self, name: str) -> int:
        """Asked for once: it takes a socket of its own each time."""
        if name not in self._indexes:
            self._indexes[name] = socket.if_nametoindex(name)
        return self._indexes[name]

    def _request(self, kind: int, flags: int, body: bytes, doing: str) -> None:
        self._sequence += 1
        length = _HEADER.size + len(body)
        header = _HEADER.pack(length, kind, _REQUEST | _ACK | flags, self._sequence, 0)
        self._socket.send(header + body)
        reply = self._socket.recv(65536)
        _, reply_kind, _, _, _ = _HEADER.unpack_from(reply)
        number = -struct.unpack_from("=i", reply, _HEADER.size)[0] if reply_kind == _NLMSG_ERROR else 0
        if number:
            raise OSError(number, f"{doing}: {os.strerror(number)}")


def _address_body(index: int, address: str) -> bytes:
    interface = ipaddress.ip_interface(address)
    packed = interface.ip.packed
    body = _ADDRESS.pack(_family(interface), interface.network.prefixlen, _IFA_F_NODAD, 0, index)
    return body + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)


def _family(
    address: ipaddress.IPv4Address
    | ipaddress.IPv6Address
    | ipaddress.IPv4Interface
    | ipaddress.IPv6Interface,
) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)
