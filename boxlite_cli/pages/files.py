"""Everything that is generated, by its path in the repository."""

from __future__ import annotations

from boxlite_cli.pages.bash_script import bash_script
from boxlite_cli.pages.fish_script import fish_script
from boxlite_cli.pages.manual import command_page, page_files, topic_file, topic_page
from boxlite_cli.pages.python_reference import python_reference
from boxlite_cli.pages.reference import command_reference, peers_table, topic_document
from boxlite_cli.pages.topics import read_topics
from boxlite_cli.pages.tree import front_page, read_tree
from boxlite_cli.pages.zsh_script import zsh_script


def generated_files() -> dict[str, str]:
    """Path and text of each file. The same commands give the same text."""
    root, topics = read_tree(), read_topics()
    manual: dict[str, str] = {}
    for page in root.walk():
        manual |= dict.fromkeys(page_files(page), command_page(page, root, topics))
    manual |= {topic_file(topic): topic_page(topic, root) for topic in topics}
    return {
        **{f"man/man{name[-1]}/{name}": text for name, text in manual.items()},
        "completions/boxlite.bash": bash_script(root),
        "completions/_boxlite": zsh_script(root),
        "completions/boxlite.fish": fish_script(root),
        "docs/reference/commands.md": command_reference(root, topics),
        "docs/reference/docker.md": peers_table(root),
        "docs/reference/python.md": python_reference(),
        **{f"docs/reference/{topic.name}.md": topic_document(topic) for topic in topics},
        "boxlite_cli/front_page.txt": front_page(),
    }
