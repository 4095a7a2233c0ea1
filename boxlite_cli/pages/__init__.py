"""The command line as data, and what is generated from it: completions, manual pages, the reference.

    tree      every command with its options, read from the commands themselves
    kinds     what the value of an option or argument is, so that a shell can complete it
    shells    completions/ for bash, zsh and fish        manual  man/        reference  docs/reference.md
    topics    what `boxlite help TOPIC` shows
    files     all of them with their paths: `scripts/generate` writes them, a test compares them

None of it is imported by a command that does something else.
"""
