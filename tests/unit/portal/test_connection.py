"""Greeting a port: the nonce finds its way through whatever an earlier client left behind."""

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RpcTransportError
from engine.portal import greeting
from engine.portal.greeting import greet
from guest.wire.constants import FLUSH_BYTES, HELLO_MAGIC, NONCE_BYTES, REPLY_MAGIC


def answer_after(agent: socket.socket, stale: bytes, after: bytes) -> None:
    """An agent: reads a hello, sends stale bytes of an earlier client, the answer, and the first bytes of HTTP/2."""
    received = b""
    while HELLO_MAGIC not in received or len(received.partition(HELLO_MAGIC)[2]) < NONCE_BYTES:
        received += agent.recv(65536)
    nonce = received.partition(HELLO_MAGIC)[2][:NONCE_BYTES]
    agent.sendall(stale + REPLY_MAGIC + nonce + after)


@given(
    stale=st.one_of(
        st.binary(max_size=200),
        st.just(REPLY_MAGIC),
        st.just(REPLY_MAGIC + bytes(16)),
        st.just(REPLY_MAGIC[:9]),
    )
)
def test_greet_drops_what_an_earlier_client_left_and_not_a_byte_more(stale: bytes) -> None:
    ours, agent = socket.socketpair()
    with ours, agent:
        thread = threading.Thread(target=answer_after, args=(agent, stale, b"SETTINGS"))
        thread.start()
        greet(ours)
        thread.join()
        assert ours.recv(100) == b"SETTINGS"


def test_greet_of_an_agent_in_a_dead_clients_frame_flushes_and_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greeting, "HELLO_PATIENCE_S", (0.1, 2.0))
    ours, agent = socket.socketpair()
    with ours, agent:

        def deaf_then_fine() -> None:
            swallowed = len(HELLO_MAGIC) + NONCE_BYTES + FLUSH_BYTES
            while swallowed:
                swallowed -= len(agent.recv(min(swallowed, 65536)))
            answer_after(agent, b"", b"!")

        thread = threading.Thread(target=deaf_then_fine)
        thread.start()
        greet(ours)
        thread.join()
        assert ours.recv(1) == b"!"


def test_greet_of_an_agent_that_answers_every_hello_late_leaves_none_of_the_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greeting, "HELLO_PATIENCE_S", (0.1, 2.0))
    ours, agent = socket.socketpair()
    with ours, agent:

        def slow() -> None:
            received, answered = b"", 0
            while answered < 2:
                received += agent.recv(65536)
                _, found, rest = received.partition(HELLO_MAGIC)
                if found and len(rest) >= NONCE_BYTES:
                    time.sleep(0.3 if answered == 0 else 0)
                    agent.sendall(REPLY_MAGIC + rest[:NONCE_BYTES])
                    received, answered = rest[NONCE_BYTES:], answered + 1
            agent.sendall(b"SETTINGS")

        thread = threading.Thread(target=slow)
        thread.start()
        greet(ours)
        thread.join()
        assert ours.recv(100) == b"SETTINGS"


def test_greet_of_a_machine_that_goes_away_is_a_transport_error() -> None:
    ours, agent = socket.socketpair()
    with ours:
        agent.close()
        with pytest.raises(RpcTransportError, match=r"reached|closed"):
            greet(ours)
