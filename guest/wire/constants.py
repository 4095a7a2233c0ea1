"""What both sides of the portal must agree on besides the messages.

Preamble of a connection (before HTTP/2): the client sends HELLO_MAGIC, then NONCE_BYTES random bytes. The agent answers
REPLY_MAGIC and the same bytes. The client drops whatever comes before its own answer: it may be left over from an earlier
client of the port, which QEMU serves one at a time. A magic taken for a frame is one that cannot be, however much of it has
come (HTTP/2: settings of a stream; a lane: stream 255): an agent that has not seen the last client go learns it at once.
A client that gets no answer, or knows that the last one was killed, sends FLUSH_BYTES zero bytes first (longer than any HTTP/2
frame, so that an agent in the middle of a dead client's frame gets out of it).

Events port, one JSON object a line of at most MAX_EVENT_BYTES. Agent → shim:
    {"event": "ready"}                                        the agent listens
    {"event": "started"}                                      the main command runs
    {"event": "exit", "exit_code": N, "signal": N, "oom_killed": bool, "error": ""}
    {"event": "halted"}                                       disk synced and unmounted; the machine may be killed
    {"event": "activity"}                                     at most once a second: while a command of exec runs, at
                                                              file transfers, at input to any command
    {"event": "names", "number": N, "names": ["etc/", …], "end": bool}    what a glance found, a directory with a slash
Shim → agent:
    {"op": "stop", "signal": N, "grace_ms": N}                end the main command: the signal, SIGKILL after the grace
    {"op": "signal", "signal": N}                             to the main command
    {"op": "warm"}                                            no client is expected yet: get ready for one
    {"op": "rehearse"}                                        go the way of a command once, if none has come yet
    {"op": "glance", "number": N, "directory": "/…", "beginning": "…"}    tell at most GLANCE_NAMES names there
Lanes: ports that carry bulk bytes past HTTP/2, for a call that names one by its ticket. The client sends LANE_MAGIC,
NONCE_BYTES random bytes and the ticket; the agent answers as on a portal port. Then frames go one way: LANE_HEADER
(stream 1 or 2, length up to LANE_FRAME_BYTES) and data; length 0 ends that stream. A call that could not get a lane
carries its bytes in messages.
Output port: agent → shim, the main command's output, as frames: OUTPUT_HEADER (stream 1 or 2, length) and data.
"""

import struct

PROTOCOL_VERSION = 2
AGENT_VERSION = "0.1.0"

PORTAL_PORTS = 16
PORTAL_PORT_NAME = "boxlite.portal.{}"
LANES = 4
LANE_PORT_NAME = "boxlite.lane.{}"
EVENTS_PORT_NAME = "boxlite.events"
OUTPUT_PORT_NAME = "boxlite.output"

ROOT_DISK_SERIAL = "boxlite-root"
BOX_DISK_SERIAL = "boxlite-box"
SHARE_TAG = "boxlite"

BOX_ADDRESS = "192.168.127.2"
BOX_PREFIX_LENGTH = 24
HOST_ADDRESS = "192.168.127.254"
BOX_ADDRESS6 = "fd00:b0c5:11fe::2"
BOX_PREFIX_LENGTH6 = 64
HOST_ADDRESS6 = "fd00:b0c5:11fe::fe"
"""The gateway's address over IPv6, of a private range of our own (RFC 4193)."""
LINK_ADDRESS6 = "fe80::2"
"""Of a box that publishes a port over IPv6 (RFC 4291, section 2.5.6): passt gives callers from the host's own loopback an address of
this kind, and leads them to one."""
DNS_ADDRESS = "192.168.127.1"
DNS_ADDRESS6 = "fd00:b0c5:11fe::1"
"""Where a box asks for names; over IPv6 if the host's name servers are reached so alone."""
BOX_MTU = 65520
"""What the interface of a template has already: a box with the same only changes its hardware address."""

NONCE_BYTES = 16
HELLO_MAGIC = b"\xff\xff\xff\x04BOXLITE-HELLO\x00"
REPLY_MAGIC = b"\x00BOXLITE-REPLY-1\x00"
LANE_MAGIC = b"\xff\xff\xff\xff\xffBOXLITE-LANE\x00"
TICKET_BYTES = 16
LANE_HEADER = struct.Struct(">BI")
LANE_FRAME_BYTES = 1024 * 1024
LANE_WORTH_BYTES = 1024 * 1024
"""From how many bytes on a lane pays for the moment it takes to open."""

MAX_FRAME_BYTES = 256 * 1024
FLUSH_BYTES = MAX_FRAME_BYTES + 64 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024
OUTPUT_CHUNK_BYTES = 256 * 1024
BACKLOG_BYTES = 256 * 1024
MAX_EVENT_BYTES = 4096
GLANCE_NAMES = 500
"""More names than that help nobody who completes one."""
OUTPUT_HEADER = struct.Struct(">BI")
OUTPUT_FRAME_BYTES = 64 * 1024

MAIN_EXECUTION = "main"
REHEARSAL = "rehearsal"
"""The id of what only the agent itself runs, to have gone the way of a command once."""
ERROR_TRAILER = "boxlite-error-bin"
RUNS_METADATA = "boxlite-runs"
DRAIN_S = 2.0
