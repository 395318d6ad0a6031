"""The surfaces: what operations the code says that there are, and how each is asked."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict

from agent.app import create_app
from agent.dialects.v0_3 import Dialect03
from agent.dialects.v1_0 import Dialect1
from agent.grpc_binding.rpcs import protocols
from agent.http_json import paths
from agent.settings import Settings
from tests.conformance.grpc_channel import details_of
from tests.isolation import cases
from tests.isolation.routes import rest_of, rest_routes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from tests.isolation.cases import Json, Table

SAYS_WHO = "x-rh-identity"
_LEFT_OUT = frozenset({"date", "grpc-status-details-bin"})


class Answer(NamedTuple):
    """What came back; ``is_good`` is no error."""

    status: str
    headers: dict[str, str]
    body: str
    is_good: bool


class Reached(NamedTuple):
    """Where the server is."""

    http: httpx.AsyncClient
    channel: grpc.aio.Channel


class Rpc(NamedTuple):
    """JSON-RPC of one version, maybe in a tenant."""

    version: str
    table: Table
    tenant: str = ""

    @property
    def name(self) -> str:
        """What tests are named by."""
        return f"json-rpc {self.version}{' in a tenant' if self.tenant else ''}"

    def operations(self) -> dict[str, str]:
        """Return what the code says that there is, by what it is called inside."""
        return dict((Dialect1 if self.version == "1.0" else Dialect03).methods)

    async def ask(
        self, reached: Reached, named: str, asked: Json, headers: dict[str, str]
    ) -> Answer:
        """Ask, with the ids filled in."""
        params = asked | ({"tenant": self.tenant} if self.tenant else {})
        body = {"jsonrpc": "2.0", "id": 1, "method": named, "params": params}
        versioned = {"A2A-Version": self.version} | headers
        return _answer(await reached.http.post("/a2a", json=body, headers=versioned))


class Http(NamedTuple):
    """HTTP+JSON of one version, maybe in a tenant; ``shape`` is one of 0.3's two."""

    version: str
    table: Table
    tenant: str = ""
    shape: str = ""

    @property
    def name(self) -> str:
        """See ``Rpc``."""
        more = f" {self.shape}" if self.shape else " in a tenant" if self.tenant else ""
        return f"http+json {self.version}{more}"

    def operations(self) -> dict[str, str]:
        """See ``Rpc``."""
        templates = paths._TEMPLATES_1_0 if self.version == "1.0" else paths._TEMPLATES_0_3
        return {
            f"{verb} {template}": operation
            for template, methods in templates.items()
            for verb, operation in methods.items()
        }

    async def ask(
        self, reached: Reached, named: str, asked: Json, headers: dict[str, str]
    ) -> Answer:
        """See ``Rpc``; the path has been filled in already."""
        verb, path = named.split(" ")
        prefix = "/v1" if self.version == "0.3" else f"/{self.tenant}" if self.tenant else ""
        has_body = verb == "POST"
        query = {} if has_body else dict(asked or {})
        if self.shape == "specification":
            query["shape"] = self.shape
        response = await reached.http.request(
            verb,
            f"{prefix}{path}{'?' if query else ''}{urlencode(query)}",
            json=(asked or {}) if has_body else None,
            headers={"A2A-Version": self.version} | headers,
        )
        return _answer(response)


class Grpc(NamedTuple):
    """gRPC of one version, maybe in a tenant."""

    version: str
    table: Table
    tenant: str = ""

    @property
    def name(self) -> str:
        """See ``Rpc``."""
        return f"grpc {self.version}{' in a tenant' if self.tenant else ''}"

    def operations(self) -> dict[str, str]:
        """See ``Rpc``."""
        (protocol,) = [each for each in protocols() if each.version == self.version]
        return {rpc.name: rpc.operation for rpc in protocol.rpcs}

    async def ask(
        self, reached: Reached, named: str, asked: Json, headers: dict[str, str]
    ) -> Answer:
        """See ``Rpc``."""
        (protocol,) = [each for each in protocols() if each.version == self.version]
        (rpc,) = [each for each in protocol.rpcs if each.name == named]
        params = asked | ({"tenant": self.tenant} if self.tenant else {})
        streams = rpc.operation in {"stream", "subscribe"}
        make = reached.channel.unary_stream if streams else reached.channel.unary_unary
        call = make(
            f"/{protocol.service}/{named}",
            request_serializer=rpc.request.SerializeToString,
            response_deserializer=rpc.response.FromString,
        )
        metadata = [(key.lower(), value) for key, value in headers.items()]
        started: Any = call(
            ParseDict(params, rpc.request()), metadata=[("a2a-version", self.version), *metadata]
        )
        said: list[Json] = []
        status, is_good = "OK", True
        try:
            if streams:
                said += [MessageToDict(message) async for message in started]
            else:
                said.append(MessageToDict(await started))
        except grpc.aio.AioRpcError as exc:
            status, is_good = exc.code().name, False
            said.append([exc.details(), details_of(exc)])
        shown = [*(await started.initial_metadata()), *(await started.trailing_metadata())]
        return Answer(status, _kept(dict(shown)), json.dumps(said, sort_keys=True), is_good)


class Rest(NamedTuple):
    """The REST layer, whose operations are its routes; the query of GET and DELETE, else the body."""

    table: Table
    tenant: str = ""

    @property
    def name(self) -> str:
        """See ``Rpc``."""
        return "rest"

    def operations(self) -> dict[str, str]:
        """See ``Rpc``; the routes of the application that serves everything."""
        app = create_app(Settings.model_validate({"a2a_state": {"memory": True}}))
        return {named: named for named in rest_routes(rest_of(app))}

    async def ask(
        self, reached: Reached, named: str, asked: Json, headers: dict[str, str]
    ) -> Answer:
        """See ``Rpc``; the path has been filled in already."""
        verb, path = named.split(" ")
        where = "params" if verb in {"GET", "DELETE"} else "json"
        said: Any = {} if asked is None else {where: asked}
        return _answer(await reached.http.request(verb, path, headers=headers, **said))


type Surface = Rpc | Http | Grpc | Rest

RED = "red"
SURFACES: tuple[Surface, ...] = (
    Rpc("1.0", cases.CALLS_1_0),
    Rpc("1.0", cases.CALLS_1_0, RED),
    Rpc("0.3", cases.RPC_0_3),
    Http("1.0", cases.HTTP_1_0),
    Http("1.0", cases.HTTP_1_0, RED),
    Http("0.3", cases.HTTP_0_3, shape="specification"),
    Http("0.3", cases.HTTP_0_3_PROTO, shape="proto"),
    Grpc("1.0", cases.CALLS_1_0),
    Grpc("1.0", cases.CALLS_1_0, RED),
    Grpc("0.3", cases.GRPC_0_3),
)
REST = Rest(cases.REST_ROUTES)


def filled(asked: Json, ids: Mapping[str, str], *, quoted: bool = False) -> Json:
    """Return what is asked with its ids."""
    written = asked if quoted else json.dumps(asked)
    for name in sorted(ids, key=len, reverse=True):
        written = written.replace(name, quote(ids[name], safe="") if quoted else ids[name])
    return written if quoted else json.loads(written)


def in_path(named: str, kind: str) -> str:
    """Put the placeholders into the path of an operation of HTTP."""
    task = {"ended task": "@ended", "push config": "@own", "page token of push configs": "@own"}
    conversation = "@ended-context" if kind == "deleted conversation" else "@context"
    return (
        named.replace("{conversation_id}", conversation)
        .replace("{task}", task.get(kind, "@task"))
        .replace("{config}", "@config")
        .replace("{context}", "@ended-context")
    )


def _answer(response: httpx.Response) -> Answer:
    body = response.text
    # An error of JSON-RPC may come with 200, and within a stream.
    is_good = response.is_success and not re.search(r'"error"\s*:', body)
    return Answer(str(response.status_code), _kept(dict(response.headers)), body, is_good)


def _kept(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in headers.items() if name not in _LEFT_OUT}
