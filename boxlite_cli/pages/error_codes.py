"""What each code of an error means and what to do, for `boxlite help errors` and the reference. A test holds it against the
errors there are: a new code without a line here fails it."""

from __future__ import annotations

CODES: dict[str, tuple[str, str]] = {
    "already_exists": ("the name is taken", "choose another with --name, or remove the box that has it"),
    "command_not_executable": ("the file is there but cannot be run", "check its mode, its interpreter and its processor"),
    "command_not_found": ("there is no such program in the box", "look into the image: boxlite run --rm -it IMAGE sh"),
    "config_error": ("a setting, variable or file is wrong", "correct the line that is named; boxlite config show --origin"),
    "database_error": ("the record of boxes cannot be read or written", "check disk space and owner of the home's db/"),
    "engine_error": ("the machine could not be started or ended by itself", "boxlite why BOX, then boxlite system doctor"),
    "execution_failed": ("a command in a box could not be started", "read the message; boxlite logs --console BOX"),
    "image_error": ("an image or a registry's answer is not as it must be", "pull it again; if that fails, the image is broken"),
    "image_not_found": ("no registry has the image, or it is not here", "check name and tag; log in if it is private"),
    "internal": ("an error that nobody foresaw", "report it with the traceback in the home's logs/boxlite.log"),
    "invalid_argument": ("the command line is wrong", "the hint says how it should look; boxlite COMMAND --help"),
    "invalid_state": ("the box is not in a state for that", "start, stop or unpause it first"),
    "is_directory": ("a path is a directory where a file is needed", "name a file, or copy the directory with boxlite cp"),
    "jail_error": ("the jail around the machine could not be built", "boxlite system doctor names what is missing"),
    "metadata_error": ("a stored document cannot be read", "it was written by a newer version, or is damaged"),
    "network_error": ("a connection failed, or the box's network could not be set up", "check the address and this machine's network"),
    "not_a_terminal": ("-t was asked for where there is no terminal", "leave out -t when the input is a pipe or a file"),
    "not_directory": ("a part of a path is a file where a directory is needed", "check the path, part by part"),
    "not_empty": ("a directory still has something in it", "remove what is in it first, or remove it with all of it"),
    "not_found": ("there is no box, volume or path of that name", "boxlite ls -a shows every box"),
    "permission_denied": ("something was refused", "the message says by whom: the host, the box or a policy"),
    "port_in_use": ("another program has the port of the host", "choose another with -p, or none: -p BOX takes a free one"),
    "portal_error": ("the machine's agent did not answer as it must", "try again; boxlite why BOX if it stays so"),
    "process_failed": ("a program that BoxLite started failed", "the message has its last words; boxlite system doctor"),
    "read_only": ("what is to be written is read-only", "leave out :ro or --read-only, or write elsewhere"),
    "registry_auth": ("the registry refused the login", "boxlite login REGISTRY"),
    "resource_exhausted": ("disk, memory or a limit is used up", "boxlite system df, then boxlite system prune; or raise the limit"),
    "rpc_error": ("the agent refused a request", "read the message; boxlite logs --console BOX"),
    "rpc_transport": ("the connection into the machine was lost", "try again; the box has perhaps just ended: boxlite ls -a"),
    "stopped": ("the box ended while something was asked of it", "boxlite why BOX, then boxlite start BOX"),
    "storage_error": ("a file could not be read or written", "check disk space and rights at the path that is named"),
    "timeout": ("something took too long", "try again; a busy host needs longer"),
    "unsupported": ("this cannot be done here or yet", "the hint says what to use instead"),
    "unsupported_engine": ("no machine is defined for this processor", "boxes run on x86_64 and aarch64"),
}  # fmt: skip
"""Code → what happened, what to do."""
