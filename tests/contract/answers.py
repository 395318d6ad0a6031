"""Answers, held against what the document of the server says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    import httpx

    from tests.contract.operations import Pair

type Document = dict[str, Any]

DETAIL: Document = {
    "type": "object",
    "required": ["detail"],
    "additionalProperties": False,
    "properties": {
        "detail": {
            "type": "object",
            "required": ["response", "cause"],
            "additionalProperties": False,
            "properties": {
                "response": {"type": "string", "minLength": 1},
                "cause": {"type": "string", "minLength": 1},
            },
        }
    },
}
FIELDS: Document = {"$ref": "#/components/schemas/HTTPValidationError"}
METHOD: Document = {"const": {"detail": "Method Not Allowed"}}
RPC_ERROR: Document = {
    "type": "object",
    "required": ["jsonrpc", "id", "error"],
    "properties": {
        "error": {"type": "object", "required": ["code", "message"]},
        "result": False,
    },
}
LEAKS = ("Traceback", "sqlalchemy", "site-packages", "pydantic", 'File "', "0x7")


def check(answer: httpx.Response, pair: Pair, document: Document) -> None:
    """Check the status, the media type and the body of an answer."""
    assert answer.status_code == pair.status, answer.text[:500]
    media_type = answer.headers["content-type"].partition(";")[0]
    if pair.status >= 400:
        assert [leak for leak in LEAKS if leak in answer.text] == []
        assert media_type == "application/json"
    described = _response(pair, document).get("content", {})
    if pair.status < 400:
        # JSON-RPC may answer with a stream, and plain text is asked for by name.
        assert media_type in {*described, "text/plain"}
    if media_type != "application/json":
        return
    schema = _schema(pair, described) | {"components": document["components"]}
    Draft202012Validator(schema).validate(answer.json())


def _response(pair: Pair, document: Document) -> Document:
    method, _, path = pair.operation.partition(" ")
    responses = document["paths"][path][method.lower()]["responses"]
    found: Document = responses.get(str(pair.status), {})
    return found


def _schema(pair: Pair, described: Document) -> Document:
    if pair.operation == "POST /a2a" and pair.status >= 400 and pair.status != 405:
        return RPC_ERROR
    if pair.status == 405:
        return METHOD
    if pair.status == 422:
        # Of what a field is, FastAPI tells; of what it means, LCS.
        return {"anyOf": [FIELDS, DETAIL]}
    schemas = [content.get("schema") for content in described.values()]
    named: list[Document] = [schema for schema in schemas if schema]
    if pair.status < 400:
        return named[0] if named else {}
    # A schema says less than that nothing but ``detail`` may be there.
    return {"allOf": [DETAIL, *named]} if pair.operation != "GET /readiness" else {"allOf": named}
