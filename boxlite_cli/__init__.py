"""The command line: flags in, text out. What it knows of the engine are the public names of `engine.runtime`
and the values of `engine.model`.

    __main__  answers --version, hands everything else to
    app       the commands by name, each imported when it is used
    command   what every command has in common: option groups, global options, failures
    options   option groups → one BoxSpec or ExecSpec      parsers, volumes   one word → one value
    session   holds a command of a box: streams (bytes), terminal (raw mode, size, keys, signals)
    output    table, json, yaml, template                  templates          Go and Jinja2 templates, sandboxed
    failures  error, cause, hint, log path, exit status    progress           live on a terminal, else plain lines
"""
