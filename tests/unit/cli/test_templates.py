"""Templates of --format: Go's, Jinja2's, and attempts to reach what is not theirs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxlite_cli.templates import compile_template
from boxlite_cli.templates.syntax import is_go_template
from engine.errors import InvalidArgumentError

BOX: dict[str, Any] = {
    "Id": "0a1b2c",
    "Name": "web",
    "Image": "alpine:3.20",
    "Cpus": 2,
    "State": {"Status": "running", "Running": True, "ExitCode": None},
    "Ports": [{"HostPort": 8080, "BoxPort": 80}, {"HostPort": 8443, "BoxPort": 443}],
    "Config": {"Cmd": ["sh", "-c", "x y"], "Labels": {"team": "web", "a.b/c": "dotted"}, "Empty": []},
}


def rendered(template: str) -> str:
    return compile_template(template).render(BOX)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Id}}", "0a1b2c"),
        ("{{ .ID }} {{ .ImageID }}", "0a1b2c alpine:3.20"),
        ("{{.State.Status}}", "running"),
        ("{{json .State}}", '{"Status":"running","Running":true,"ExitCode":null}'),
        ("{{ .Config.Cmd | json }}", '["sh","-c","x y"]'),
        ("{{.State.Running}} {{.State.ExitCode}} {{.Cpus}}", "true <nil> 2"),
        ("{{.Config.Cmd}} {{.Config.Labels}}", "[sh -c x y] map[a.b/c:dotted team:web]"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if not .State.Running}}no{{else if eq .Cpus 2}}two{{else}}more{{end}}", "two"),
        ("{{if and .State.Running (eq .Name \"db\" \"web\")}}yes{{end}}", "yes"),
        ("{{if or .State.ExitCode .Config.Empty}}x{{else}}neither{{end}}", "neither"),
        ("{{range .Ports}}{{.HostPort}}->{{.BoxPort}} {{end}}", "8080->80 8443->443 "),
        ("{{range $i, $port := .Ports}}{{$i}}:{{$port.HostPort}} {{$.Name}} {{end}}", "0:8080 web 1:8443 web "),
        ("{{range $key, $value := .Config.Labels}}{{$key}}={{$value}};{{end}}", "a.b/c=dotted;team=web;"),
        ("{{range .Config.Empty}}x{{else}}none{{end}}", "none"),
        ("{{with .State}}{{.Status}}{{end}}{{with .State.ExitCode}}x{{else}}-{{end}}", "running-"),
        ("{{index .Config.Labels \"a.b/c\"}}{{index .Config.Labels \"missing\"}}", "dotted"),
        ("{{(index .Ports 1).HostPort}} {{len .Ports}}", "8443 2"),
        ("{{join .Config.Cmd \" \"}}", "sh -c x y"),
        ("{{index (split .Image \":\") 1}}", "3.20"),
        ("{{upper .Name}} {{.Name | title}} {{.Name | printf \"%-5s|\"}}", "WEB Web web  |"),
        ("{{printf \"%05d %q %v%%\" .Cpus .Name .State.Running}}", "00002 \"web\" true%"),
        ("{{$name := .Name}}{{$name}}{{/* nothing */}}", "web"),
        ("a  {{- .Name -}}  b", "awebb"),
        ("{{gt .Cpus 1}} {{le .Cpus 1}} {{ne .Name \"x\"}}", "true false true"),
        ("{{slice .Id 0 2}}{{truncate .Name 2}}{{pad .Name 1 1}}", "0awe web "),
        ("{{\"}}\"}}", "}}"),
        ("no template at all", "no template at all"),
    ],
)  # fmt: skip
def test_template_in_gos_language_is_rendered(template: str, text: str) -> None:
    assert rendered(template) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ Id }} {{ State.Status }}", "0a1b2c running"),
        ("{{ ID }}", "0a1b2c"),
        ("{{ Name | upper }}", "WEB"),
        ("{% for port in Ports %}{{ loop.index }}={{ port.HostPort }} {% endfor %}", "1=8080 2=8443 "),
        ("{{ Config['Labels']['a.b/c'] }}", "dotted"),
        ("{% if State.Running %}up{% else %}down{% endif %}", "up"),
        ("{{ Ports | map(attribute='BoxPort') | join(',') }}", "80,443"),
        ("{{ Ports | length }} {{ Cpus * 2 }} {{ State | json }}", '2 4 {"Status":"running","Running":true,"ExitCode":null}'),
    ],
)  # fmt: skip
def test_template_in_jinja_is_rendered(template: str, text: str) -> None:
    assert rendered(template) == text


@pytest.mark.parametrize(
    ("template", "field"),
    [("{{.Nope}}", "Nope"), ("{{.State.Nope}}", "Nope"), ("{{ Nope }}", "Nope"), ("{{ State.Nope }}", "Nope"), ("{{.Id.Nope}}", "Nope"), ("{{range .Nope}}{{end}}", "Nope"), ("{{ Nope.More }}", "Nope")],
)  # fmt: skip
def test_template_unknown_field_is_named(template: str, field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"unknown field .{field}"):
        rendered(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ .Id.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        '{{ "".__class__ }}',
        "{{ Id.__class__.__base__.__subclasses__() }}",
        "{{ Id['__class__'] }}",
        "{{ Id|attr('__class__') }}",
        "{{ Id.upper() }}",
        "{{ Id.format }}",
        "{{ State.items() }}",
        "{{ State.keys }}",
        "{{ Config.Cmd.append('x') }}",
        "{{ json.__globals__ }}",
        "{{ json.__globals__['__builtins__'] }}",
        "{{ self }}",
        "{{ self._TemplateReference__context }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ namespace(a=1) }}",
        "{{ range(10) }}",
        "{{ [].__class__ }}",
        "{{ (1).__class__ }}",
        "{{ Ports|map(attribute='__class__')|list }}",
        "{{ Ports|map('attr', '__class__')|list }}",
        "{{ ['x']|map('format')|list }}",
        "{{ '%s'|format(Id) }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 2 ** 100000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ json }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{% extends 'x' %}",
        "{% macro m() %}x{% endmacro %}{{ m.__init__ }}",
        "{% for x in Ports %}{{ loop.__class__ }}{% endfor %}",
        "{% for x in Ports %}{{ loop._iterator }}{% endfor %}",
        "{{call .Id}}",
        "{{.Id.upper}}",
        '{{index .Id "__class__"}}',
        '{{printf "%1000000000s" .Id}}',
        "{{pad .Id 1000000000 0}}",
        "{{range 1000000000}}x{{end}}",
        '{{template "x"}}',
    ],
)
def test_template_cannot_reach_python(template: str) -> None:
    with pytest.raises(InvalidArgumentError):
        rendered(template)


@pytest.mark.parametrize(
    "template",
    ["{{.Id", "{{range .Ports}}", "{{end}}", "{{else}}", "{{nope .Id}}", "{{.Id .Name}}", "{{if}}x{{end}}", "{{index .Ports 9}}", "{{len .Cpus}}", "{{lt .Name .Cpus}}", "{% for %}", "{{ Id | nope }}", "{{(.Id}}", "{{.Id)}}", "{{$}"],
)  # fmt: skip
def test_template_wrong_is_an_error_of_the_command_line(template: str) -> None:
    with pytest.raises(InvalidArgumentError, match="template"):
        rendered(template)


@given(st.text(alphabet="{}.%$()|\"' aIdrange-end:=,1_#*/", max_size=24))
def test_template_of_any_text_is_rendered_or_refused(text: str) -> None:
    try:
        assert isinstance(rendered(text), str)
    except InvalidArgumentError as error:
        assert str(error).startswith("template")


def test_templates_are_told_apart() -> None:
    assert is_go_template("{{.Id}}") and is_go_template("{{json .}}") and is_go_template("{{end}}")
    assert not is_go_template("{{ Id }}") and not is_go_template("{% if x %}{{ .y }}{% endif %}")
    assert not is_go_template("{{ len(Ports) }}")
