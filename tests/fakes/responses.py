"""A Llama Stack from 0.4 on, as far as Responses and Conversations go, scripted by the test.

It answers as the real servers do: the events of a stream have no ``event:`` lines and there is no
``[DONE]``, errors within a stream come with status 200, and a client that names its version is
turned away.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

RESPONSE = "resp_00000000-0000-4000-8000-000000000001"

type Event = dict[str, Any]
type Endpoint = Callable[[Request], Awaitable[Response]]


class Script(msgspec.Struct):
    """What the next response streams, and what becomes of the stream then.

    ``raw`` is sent as it is, before ``events``. ``linger`` holds the stream open until ``release``
    is set. With a ``status`` other than 200 there is no stream but ``error`` as JSON.
    """

    events: list[Event] = []
    raw: bytes = b""
    then: Literal["end", "break", "linger"] = "end"
    status: int = 200
    error: Any = None


class Seen(msgspec.Struct):
    """A request as it came in."""

    method: str
    path: str
    body: Any


class FakeResponses:
    """Keeps conversations and responses in memory, and every request that it got."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.seen: list[Seen] = []
        self.responses: dict[str, Any] = {}
        self.models = [model("vllm/embed", "embedding"), model("vllm/small"), model("vllm/other")]
        self.shields: list[Any] = [{"identifier": "guard", "type": "shield"}]
        self.stores = ["vs_1"]
        """The ids of the vector stores."""
        self.conversations: dict[str, list[Any]] = {}
        """What was said in each."""
        self.not_served: dict[str, int] = {}
        """Status by path, for what this server does not have."""
        self.objects_to: str | None = None
        """A word that shields object to; ``None`` for a server without an API to run them."""
        self.found: Any = None
        """What a search in the Solr store finds; ``None`` when there is no such store."""
        self.sent = asyncio.Event()
        """Set when a stream that lingers has sent everything."""
        self.release = asyncio.Event()
        self.gone = asyncio.Event()
        """Set when a client leaves a stream that lingers."""

    @property
    def app(self) -> Starlette:
        """The server."""
        routes: list[tuple[str, str, Endpoint]] = [
            ("GET", "/v1/version", _constant({"version": "0.7.3"})),
            ("GET", "/v1/health", _constant({"status": "OK"})),
            ("GET", "/v1/models", self._models),
            ("GET", "/v1/shields", self._shields),
            ("GET", "/v1/tools", _listing({"name": "add", "toolgroup_id": "mcp::sums"})),
            ("GET", "/v1/providers", _listing({"api": "responses", "provider_id": "builtin"})),
            ("GET", "/v1/vector_stores", self._stores),
            *self.endpoints,
        ]
        return Starlette(
            routes=[Route(path, self._seeing(call), methods=[verb]) for verb, path, call in routes]
        )

    @property
    def endpoints(self) -> list[tuple[str, str, Endpoint]]:
        """The Responses and Conversations APIs, and the search in stores."""
        response = "/v1/responses/{response_id}"
        conversation = "/v1/conversations/{conversation_id}"
        return [
            ("POST", "/v1/conversations", self._create_conversation),
            ("GET", conversation + "/items", self._items),
            ("DELETE", conversation, self._delete_conversation),
            ("POST", "/v1/responses", self._create_response),
            ("GET", response, self._get_response),
            ("POST", response + "/cancel", self._cancel_response),
            ("POST", "/v1/vector-io/query", self._query),
            ("POST", "/v1/safety/run-shield", self._run_shield),
        ]

    @property
    def asked(self) -> dict[str, Any]:
        """The body of the last request for a response."""
        bodies = [each.body for each in self.seen if each.path == "/v1/responses"]
        body: dict[str, Any] = bodies[-1]
        return body

    def _seeing(self, call: Endpoint) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            path = request.url.path
            request.state.body = json.loads(raw) if raw else None
            self.seen.append(Seen(request.method, path, request.state.body))
            if "x-llamastack-client-version" in request.headers:
                return JSONResponse({"error": {"message": "Client version ..."}}, 426)
            if path in self.not_served:
                return JSONResponse({"detail": "..."}, self.not_served[path])
            return await call(request)

        return endpoint

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": self.models})

    async def _create_conversation(self, _: Request) -> Response:
        conversation_id = f"conv_{secrets.token_hex(24)}"
        self.conversations[conversation_id] = []
        return JSONResponse({"id": conversation_id, "object": "conversation", "created_at": 1})

    async def _shields(self, _: Request) -> Response:
        return JSONResponse({"data": self.shields})

    async def _stores(self, _: Request) -> Response:
        return JSONResponse({"data": [{"id": store} for store in self.stores], "has_more": False})

    async def _delete_conversation(self, request: Request) -> Response:
        conversation_id = request.path_params["conversation_id"]
        if conversation_id not in self.conversations:
            error = {"message": f"Conversation {conversation_id} not found"}
            return JSONResponse({"error": error}, 404)
        del self.conversations[conversation_id]
        return JSONResponse({"id": conversation_id, "deleted": True})

    async def _items(self, request: Request) -> Response:
        said = self.conversations.get(request.path_params["conversation_id"])
        if said is None:
            return JSONResponse({"error": {"message": "Conversation conv_x not found"}}, 404)
        return JSONResponse({"data": said[: int(request.query_params.get("limit", 20))]})

    async def _run_shield(self, request: Request) -> Response:
        if self.objects_to is None:
            return JSONResponse({"detail": "Not Found"}, 404)
        (asked,) = request.state.body["messages"]
        about = {"violation_type": "S9"}
        objection = {"violation_level": "error", "user_message": "I can't.", "metadata": about}
        objects = self.objects_to in asked["content"]
        return JSONResponse({"violation": objection if objects else None})

    async def _query(self, _: Request) -> Response:
        if self.found is None:
            error = {"message": "Vector Store 'portal-rag' not found."}
            return JSONResponse({"error": error}, 404)
        return JSONResponse(self.found)

    async def _create_response(self, request: Request) -> Response:
        script = self.scripts.pop(0)
        if script.status != 200:
            return JSONResponse(script.error, script.status)
        said = self.conversations.get(request.state.body.get("conversation"), [])
        return StreamingResponse(self._stream(script, said), media_type="text/event-stream")

    async def _stream(self, script: Script, said: list[Any]) -> AsyncIterator[bytes]:
        if script.raw:
            yield script.raw
        for event in script.events:
            if response := event.get("response"):
                self.responses[response["id"]] = response
                said += response["output"] if response["status"] == "completed" else []
            yield b"data: " + json.dumps(event).encode() + b"\n\n"
        if script.then == "break":
            raise ConnectionResetError
        if script.then == "linger":
            await self._linger()

    async def _linger(self) -> None:
        self.sent.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.gone.set()
            raise

    async def _get_response(self, request: Request) -> Response:
        response_id = request.path_params["response_id"]
        if response_id not in self.responses:
            return JSONResponse({"detail": f"Response '{response_id}' not found."}, 404)
        return JSONResponse(self.responses[response_id])

    async def _cancel_response(self, request: Request) -> Response:
        response_id = request.path_params["response_id"]
        return JSONResponse({"id": response_id, "object": "response", "status": "cancelled"})


def _constant(body: Any) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return JSONResponse(body)

    return endpoint


def _listing(*rows: Any) -> Endpoint:
    return _constant({"data": rows, "has_more": False})


def model(identifier: str, kind: str = "llm") -> dict[str, Any]:
    """Return a model as servers from 0.4 on describe it."""
    provider = identifier.partition("/")[0]
    about = {"model_type": kind, "provider_id": provider, "provider_resource_id": identifier}
    return {
        "id": identifier,
        "object": "model",
        "owned_by": "llama_stack",
        "custom_metadata": about,
    }


def response(status: str = "in_progress", *output: Any, **fields: Any) -> dict[str, Any]:
    """Return a response object."""
    usage = None if status == "in_progress" else {"input_tokens": 7, "output_tokens": 3}
    return {"id": RESPONSE, "object": "response", "status": status} | {
        "output": list(output),
        "usage": usage,
        "error": None,
        **fields,
    }


def message(text: str, *annotations: Any) -> dict[str, Any]:
    """Return the output item that holds an answer."""
    part = {"type": "output_text", "text": text, "annotations": list(annotations)}
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}


def refusal(text: str) -> dict[str, Any]:
    """Return the output item that a shield puts in place of an answer; it has no id."""
    part = {"type": "refusal", "refusal": text}
    return {"type": "message", "role": "assistant", "content": [part]}


def call(name: str, arguments: str, call_id: str = "call_1") -> dict[str, Any]:
    """Return the output item of a tool call that the caller is to make."""
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def approval(name: str, arguments: str, request_id: str = "approval_1") -> dict[str, Any]:
    """Return the output item of a tool call that the user is to approve."""
    return {
        "type": "mcp_approval_request",
        "id": request_id,
        "name": name,
        "arguments": arguments,
        "server_label": "sums",
    }


def created() -> Event:
    """Return the first event of every stream that works."""
    return {"type": "response.created", "response": response()}


def delta(text: str) -> Event:
    """Return an event with the next piece of text."""
    return {"type": "response.output_text.delta", "item_id": "msg_1", "delta": text}


def added(item: Any) -> Event:
    """Return the event that announces an output item."""
    return {"type": "response.output_item.added", "output_index": 0, "item": item}


def done(item: Any) -> Event:
    """Return the event with a finished output item."""
    return {"type": "response.output_item.done", "output_index": 0, "item": item}


def final(status: str, *output: Any, **fields: Any) -> Event:
    """Return the last event of a stream; ``status`` is completed, incomplete or failed."""
    return {"type": f"response.{status}", "response": response(status, *output, **fields)}


def answer(*pieces: str) -> list[Event]:
    """Return the events of a response that is only text."""
    text = message("".join(pieces))
    return [
        created(),
        {"type": "response.in_progress", "response": response()},
        added(text | {"content": []}),
        *(delta(piece) for piece in pieces),
        done(text),
        final("completed", text),
    ]
