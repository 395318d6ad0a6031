"""The documentation says what the code does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agent import rpc_answer
from agent.cli import exits
from agent.cli.main import cli
from agent.dialects.errors import CODES, INTERNAL_ERROR
from agent.dialects.v0_3 import Dialect03
from agent.dialects.v0_3_values import STATES
from agent.dialects.v1_0 import Dialect1
from agent.model import TaskState
from agent.settings import Settings
from agent.settings.databases import Postgres
from agent.settings.problems import section_at
from rest_compat import problems
from rest_compat.callers import Known
from tests.fakes.gates import open_gate
from tests.fakes.rest import llama_stack_app, rest_app

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
SETTINGS = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)

type Row = tuple[str, str, str]
"""Key, default and environment variable of a setting, as the tables write them."""


def default(field: FieldInfo) -> str:
    """Write a default as the tables do."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "none"
    if isinstance(value, str):
        return f"`{value}`" if value else '`""`'
    return f"`{value:g}`" if isinstance(value, float) else f"`{json.dumps(value)}`"


def rows(
    model: type[BaseModel], prefix: str = "", variable: str = "LLAMASTACK_A2A"
) -> Iterator[Row]:
    """Yield what the tables must hold: a row for every value, and for every list of sections."""
    for name, field in model.model_fields.items():
        key = prefix + name
        own = f"{variable}__{name.upper()}" if variable else ""
        section = section_at(model, (name,))
        if section is Postgres and prefix:
            continue  # has a table for all places where it may stand
        if section is None or "tuple" in str(field.annotation):
            yield key, default(field), f"`{own}`" if own else "none"
        if section is not None:
            in_list = "tuple" in str(field.annotation)
            yield from rows(section, f"{key}[]." if in_list else f"{key}.", "" if in_list else own)


@pytest.fixture(scope="module")
def documented() -> set[Row]:
    """All rows of the settings tables."""
    return set(ROW.findall(SETTINGS))


def test_every_setting_is_documented_with_its_default_and_variable(documented: set[Row]) -> None:
    """And nothing else is."""
    postgres = {
        (f"postgres.{name}", default(field), f"`…__POSTGRES__{name.upper()}`")
        for name, field in Postgres.model_fields.items()
    }

    assert documented == set(rows(Settings)) | postgres


@pytest.mark.parametrize("action", ["admin", "a2a_jsonrpc", "rlsapi_v1_infer"])
def test_actions_are_documented(action: str) -> None:
    """They are the values of ``authorization.access_rules[].actions``."""
    assert f"`{action}`" in SETTINGS


def test_no_row_is_written_twice() -> None:
    """A key stands in one table only."""
    keys: list[Any] = [key for key, _, _ in ROW.findall(SETTINGS)]

    assert len(keys) == len(set(keys))


def page(name: str) -> str:
    """Return a page of the documentation, or the README."""
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands below a heading of the second level."""
    (_, _, below) = text.partition(f"\n## {heading}\n")
    return below.partition("\n## ")[0]


@pytest.mark.parametrize("command", cli.commands.values(), ids=str)
def test_every_option_of_the_command_line_is_documented(command: click.Command) -> None:
    """And no option that does not exist."""
    commands = [command, *getattr(command, "commands", {}).values()]
    params = [param for each in commands for param in each.params]
    options = [param for param in params if isinstance(param, click.Option)]
    text = section(page("docs/command-line.md"), str(command.name))

    documented = re.findall(r"`(--?[a-z]+(?:-[a-z]+)*)", text)

    assert set(documented) == {name for option in options for name in option.opts}


def test_the_exit_codes_are_documented() -> None:
    """0 is that of success."""
    codes = {value for name, value in vars(exits).items() if name.isupper()}

    documented = re.findall(
        r"^\| (\d) \|", section(page("docs/command-line.md"), "Exit codes"), re.MULTILINE
    )

    assert {int(code) for code in documented} == {0, *codes}


def test_every_method_is_documented() -> None:
    """Both versions of A2A name the same operations side by side."""
    of_0_3 = {operation: method for method, operation in Dialect03.methods.items()}
    methods = {(method, of_0_3[operation]) for method, operation in Dialect1.methods.items()}

    table = section(page("docs/a2a-protocol.md"), "Methods")

    assert set(re.findall(r"^\| `(\w+)` \| `([\w/]+)` \|", table, re.MULTILINE)) == methods


def test_every_task_state_is_documented() -> None:
    """In the words of both versions."""
    table = section(page("docs/a2a-protocol.md"), "Tasks")

    documented = re.findall(r"^\| `([A-Z_]+)` \| `([a-z-]+)` \|", table, re.MULTILINE)

    assert documented == [(state.value, STATES[state]) for state in TaskState]


def test_every_error_code_is_documented() -> None:
    """With its reason, and the HTTP status where that is not 200."""
    table = section(page("docs/a2a-protocol.md"), "Errors")
    statuses = {CODES[error]: status for error, status in rpc_answer._STATUS.items()}

    documented = re.findall(
        r"^\| (-\d+) \| `([A-Z_]+)` \| [^|]+ \| (\d*) ?\|$", table, re.MULTILINE
    )

    assert {(int(code), reason) for code, reason, _ in documented} == {
        *CODES.values(),
        (INTERNAL_ERROR, "INTERNAL_ERROR"),
    }
    assert {
        (int(code), reason): int(status) for code, reason, status in documented if status
    } == statuses


def test_every_rest_route_is_documented_with_its_action() -> None:
    """Of the route itself and of its router; a route that demands nothing is open to everybody."""
    app = rest_app(open_gate())
    routes = {
        f"{method} {route.path}": demand(route)
        for route in iter_route_contexts(app.routes)
        for method in {*(route.methods or ())} - {"HEAD"}
    }
    table = section(page("docs/rest.md"), "Routes")

    documented = re.findall(r"^\| `([A-Z]+ /[^`]*)` \| `?([^|`]+)`? \|", table, re.MULTILINE)

    assert len(documented) == len(routes)
    assert dict(documented) == routes


def test_every_operation_of_the_experimental_api_is_documented_with_its_action() -> None:
    app = llama_stack_app(open_gate())
    routes = {
        f"{method} {route.path}".replace(":path", ""): demand(route)
        for route in iter_route_contexts(app.routes)
        for method in {*(route.methods or ())} - {"HEAD"}
        if route.path != app.openapi_url
    }
    table = section(page("docs/llama-stack-api.md"), "Operations")

    documented = re.findall(r"^\| `([A-Z]+ /[^`]*)` \| `([^|`]+)` \|", table, re.MULTILINE)

    assert len(documented) == len(routes) == 34
    assert dict(documented) == routes


def demand(route: Any) -> str:
    """Return what a route demands of its caller, in the words of the table."""
    dependant = getattr(route, "dependant", None)
    calls = [each.call for each in dependant.dependencies] if dependant else []
    demands = [call for call in calls if isinstance(call, Known)]
    actions = {action for each in demands for action in each.needed or ()}
    return ", ".join(sorted(actions)) or ("none" if demands else "open to everybody")


def test_every_status_of_rest_errors_is_documented() -> None:
    table = section(page("docs/rest.md"), "Errors")

    documented = re.findall(r"^\| (\d{3}) \|", table, re.MULTILINE)

    known = {*problems._REFUSED.values(), *(status for status, _ in problems._OTHERS.values())}
    assert {int(status) for status in documented} == known | {500}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    """To a file of the repository, and to a heading of it."""
    text = re.sub(r"^```.*?^```$", "", page(name), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name

        assert file.is_file(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_settings_that_are_named_exist(name: str) -> None:
    """As a variable of the environment or as a key; a section may stand for its keys."""
    server = rows(Postgres, "a2a_state.postgres.", "LLAMASTACK_A2A__A2A_STATE__POSTGRES")
    every = [*rows(Settings), *server]
    variables = [variable.strip("`") for _, _, variable in every]
    # The package of the code is called agent too.
    sections = "|".join(set(Settings.model_fields) - {"agent"})

    given = re.findall(r"\bLLAMASTACK_A2A__[A-Z0-9_]+", page(name))
    named = re.findall(rf"`((?:{sections})\.[a-z0-9_.]+)`", page(name))

    assert [v for v in given if not any(each.startswith(v) for each in variables)] == []
    assert [k for k in named if not any(f"{key}.".startswith(f"{k}.") for key, _, _ in every)] == []
