"""The words of --secret."""

import io
import sys
from types import SimpleNamespace

import pytest

from boxlite_cli.secrets import given_values, parse_secret
from engine.errors import InvalidArgumentError
from engine.model import SecretSource


@pytest.mark.parametrize(
    ("text", "source", "origin", "value"),
    [
        ("KEY,host=a.test", SecretSource.ENV, "KEY", None),
        ("KEY=abcd,host=a.test", SecretSource.GIVEN, "", "abcd"),
        ("KEY=a,b=c,d,host=a.test", SecretSource.GIVEN, "", "a,b=c,d"),
        ("KEY,host=a.test,env=OTHER", SecretSource.ENV, "OTHER", None),
        ("KEY,file=/run/key,host=a.test", SecretSource.FILE, "/run/key", None),
        ("KEY,command=pass show a,b,host=a.test", SecretSource.COMMAND, "pass show a,b", None),
        ("KEY,stdin,host=a.test", SecretSource.GIVEN, "", None),
    ],
)
def test_secret_word_says_where_the_value_comes_from(
    text: str, source: SecretSource, origin: str, value: str | None
) -> None:
    word = parse_secret(text)
    assert (word.spec.source, word.spec.origin, word.value) == (source, origin, value)
    assert word.spec.hosts == ("a.test",)
    assert word.from_stdin == (",stdin" in text)


def test_several_hosts_may_be_given() -> None:
    assert parse_secret("K,host=a.test,host=*.b.test:8443").spec.hosts == ("a.test", "*.b.test:8443")


@pytest.mark.parametrize(
    "text", ["", "=x,host=a.test", "K", "K=top-secret", "K=top-secret,env=X,host=a", "K,env=A,file=B,host=a", "K,host=",
             "K,stdin=x,host=a.test", "K,env=A,env=B,host=a.test", "a,b,host=c"]
)  # fmt: skip
def test_wrong_secret_word_is_refused_without_its_value(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_secret(text)
    assert "top-secret" not in f"{caught.value} {caught.value.hint}"


def test_typed_value_is_warned_of_and_piped_one_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"piped-value\n")))
    assert given_values(["A=typed-value,host=a.test", "B,stdin,host=b.test"]) == {
        "A": "typed-value", "B": "piped-value",
    }  # fmt: skip
    shown = capsys.readouterr().err
    assert "secret A" in shown
    assert "typed-value" not in shown


def test_standard_input_cannot_serve_two() -> None:
    with pytest.raises(InvalidArgumentError, match="standard input"):
        given_values(["A,stdin,host=a.test"], stdin_is_taken=True)
    with pytest.raises(InvalidArgumentError, match="standard input"):
        given_values(["A,stdin,host=a.test", "B,stdin,host=a.test"])
