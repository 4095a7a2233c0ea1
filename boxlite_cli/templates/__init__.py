"""Templates of `--format`: Go templates as Docker users type them, and plain Jinja2, both rendered by Jinja2's sandbox.

    syntax     a Go template → Jinja2's own syntax tree      functions   what templates may call, values as Go prints them
    sandbox    the environment: documented fields only, never a Python attribute

`{{.State.Status}}`, `{{range .Ports}}…{{end}}` are Go; `{{ State.Status }}`, `{% for p in Ports %}` are Jinja2.
"""

from boxlite_cli.templates.sandbox import CompiledTemplate, compile_template

__all__ = ["CompiledTemplate", "compile_template"]
