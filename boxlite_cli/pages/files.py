"""Everything that is generated, by its path in the repository."""

from __future__ import annotations

from boxlite_cli.pages.bash_script import bash_script
from boxlite_cli.pages.fish_script import fish_script
from boxlite_cli.pages.tree import read_tree
from boxlite_cli.pages.zsh_script import zsh_script


def generated_files() -> dict[str, str]:
    """Path and text of each file. The same commands give the same text."""
    root = read_tree()
    return {
        "completions/boxlite.bash": bash_script(root),
        "completions/_boxlite": zsh_script(root),
        "completions/boxlite.fish": fish_script(root),
    }
