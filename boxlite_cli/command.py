"""What every command has in common.

A command is a plain function whose parameters are arguments and options (`Annotated[…, typer.Option()]`), whole groups of
options (a dataclass of annotated fields), or `Settings`; it returns its exit status. `as_command` flattens the
groups into one signature for Typer, adds the global options and builds a `BoxliteCommand`.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping
from textwrap import dedent, indent
from typing import Any, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from boxlite_cli import failures
from boxlite_cli.flags import find_words, spell_out_flags
from boxlite_cli.global_options import SECTION as GLOBAL_SECTION
from boxlite_cli.global_options import GlobalOptions
from boxlite_cli.settings import Settings, config_path, probable_log_path, read_config, resolve_settings
from engine.errors import BoxliteError

_GLOBALS_KEY = "boxlite.globals"
_CONFIG_ERROR_KEY = "boxlite.config-error"
_FORMAT = "format_"
"""What every command with a `--format FORMAT` calls it."""
G = TypeVar("G")


class BoxliteCommand(TyperCommand):
    """One command. `failure_status` is what it exits with when it is we who fail, not the command it runs."""

    failure_status = 1
    needs_settings = True

    def __init__(self, *args: Any, params: list[Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, params=_defaults_stand_in_the_help(params or []), **kwargs)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = spell_out_flags(args, self.params, interspersed=ctx.allow_interspersed_args)
        self._apply_defaults(ctx, args)
        try:
            return super().parse_args(ctx, words)
        except usage_error_class() as error:
            error.ctx = error.ctx or ctx  # type: ignore[attr-defined]
            raise

    def _apply_defaults(self, ctx: Any, args: list[str]) -> None:
        """Let the configuration file's defaults stand in for those built in."""
        configs, turned_off = find_words(args, self.params, interspersed=ctx.allow_interspersed_args)
        given = configs[-1] if configs else given_globals(ctx).config
        if config_path(given) is None or not ctx.info_name or "--help" in args:
            return
        try:
            file = read_config(given)
            if file is not None and (file.defaults or file.security):
                from boxlite_cli.defaults import option_defaults

                path = ctx.command_path.partition(" ")[2]
                found = option_defaults(path, self.params, file, os.environ)
                ctx.default_map = {name: value for name, value in found.items() if name not in turned_off}
        except BoxliteError as error:
            ctx.meta[_CONFIG_ERROR_KEY] = error

    def invoke(self, ctx: Any) -> Any:
        try:
            if _CONFIG_ERROR_KEY in ctx.meta and self.needs_settings:
                raise ctx.meta[_CONFIG_ERROR_KEY]
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, usage_error_class()):
            raise
        except Exception as error:
            return show_failure(
                error,
                given_globals(ctx),
                failure_status=self.failure_status,
                command_path=ctx.command_path,
            )

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [param.metavar or "" for param in self.params if isinstance(param, TyperArgument)]
        return [self.options_metavar or "", *arguments]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, TyperArgument):
                title = getattr(param, "rich_help_panel", None) or "Options"
                sections.setdefault(title, []).append(record)
        sections[GLOBAL_SECTION] = sections.pop(GLOBAL_SECTION, [])
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if self.epilog:
            formatter.write_paragraph()
            formatter.write(f"{self.epilog}\n")


def _defaults_stand_in_the_help(params: list[Any]) -> list[Any]:
    """Keep the parser from adding to each help text a default that it has already."""
    for param in params:
        param.show_default = False
    return params


def usage_error_class() -> type[Exception]:
    """The class of all complaints of the parser; where Typer keeps it depends on its version."""
    return cast(type[Exception], typer.BadParameter.__base__)


def keep_globals(ctx: typer.Context, options: GlobalOptions) -> None:
    """Remember options given before the command; those after it are merged in when it is invoked."""
    ctx.meta[_GLOBALS_KEY] = options


def given_globals(ctx: typer.Context | None) -> GlobalOptions:
    """The global options given so far."""
    return cast(GlobalOptions, ctx.meta.get(_GLOBALS_KEY) or GlobalOptions()) if ctx else GlobalOptions()


def show_failure(error: Exception, options: GlobalOptions, *, failure_status: int, command_path: str) -> int:
    """Show what made a command fail, the first of several errors, and return what to exit with. Raises the error again where
    there is nothing to show: nobody reads our output any more, or a signal ended us."""
    cause = failures.sole_error(error)
    if isinstance(cause, BrokenPipeError) or not isinstance(cause, Exception):
        raise cause from None
    return report_failure(cause, options, failure_status, usage_hint=f"see '{command_path} --help'")


def report_failure(
    error: Exception, options: GlobalOptions, failure_status: int, *, usage_hint: str | None = None
) -> int:
    """Show an error and return what to exit with."""
    status = failures.status_of(error, failure_status)
    if isinstance(error, BoxliteError):
        if status == failures.USAGE_STATUS and error.hint is None:
            error.hint = usage_hint
        failures.report(error, debug=options.debug, as_json=options.json)
    else:
        failures.report_unexpected(
            error, probable_log_path(options), debug=options.debug, as_json=options.json
        )
    return status


def as_command(
    function: Callable[..., int],
    name: str,
    *,
    words_end_options: bool = False,
    failure_status: int = 1,
    examples: str | None = None,
) -> BoxliteCommand:
    """Build the command `name`.

    `words_end_options`: options stand before the first argument; what follows it belongs to the command in the box
    (so `run alpine ls -d` passes -d on).
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(
        name=name,
        cls=BoxliteCommand,
        help=inspect.getdoc(function),
        epilog=f"Examples:\n{indent(dedent(examples).strip(), '  ')}" if examples else None,
        options_metavar="[OPTIONS]",
        context_settings={"allow_interspersed_args": not words_end_options},
    )(flattened(function))
    command = cast(BoxliteCommand, typer.main.get_command(app))
    command.failure_status = failure_status
    command.needs_settings = Settings in {
        parameter.annotation for parameter in inspect.signature(function, eval_str=True).parameters.values()
    }
    return command


class BoxliteGroup(TyperGroup):
    """A noun with commands of its own: `boxlite system doctor`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _defaults_stand_in_the_help(self.params)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx))[:2]
            guess = f"; did you mean {' or '.join(near)}?" if near else ""
            error = usage_error_class()(f"there is no command {name!r}{guess}", ctx)
            error.unknown_command = name  # type: ignore[attr-defined]
            raise error
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        names = self.list_commands(ctx)
        width = max(len(name) for name in names) + 2
        formatter.write("\nCommands:\n")
        for name in names:
            summary = (self.commands[name].help or "").partition("\n")[0]
            formatter.write(f"  {name:<{width}}{summary.removesuffix('.')}\n")


def as_group(name: str, summary: str, commands: Mapping[str, TyperCommand | TyperGroup]) -> BoxliteGroup:
    """Build a command that only has commands below it."""
    return BoxliteGroup(
        name=name,
        help=summary,
        commands=dict(commands),
        rich_markup_mode=None,
        no_args_is_help=True,
        options_metavar="",
        subcommand_metavar="COMMAND …",
    )


class _Group(Generic[G]):
    """A dataclass of options as one parameter of a command: its fields, and those of groups in it, become options;
    their values one object. Its class variable `section` is their heading in help."""

    def __init__(self, kind: type[G]) -> None:
        self._kind = kind
        hints = get_type_hints(kind, include_extras=True)
        self._subgroups: dict[str, _Group[Any]] = {}
        self._fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        self._lists: set[str] = set()
        self.parameters: list[inspect.Parameter] = []
        for field in self._fields:
            hint = hints[field.name]
            if dataclasses.is_dataclass(hint):
                self._subgroups[field.name] = _Group(cast(type, hint))
                self.parameters += self._subgroups[field.name].parameters
                continue
            annotation, option = get_args(hint)
            option.rich_help_panel = getattr(kind, "section", None)
            if get_origin(annotation) is list:
                self._lists.add(field.name)
            default = None if field.name in self._lists else field.default
            self.parameters.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
                )
            )

    def take(self, values: dict[str, Any]) -> G:
        """Make the object, taking its fields out of `values`."""
        own: dict[str, Any] = {}
        for field in self._fields:
            if field.name in self._subgroups:
                own[field.name] = self._subgroups[field.name].take(values)
            elif field.name in self._lists:
                own[field.name] = list(values.pop(field.name) or ())
            else:
                own[field.name] = values.pop(field.name)
        return self._kind(**own)


def flattened(function: Callable[..., int]) -> Callable[..., int]:
    """The function as Typer can read it: every option a parameter of its own, the context and global options added."""
    signature = inspect.signature(function, eval_str=True)
    groups: dict[str, _Group[Any]] = {}
    wants_settings = None
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
    ]
    for parameter in signature.parameters.values():
        if parameter.annotation is Settings:
            wants_settings = parameter.name
        elif dataclasses.is_dataclass(parameter.annotation):
            groups[parameter.name] = _Group(cast(type, parameter.annotation))
            parameters += groups[parameter.name].parameters
        elif parameter.annotation is not typer.Context:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    wants_context = "ctx" in signature.parameters
    outer = _Group(GlobalOptions)
    parameters += outer.parameters

    def flat(ctx: typer.Context, **values: Any) -> int:
        options = outer.take(values).over(given_globals(ctx))
        keep_globals(ctx, options)
        if options.json and _FORMAT in values and not (values[_FORMAT] or values.get("quiet")):
            values[_FORMAT] = "json"
        arguments = {name: group.take(values) for name, group in groups.items()}
        if wants_settings:
            arguments[wants_settings] = resolve_settings(options)
        if wants_context:
            arguments["ctx"] = ctx
        return function(**values, **arguments)

    flat.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {}
    flat.__doc__ = function.__doc__
    return flat
