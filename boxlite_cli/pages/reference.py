"""Pages of docs/ that are made from the program: the reference of commands, and the table of Docker's and Podman's flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from boxlite_cli.catalog import find_entry
from boxlite_cli.habits import COMMANDS, FLAGS
from boxlite_cli.pages.peers import DOCKER, OTHER_NAMES, PODMAN, flags
from boxlite_cli.pages.topics import Topic
from boxlite_cli.pages.tree import Option, Page

NOTE = "<!-- Made by scripts/generate: change what it is made from, not this. -->\n"


def command_reference(root: Page, topics: Sequence[Topic]) -> str:
    """docs/reference/commands.md."""
    lines = [NOTE, "# Commands", "", f"`{root.usage}`", "", f"{root.summary}.", ""]
    lines += ["| command | what it does |", "|---|---|"]
    for page in root.walk():
        if page.path and not page.commands:
            lines.append(f"| [`{' '.join(page.path)}`](#{_anchor(page)}) | {_cell(page.summary)} |")
    lines += ["", "Topics: " + ", ".join(f"[{topic.name}]({topic.name}.md)" for topic in topics) + ".", ""]
    lines += ["## Options of every command", "", *_options([o for o in root.options if o.is_global])]
    for page in root.walk():
        if page.path and not page.commands:
            lines += ["", *_command(page)]
    return "\n".join(lines) + "\n"


def topic_document(topic: Topic) -> str:
    """docs/reference/TOPIC.md."""
    title, _, rest = topic.markdown.partition("\n")
    return f"{NOTE}\n# {topic.summary[:1].upper()}{topic.summary[1:]}\n{rest}" if title else ""


def _command(page: Page) -> Iterator[str]:
    yield f"## {page.name}"
    yield from ("", f"`{page.usage}`", "", f"{page.summary}.")
    if page.aliases:
        yield from ("", f"Other names: {', '.join(f'`{name}`' for name in page.aliases)}.")
    for text in page.description:
        yield from ("", text.replace("<", "&lt;"))
    for title, options in page.sections.items():
        own = [option for option in options if not option.is_global]
        if own:
            if title != "Options":
                yield from ("", f"**{title}**")
            yield ""
            yield from _options(own)
    if page.examples:
        yield from ("", *(f"    {example}" for example in page.examples))


def _options(options: Sequence[Option]) -> Iterator[str]:
    yield "| option | meaning |"
    yield "|---|---|"
    for option in options:
        names = ", ".join(f"`{name}`" for name in (*option.names, *option.off_names))
        value = "" if option.metavar is None else f" `{_cell(option.metavar)}`"
        yield f"| {names}{value} | {_cell(option.help)} |"


def _anchor(page: Page) -> str:
    return re.sub(r"[^a-z0-9-]", "", page.name.replace(" ", "-"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def peers_table(root: Page) -> str:
    """docs/reference/docker.md: each flag of Docker and Podman beside ours."""
    pages = {" ".join(page.path): page for page in root.walk()}
    lines = [
        NOTE,
        "# Coming from Docker or Podman",
        "",
        "A flag that is here has the same name and the same meaning. The others are refused with the line in the last column.",
        "`boxlite` has no daemon, no builder, no swarm and no plugins; a box is a machine with a kernel of its own.",
        "",
        "## Commands",
        "",
        "| Docker, Podman | instead |",
        "|---|---|",
        *(
            f"| `{name}` | {_cell(hint)} |"
            for name, hint in sorted(COMMANDS.items())
            if find_entry(name) is None
        ),
    ]
    for command, docker in DOCKER.items():
        lines += ["", *_peer_rows(pages[command], command, flags(docker), flags(PODMAN[command]))]
    return "\n".join(lines) + "\n"


def _peer_rows(page: Page, command: str, docker: dict[str, str], podman: dict[str, str]) -> Iterator[str]:
    theirs = OTHER_NAMES.get(command, command)
    own = {name: option for option in page.options if not option.is_global for name in option.names}
    yield f"## {command}" + (f" (theirs: {theirs})" if theirs != command else "")
    yield from ("", "| flag | Docker | Podman | BoxLite |", "|---|---|---|---|")
    for name in sorted({*docker, *podman}):
        short = docker.get(name) or podman.get(name) or ""
        ours = "yes" if name in own else _cell(FLAGS.get(command, {}).get(name, ""))
        yield f"| {_name(name, short)} | {_yes(name in docker)} | {_yes(name in podman)} | {ours} |"
    for option in page.options:
        if not option.is_global and not {*docker, *podman} & {*option.names}:
            names = ", ".join(f"`{name}`" for name in option.names)
            yield f"| {names} | - | - | {_cell(option.help)} |"


def _name(name: str, short: str) -> str:
    return f"`{name}`, `{short}`" if short else f"`{name}`"


def _yes(there: bool) -> str:
    return "yes" if there else "-"
