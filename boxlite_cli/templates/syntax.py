"""Go's text/template (package documentation, "Actions" to "Functions") read into Jinja2's syntax tree.

`.` is the variable `dot0`; inside `range` and `with` it is `dot1`, `dot2`, …; `$` stays `dot0` and `$name` is `go_name`.
`define`, `template`, `block` and `break`/`continue` are not known: nobody types them after --format.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from jinja2 import nodes

from boxlite_cli.templates.functions import FUNCTIONS
from engine.errors import InvalidArgumentError

ROOT = "dot0"
PAIRS = "go_pairs"
_CONSTANTS = {"true": True, "false": False, "nil": None}
_OPERATORS = ("and", "or", "not")
_KEYWORDS = ("if", "else", "end", "range", "with")

_ACTION_PATTERN = re.compile(
    r"""\{\{(-\s)?((?:"(?:\\.|[^"\\])*"|`[^`]*`|'(?:\\.|[^'\\])*'|/\*.*?\*/|(?!\}\}).)*?)(\s-)?\}\}""",
    re.DOTALL,
)
_TOKEN_PATTERN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:\\.|[^"\\])*"|`[^`]*`|'(?:\\.|[^'\\])*')
  | (?P<number>[-+]?\d+(?:\.\d+)?)
  | (?P<variable>\$\w*)
  | (?P<field>\.\w+)
  | (?P<dot>\.)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark>:=|[=|(),])
    )""",
    re.VERBOSE,
)
_GO_WORDS = "|".join((*_KEYWORDS, *_OPERATORS, *FUNCTIONS))
_LOOKS_LIKE_GO = re.compile(rf"""^(?:[.$]|/\*|(?:else|end)$|(?:{_GO_WORDS})\s+[^=\s])|[\s(|][.$]\w?""")


class Token(NamedTuple):
    kind: str
    text: str
    spaced: bool
    """Whether a space stands before it: `(x).Y` is a field of x, `(x) .Y` two operands."""


def is_go_template(template: str) -> bool:
    """Whether the template is Go's rather than Jinja2's."""
    if "{%" in template or "{#" in template:
        return False
    actions = [action for kind, action in split_actions(template) if kind == "action"]
    return any(_LOOKS_LIKE_GO.search(re.sub(r'"(?:\\.|[^"\\])*"', '""', action)) for action in actions)


def split_actions(template: str) -> Iterator[tuple[str, str]]:
    """("text", …) and ("action", …) in turn, white space trimmed where `{{-` and `-}}` ask for it."""
    position, trim = 0, False
    for match in _ACTION_PATTERN.finditer(template):
        text = template[position : match.start()]
        text = text.lstrip() if trim else text
        yield "text", text.rstrip() if match[1] else text
        yield "action", match[2].strip()
        position, trim = match.end(), match[3] is not None
    rest = template[position:]
    if "{{" in rest:
        raise InvalidArgumentError("template: an action is not closed with }}")
    yield "text", rest.lstrip() if trim else rest


def parse_go_template(template: str) -> nodes.Template:
    """Raises InvalidArgumentError, saying which action is wrong."""
    reader = _Reader(list(split_actions(template)))
    body, end = reader.block(ROOT)
    if end:
        raise InvalidArgumentError(f"template: unexpected {{{{{end}}}}}")
    tree = nodes.Template(body)
    tree.set_lineno(1)
    return tree


class _Reader:
    """Goes through the parts of a template once, block by block."""

    def __init__(self, parts: list[tuple[str, str]]) -> None:
        self._parts = parts
        self._position = 0
        self._depth = 0

    def block(self, dot: str) -> tuple[list[nodes.Node], str]:
        """Everything up to the `end` or `else …` of this block, and that action ("" at the end of the template)."""
        body: list[nodes.Node] = []
        while self._position < len(self._parts):
            kind, text = self._parts[self._position]
            self._position += 1
            if kind == "text":
                body += [nodes.Output([nodes.TemplateData(text)])] if text else []
                continue
            if text.startswith("/*"):
                continue
            expression = _Expression(text, dot)
            word = expression.keyword()
            if word in ("end", "else"):
                return body, text
            body.append(self._statement(word, expression, dot))
        return body, ""

    def _statement(self, word: str | None, expression: _Expression, dot: str) -> nodes.Node:
        match word:
            case "if":
                return self._if(expression, dot)
            case "range":
                return self._range(expression, dot)
            case "with":
                return self._with(expression, dot)
        names = expression.assigned()
        value = expression.pipeline_to_end()
        if names:
            return nodes.Assign(nodes.Name(names[-1], "store"), value)
        return nodes.Output([value])

    def _if(self, expression: _Expression, dot: str) -> nodes.Node:
        test = expression.pipeline_to_end()
        body, end = self.block(dot)
        return nodes.If(test, body, [], self._otherwise(end, dot))

    def _otherwise(self, end: str, dot: str) -> list[nodes.Node]:
        """What follows `else`, `else if …` or `else with …`, up to the block's end."""
        if end == "end":
            return []
        if not end:
            raise InvalidArgumentError("template: a block has no {{end}}")
        rest = end.removeprefix("else").strip()
        if not rest:
            body, end = self.block(dot)
            if end != "end":
                raise InvalidArgumentError("template: a block has no {{end}}")
            return body
        expression = _Expression(rest, dot)
        return [self._statement(expression.keyword(), expression, dot)]

    def _range(self, expression: _Expression, dot: str) -> nodes.Node:
        names = expression.assigned()
        value = expression.pipeline_to_end()
        key, item = self._fresh("key"), self._fresh("dot")
        body, end = self.block(item)
        variables = {names[-1]: item} if names else {}
        if len(names) == 2:
            variables[names[0]] = key
        head: list[nodes.Node] = [
            nodes.Assign(nodes.Name(name, "store"), nodes.Name(source, "load"))
            for name, source in variables.items()
        ]
        target = nodes.Tuple([nodes.Name(key, "store"), nodes.Name(item, "store")], "store")
        return nodes.For(target, _call(PAIRS, [value]), head + body, self._otherwise(end, dot), None, False)

    def _with(self, expression: _Expression, dot: str) -> nodes.Node:
        names = expression.assigned()
        value = expression.pipeline_to_end()
        item = self._fresh("dot")
        body, end = self.block(item)
        head: list[nodes.Node] = [
            nodes.Assign(nodes.Name(name, "store"), nodes.Name(item, "load")) for name in names
        ]
        choice = nodes.If(nodes.Name(item, "load"), head + body, [], self._otherwise(end, dot))
        return nodes.With([nodes.Name(item, "param")], [value], [choice])

    def _fresh(self, stem: str) -> str:
        self._depth += 1
        return f"{stem}{self._depth}"


class _Expression:
    """One action: a keyword, an assignment, and a pipeline."""

    def __init__(self, text: str, dot: str) -> None:
        self._text = text
        self._dot = dot
        self._tokens = list(self._tokenize())
        self._position = 0

    def keyword(self) -> str | None:
        token = self._peek()
        if token is None or token.kind != "word" or token.text not in _KEYWORDS:
            return None
        self._position += 1
        return token.text

    def assigned(self) -> list[str]:
        """The variables in front of `:=` or `=`, if there are any."""
        start = self._position
        names = []
        while (token := self._peek()) and token.kind == "variable":
            names.append(_variable(token.text))
            self._position += 1
            mark = self._peek()
            if mark is None or mark.text not in (",", ":=", "="):
                break
            self._position += 1
            if mark.text != ",":
                return names
        self._position = start
        return []

    def pipeline_to_end(self) -> nodes.Expr:
        value = self._pipeline()
        if self._peek() is not None:
            self._wrong()
        return value

    def _pipeline(self) -> nodes.Expr:
        value = self._command(None)
        while self._accept("|"):
            value = self._command(value)
        return value

    def _command(self, piped: nodes.Expr | None) -> nodes.Expr:
        token = self._peek()
        if token is not None and token.kind == "word" and token.text not in _CONSTANTS:
            self._position += 1
            operands = []
            while (following := self._peek()) and following.text not in ("|", ")"):
                operands.append(self._operand())
            return self._function(token.text, operands + ([piped] if piped is not None else []))
        value = self._operand()
        if piped is not None:
            self._wrong()
        return value

    def _function(self, name: str, operands: list[nodes.Expr]) -> nodes.Expr:
        if name == "not" and len(operands) == 1:
            return nodes.Not(operands[0])
        if name in ("and", "or") and operands:
            join = nodes.And if name == "and" else nodes.Or
            value = operands[-1]
            for operand in reversed(operands[:-1]):
                value = join(operand, value)
            return value
        if name not in FUNCTIONS:
            raise InvalidArgumentError(
                f"template: there is no function {name!r}",
                hint=f"functions: {', '.join(FUNCTIONS)}, and, or, not",
            )
        return _call(name, operands)

    def _operand(self) -> nodes.Expr:
        token = self._next()
        value: nodes.Expr
        match token.kind:
            case "string":
                return nodes.Const(token.text[1:-1] if token.text[0] == "`" else _unquoted(token.text))
            case "number":
                return nodes.Const(ast.literal_eval(token.text))
            case "variable":
                value = nodes.Name(_variable(token.text), "load")
            case "dot":
                value = nodes.Name(self._dot, "load")
            case "field":
                value = nodes.Getattr(nodes.Name(self._dot, "load"), token.text[1:], "load")
            case "word" if token.text in _CONSTANTS:
                return nodes.Const(_CONSTANTS[token.text])
            case "word":
                return self._function(token.text, [])
            case _ if token.text == "(":
                value = self._pipeline()
                if not self._accept(")"):
                    self._wrong()
            case _:
                self._wrong()
        while (following := self._peek()) and following.kind == "field" and not following.spaced:
            self._position += 1
            value = nodes.Getattr(value, following.text[1:], "load")
        return value

    def _tokenize(self) -> Iterator[Token]:
        position = 0
        text = self._text.rstrip()
        while position < len(text):
            match = _TOKEN_PATTERN.match(text, position)
            if match is None or match.lastgroup is None:
                self._wrong()
            word = match[match.lastgroup]
            yield Token(match.lastgroup, word, match.start(match.lastgroup) > position)
            position = match.end()

    def _peek(self) -> Token | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _next(self) -> Token:
        token = self._peek()
        if token is None:
            self._wrong()
        self._position += 1
        return token

    def _accept(self, text: str) -> bool:
        token = self._peek()
        if token is None or token.text != text or token.kind != "mark":
            return False
        self._position += 1
        return True

    def _wrong(self) -> NoReturn:
        raise InvalidArgumentError(f"template: {{{{{self._text}}}}} is not understood")


def _call(name: str, operands: list[nodes.Expr]) -> nodes.Expr:
    return nodes.Call(nodes.Name(name, "load"), operands, [], None, None)


def _variable(text: str) -> str:
    return ROOT if text == "$" else f"go_{text[1:]}"


def _unquoted(text: str) -> str:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        raise InvalidArgumentError(f"template: string {text} is not understood") from None
    return str(value)
