"""Placeholders and values in headers and targets, whatever surrounds them."""

import base64
import contextlib
from urllib.parse import quote, unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from engine.model import Secret, SecretSpec
from engine.net.interception.goaway import GoAwayFilter, goaway_frame
from engine.net.interception.hello import NotTlsError, parse_hello
from engine.net.interception.substitution import Substitution

TOKEN = b"<BOXLITE_SECRET:KEY>"
VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x17F, exclude_characters="\x7f"), min_size=8
).filter(lambda value: value.strip() == value and not any(0x7F <= ord(letter) < 0xA1 for letter in value))


def _of(value: str, placeholder: str = "") -> Substitution:
    secret = Secret(spec=SecretSpec(name="KEY", hosts=("a.test",), placeholder=placeholder), value=value)
    return Substitution((secret,), (secret,))


@given(VALUES, st.binary(max_size=30), st.binary(max_size=30))
def test_header_value_is_replaced_and_put_back(value: str, before: bytes, after: bytes) -> None:
    substitution = _of(value)
    ((_, sent),) = substitution.headers([(b"X-Key", before + TOKEN + after)])
    assert value.encode() in sent
    assert TOKEN not in sent or TOKEN in before + after
    assert value.encode() not in substitution.scrub(sent)


@given(VALUES)
def test_query_is_replaced_with_what_decodes_to_the_value(value: str) -> None:
    sent = _of(value).target(b"/p?k=" + quote(TOKEN.decode(), safe="").encode())
    assert unquote_to_bytes(sent.partition(b"k=")[2]) == value.encode()
    assert set(sent).isdisjoint(b" \r\n#<>")


@given(VALUES, st.text(max_size=20).filter(lambda user: ":" not in user))
def test_basic_credentials_are_replaced_inside_base64(value: str, user: str) -> None:
    substitution = _of(value)
    credentials = base64.b64encode(user.encode() + b":" + TOKEN)
    ((_, sent),) = substitution.headers([(b"authorization", b"Basic " + credentials)])
    assert base64.b64decode(sent.split()[1]) == f"{user}:{value}".encode()
    assert substitution.scrub(sent) == b"Basic " + credentials


@given(st.binary(max_size=200))
def test_target_without_placeholder_is_left_alone(target: bytes) -> None:
    assert _of("some-value").target(target) == target


def test_placeholder_in_path_host_and_framing_headers_is_left_alone() -> None:
    substitution = _of("some-value")
    for name in (b"Host", b":path", b":authority", b"Content-Length", b"Connection"):
        assert substitution.headers([(name, TOKEN)]) == [(name, TOKEN)]
    assert substitution.target(b"/" + TOKEN + b"?x=1") == b"/" + TOKEN + b"?x=1"


def test_longer_of_two_placeholders_wins() -> None:
    specs = [SecretSpec(name=name, hosts=("a.test",), placeholder=text) for name, text in (("A", "token-one"), ("B", "token-one-more"))]  # fmt: skip
    secrets = [Secret(spec=spec, value=f"value-{spec.name}") for spec in specs]
    substitution = Substitution(secrets, secrets)
    assert substitution.headers([(b"x", b"token-one-more token-one")]) == [(b"x", b"value-B value-A")]
    assert substitution.used == {"A", "B"}


def test_value_in_length_of_answer_is_left_alone() -> None:
    substitution = _of("1024")
    assert substitution.scrubbed([(b"Content-Length", b"1024"), (b"X", b"1024")]) == [
        (b"Content-Length", b"1024"), (b"X", TOKEN),
    ]  # fmt: skip


@given(st.binary(max_size=400))
def test_hello_of_anything_is_none_or_refused(data: bytes) -> None:
    with contextlib.suppress(NotTlsError):
        parse_hello(data)


@given(st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=60)), max_size=12), st.integers(1, 40))
def test_goaway_is_taken_out_of_any_stream_of_frames(frames: list[tuple[int, bytes]], step: int) -> None:
    whole = [len(body).to_bytes(3, "big") + bytes((kind, 0)) + bytes(4) + body for kind, body in frames]
    data = b"".join(whole)
    found = GoAwayFilter(preface=False)
    kept = b"".join(found.feed(data[at : at + step]) for at in range(0, len(data), step))
    assert kept == b"".join(frame for frame in whole if frame[3] != 7)
    assert found.said_goodbye == any(kind == 7 for kind, _ in frames)


def test_goaway_frame_has_the_form_of_one() -> None:
    assert goaway_frame(5) == bytes.fromhex("000008 07 00 00000000 00000005 00000000")
