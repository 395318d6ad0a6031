"""The OpenAPI document: it says what LCS's says, and what this server does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from jsonschema import Draft202012Validator

from agent.app import create_app
from agent.settings import Settings
from tests.contract.differences import DOCUMENT, uncovered, unneeded
from tests.contract.documents import METHODS, differences
from tests.contract.operations import DOCUMENTED, TAKES_A_BODY
from tests.fakes import lightspeed_document
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

type Json = Any

CARDS = ("/.well-known/agent-card.json", "/.well-known/agent.json", "/a2a")


@pytest.fixture(scope="module")
def served() -> dict[str, Json]:
    """Return what a server answers, by path; tests beside may have a loop of their own in this thread."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(anyio.run, ask).result()


async def ask() -> dict[str, Json]:
    app = create_app(Settings.model_validate({"a2a_state": {"memory": True}}))
    paths = ("/openapi.json", *CARDS)
    async with run_server(app) as url, httpx.AsyncClient(base_url=url) as http:
        return {path: (await http.get(path)).raise_for_status().json() for path in paths}


@pytest.fixture(scope="module")
def document(served: dict[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = served["/openapi.json"]
    return found


@pytest.fixture(scope="module")
def different(document: dict[str, Json]) -> dict[str, Json]:
    """Return where it differs from what LCS publishes."""
    if not lightspeed_document.DOCUMENT.exists():
        pytest.skip("the published document is not here")
    theirs = json.loads(lightspeed_document.DOCUMENT.read_text())
    return dict(differences(document, theirs))


def test_it_says_nothing_else_than_that_of_lcs_but_what_is_listed(
    different: dict[str, Json],
) -> None:
    untold = uncovered(different, DOCUMENT)
    assert [(place, *different[place]) for place in untold] == []


def test_every_listed_difference_is_one(different: dict[str, Json]) -> None:
    assert unneeded(different, DOCUMENT) == []


def test_it_has_the_operations_of_lcs_with_their_statuses(document: dict[str, Json]) -> None:
    """LCS's document does not have to be here for this."""
    assert len(DOCUMENTED) == 34
    told = {
        name: tuple(sorted(int(status) for status in operation["responses"]))
        for name, operation in operations(document)
    }
    assert told == DOCUMENTED


def test_it_tells_which_operations_take_a_body(document: dict[str, Json]) -> None:
    """That of JSON-RPC is not described, as in LCS's."""
    taking = {name for name, operation in operations(document) if "requestBody" in operation}
    assert taking == TAKES_A_BODY - {"POST /a2a"}


def test_each_error_is_described_once(document: dict[str, Json]) -> None:
    schemas = document["components"]["schemas"]
    assert [name for name in schemas if "__" in name or name[-1].isdigit()] == [
        "ConversationsListResponseV2"
    ]
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            described = [content.get("schema", {}) for content in response["content"].values()]
            if int(status) >= 400:
                assert [each for each in described if each.keys() - {"$ref"}] == [], name
                assert sum("$ref" in each for each in described) == 1, (name, status)


def test_every_schema_is_one_and_every_reference_leads_to_one(document: dict[str, Json]) -> None:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    known = {f"#/components/schemas/{name}" for name in schemas}
    assert set(references(document)) == known


def test_operations_have_ids_of_their_own(document: dict[str, Json]) -> None:
    """But for JSON-RPC: in LCS the two methods of its path have one."""
    ids = [
        operation["operationId"] for name, operation in operations(document) if name != "GET /a2a"
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", CARDS)
def test_the_card_is_what_it_says(served: dict[str, Json], path: str) -> None:
    card = {"$ref": "#/components/schemas/AgentCard"}
    schema = card | {"components": served["/openapi.json"]["components"]}
    Draft202012Validator(schema).validate(served[path])


def test_what_lcs_says_of_defaults_and_bounds_is_compared() -> None:
    """The comparison itself: it sees each kind of difference, and none where there is none."""
    ours, theirs = small(), small()
    assert differences(ours, theirs) == {}
    theirs["components"]["schemas"]["In"]["properties"]["n"] |= {"maximum": 3, "default": 2}
    theirs["components"]["schemas"]["Out"]["properties"]["n"] |= {"title": "N", "default": 2}
    theirs["components"]["schemas"]["Out"]["required"] = ["n", "m"]
    theirs["paths"]["/x"]["post"]["responses"]["404"] = {"description": "no"}
    theirs["paths"]["/x"]["post"]["operationId"] = "other"
    assert differences(ours, theirs) == {
        "POST /x: 404": (None, "true"),
        "POST /x: id": ('"x"', '"other"'),
        "schema In: .n: default": (None, "2"),
        "schema In: .n: maximum": (None, "3"),
        'schema Out: required: "m"': (None, "true"),
    }


def small() -> dict[str, Json]:
    """Return a document with one operation."""

    def content(name: str) -> Json:
        return {
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        }

    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    post = {
        "operationId": "x",
        "requestBody": content("In"),
        "responses": {"200": {"description": "yes", **content("Out")}},
    }
    schemas = {name: json.loads(json.dumps(number)) for name in ("In", "Out")}
    return {"paths": {"/x": {"post": post}}, "components": {"schemas": schemas}}


def operations(document: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    """Yield the operations by name."""
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                yield f"{method.upper()} {path}", methods[method]


def references(value: Json) -> Iterator[str]:
    """Yield what is referred to."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "$ref" and isinstance(member, str):
                yield member
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)
