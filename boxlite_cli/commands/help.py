"""`boxlite help`: commands and topics."""

from __future__ import annotations

import shutil
from typing import Annotated, Any

import typer

from boxlite_cli.catalog import ENTRIES, find_entry
from boxlite_cli.command import as_command
from boxlite_cli.output import print_lines, write

EXAMPLES = """
  boxlite help run
  boxlite help system doctor
  boxlite help configuration                     a topic: configuration, errors, formatting, names, values …
"""


def help_(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND|TOPIC]…")] = None,
) -> int:
    """Show help for a command or a topic.

    `boxlite help topics` lists the topics.
    """
    words = words or []
    if len(words) == 1 and find_entry(words[0]) is None:
        text = _topic(words[0])
        if text is not None:
            write(text)
            return 0
        _refuse(ctx, words[0])
    context: Any = ctx.parent
    for word in words:
        if not hasattr(context.command, "resolve_command"):
            context.fail(f"{context.command_path} has no command {word!r} below it")
        name, command, _ = context.command.resolve_command(context, [word])
        context = type(context)(command, info_name=name, parent=context, **command.context_settings)
    print_lines([context.get_help()])
    return 0


def _refuse(ctx: typer.Context, word: str) -> None:
    from difflib import get_close_matches

    from boxlite_cli.pages.topics import topic_names

    near = get_close_matches(word, [*(entry.name for entry in ENTRIES), *topic_names()])[:2]
    guess = f"; did you mean {' or '.join(near)}?" if near else "; `boxlite help topics` lists the topics"
    ctx.fail(f"there is no command or topic {word!r}{guess}")


def _topic(word: str) -> str | None:
    from boxlite_cli.pages.plain import topic_text
    from boxlite_cli.pages.topics import find_topic, read_topics

    if word == "topics":
        topics = read_topics()
        width = max(len(topic.name) for topic in topics)
        lines = [f"  {topic.name:<{width}}  {topic.summary}" for topic in topics]
        return "\n".join(("Topics:", *lines, "", "`boxlite help TOPIC` shows one.", ""))
    topic = find_topic(word)
    return None if topic is None else topic_text(topic, shutil.get_terminal_size().columns)


COMMAND = as_command(help_, "help", examples=EXAMPLES)
