"""Docker's spelling of flags with a value: `--rm=true`, `--sig-proxy=false`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_TRUE = ("true", "1")
_FALSE = ("false", "0")


def spell_out_flags(arguments: Sequence[str], params: Sequence[Any], *, interspersed: bool) -> list[str]:
    """Rewrite `--flag=true` and `--flag=false` as `--flag`, `--no-flag` or nothing, for the parser.

    Looks only at options of the command itself: not after `--`, nor, unless `interspersed`, after the first word.
    """
    options = {name: param for param in params for name in (*param.opts, *param.secondary_opts)}
    words = list(arguments)
    spelled: list[str] = []
    while words:
        word = words.pop(0)
        is_option = word.startswith("-") and len(word) > 1
        if word == "--" or not (is_option or interspersed):
            return [*spelled, word, *words]
        name, equals, value = word.partition("=")
        param = options.get(name)
        if equals and param is not None and _is_flag(param):
            spelled += _spell(param, name, value.lower(), word)
            continue
        spelled.append(word)
        if is_option and not equals and words and _takes_next_word(word, options):
            spelled.append(words.pop(0))
    return spelled


def find_words(
    arguments: Sequence[str], params: Sequence[Any], *, interspersed: bool
) -> tuple[list[str], set[str]]:
    """The values of `--config`, the last one last, and the names of flags that are turned off (`--init=false`), of the
    words that the parser will take for options of the command itself."""
    options = {name: param for param in params for name in (*param.opts, *param.secondary_opts)}
    words, configs, off = list(arguments), [], set()
    while words:
        word = words.pop(0)
        is_option = word.startswith("-") and len(word) > 1
        if word == "--" or not (is_option or interspersed):
            break
        name, equals, value = word.partition("=")
        param = options.get(name)
        if equals and param is not None:
            if name == "--config":
                configs.append(value)
            elif _is_flag(param) and value.lower() in _FALSE:
                off.add(param.name)
        elif is_option and words and _takes_next_word(word, options):
            value = words.pop(0)
            if name == "--config":
                configs.append(value)
    return configs, off


def _spell(param: Any, name: str, value: str, word: str) -> list[str]:
    if value in _TRUE:
        return [name]
    if value in _FALSE:
        return list(param.secondary_opts[:1])
    return [word]


def _is_flag(param: Any) -> bool:
    return bool(getattr(param, "is_flag", False))


def _takes_next_word(word: str, options: dict[str, Any]) -> bool:
    """Is the word an option whose value is the word after it? Short options may stand together (`-itw /`)."""
    if word in options or word.startswith("--"):
        return word in options and not _is_flag(options[word])
    for index, letter in enumerate(word[1:], start=1):
        param = options.get(f"-{letter}")
        if param is None:
            return False
        if not _is_flag(param):
            return index == len(word) - 1
    return False
