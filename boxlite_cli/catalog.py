"""The commands there are, without importing any of them: what `boxlite --help` shows and where each one lives.

A test compares the summaries with the first line of each command's own help.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One command: its name, the module below `boxlite_cli.commands`, one line of help, and other names for it."""

    name: str
    module: str
    summary: str
    aliases: tuple[str, ...] = ()


SECTIONS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Run",
        (
            Entry("run", "run", "Create a box from an image and run a command in it"),
            Entry("exec", "exec", "Run a further command in a box"),
            Entry("cp", "cp", "Copy files between a box and the host, or between boxes"),
            Entry("create", "create", "Create a box without starting it"),
            Entry("start", "start", "Start boxes that are not running"),
            Entry("attach", "attach", "Connect to the main command of a running box"),
        ),
    ),
    (
        "Look",
        (
            Entry("ls", "ls", "List boxes", ("list", "ps")),
            Entry("inspect", "inspect", "Show everything known about boxes or images"),
            Entry("logs", "logs", "Show what a box's main command has written"),
            Entry("why", "why", "Explain why a box is as it is"),
            Entry("wait", "wait", "Wait until boxes stop and print their exit codes"),
            Entry("top", "top", "Show the commands in a running box"),
            Entry("stats", "stats", "Show what running boxes use, every second until Ctrl-C"),
            Entry("events", "events", "Show what happens to boxes, as it happens"),
            Entry("port", "port", "Show where the ports of a running box are on the host"),
            Entry("network", "network", "See what boxes tried to reach, and reach their ports"),
        ),
    ),
    (
        "Change and clean up",
        (
            Entry("stop", "stop", "Stop running boxes"),
            Entry("restart", "restart", "Stop boxes and start them again"),
            Entry("kill", "kill", "Send a signal to the main command of boxes"),
            Entry("pause", "pause", "Halt running boxes where they stand"),
            Entry("unpause", "unpause", "Let paused boxes run on"),
            Entry("update", "update", "Change what boxes were asked to be"),
            Entry("rename", "rename", "Give a box another name"),
            Entry("rm", "rm", "Remove boxes and what is on their disks"),
            Entry("prune", "prune", "Remove every box that has stopped"),
            Entry("gc", "gc", "Delete what nothing needs"),
        ),
    ),
    (
        "Images",
        (
            Entry("pull", "pull", "Fetch an image from a registry"),
            Entry("images", "images", "List images in the local store"),
            Entry("image", "image", "Look at images and clean them up"),
            Entry("tag", "tag", "Give an image one more name"),
            Entry("rmi", "rmi", "Remove names of images, and with the last name the image"),
            Entry("load", "load", "Bring in images from an archive"),
            Entry("save", "save", "Write images into an archive"),
            Entry("import", "import_image", "Make an image from a tar archive of a file system"),
            Entry("login", "login", "Log in to a registry"),
            Entry("logout", "logout", "Forget the password of a registry that login kept"),
        ),
    ),
    (
        "This installation",
        (
            Entry("info", "info", "Show what this installation has and can do"),
            Entry("df", "df", "Show what images, disks, machines and boxes take on disk"),
            Entry("version", "version", "Show the version of BoxLite and what it runs on"),
            Entry("config", "config", "Show settings and where they come from"),
            Entry("volume", "volume", "Storage that outlives boxes"),
            Entry("system", "system", "Set up, check, measure and clean up this installation"),
            Entry("completion", "completion", "Print the completion script of a shell"),
            Entry("help", "help", "Show help for a command"),
        ),
    ),
)

ENTRIES: tuple[Entry, ...] = tuple(entry for _, entries in SECTIONS for entry in entries)


def find_entry(name: str) -> Entry | None:
    """The command called `name`, by its name or another name for it."""
    return next((entry for entry in ENTRIES if name == entry.name or name in entry.aliases), None)
