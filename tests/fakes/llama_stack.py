"""A Llama Stack 0.3.5 as far as its agents API and catalogue are used, scripted by the test.

It answers as the real server does, oddities included: a missing agent or session is a 400, a turn
is always a stream with status 200, a stream never says ``turn_start``, a resumed turn begins with
the end of a step that never started, and a client that names its version is turned away.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.responses import FakeResponses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

TURN = "11111111-0000-4000-8000-000000000001"

type Chunk = dict[str, Any]


class Script(msgspec.Struct):
    """What the next turn streams, and what becomes of the stream then."""

    chunks: list[Chunk]
    then: Literal["end", "break", "wait"] = "end"


class Seen(msgspec.Struct):
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class FakeLlamaStack:
    """Keeps agents, sessions and turns in memory, and every request that it got."""

    def __init__(self, *, api_key: str | None = None) -> None:
        self.scripts: list[Script] = []
        self.seen: list[Seen] = []
        self.agents: dict[str, Any] = {}
        self.sessions: dict[str, list[Any]] = {}
        self.toolgroups: list[Any] = []
        self.models = [model("vllm/small"), model("vllm/other"), model("vllm/embed", "embedding")]
        self.shields: list[Any] | None = []
        """``None`` for a server without the safety API."""
        self.paths = ["/v1/models", "/v1alpha/agents"]
        self.page = 100
        self.status = "OK"
        self.responses = FakeResponses()
        """The Responses and Conversations APIs, which 0.3.5 has too."""
        self.gone = asyncio.Event()
        """Set when a client leaves a stream that waits."""
        self._api_key = api_key

    @property
    def app(self) -> Starlette:
        """The server."""
        agent = "/v1alpha/agents/{agent_id}"
        session = agent + "/session/{session_id}"
        routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/openapi.json", self._openapi),
            ("GET", "/v1/version", _constant({"version": "0.3.5"})),
            ("GET", "/v1/health", self._health),
            ("GET", "/v1/models", self._models),
            ("GET", "/v1/shields", self._shields),
            ("GET", "/v1/tools", _listing([{"name": "add", "toolgroup_id": "mcp::sums"}])),
            ("GET", "/v1/providers", _listing([{"api": "safety", "provider_id": "guard"}])),
            ("GET", "/v1/vector_stores", self._vector_stores),
            ("GET", "/v1/toolgroups", self._list_toolgroups),
            ("POST", "/v1/toolgroups", self._register_toolgroup),
            ("GET", "/v1alpha/agents", self._list_agents),
            ("POST", "/v1alpha/agents", self._create_agent),
            ("GET", agent, self._get_agent),
            ("POST", agent + "/session", self._create_session),
            ("GET", session, self._get_session),
            ("DELETE", session, self._delete_session),
            ("POST", session + "/turn", self._turn),
            ("GET", session + "/turn/{turn_id}", self._get_turn),
            ("POST", session + "/turn/{turn_id}/resume", self._turn),
            *self.responses.endpoints,
        ]
        return Starlette(
            routes=[Route(path, self._seeing(call), methods=[verb]) for verb, path, call in routes]
        )

    def bodies(self, method: str, path_end: str) -> list[Any]:
        """Return the bodies of the requests with this method whose path ends so."""
        return [
            each.body
            for each in self.seen
            if each.method == method and each.path.endswith(path_end)
        ]

    def forget(self) -> None:
        """Lose all agents and sessions, as a server with a new disk does."""
        self.agents.clear()
        self.sessions.clear()

    def _seeing(
        self, call: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            body = json.loads(raw) if raw else None
            seen = Seen(request.method, request.url.path, dict(request.headers), body)
            self.seen.append(seen)
            request.state.body = body
            if "x-llamastack-client-version" in request.headers:
                return JSONResponse({"error": {"message": "Client version ..."}}, 426)
            if self._api_key and request.headers.get("authorization") != f"Bearer {self._api_key}":
                return JSONResponse({"error": {"message": "Authentication required"}}, 401)
            if request.url.path in self.responses.not_served:
                return JSONResponse({"detail": "Not Found"}, 404)
            return await call(request)

        return endpoint

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse({"openapi": "3.1.0", "paths": {path: {} for path in self.paths}})

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"data": self.models})

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": self.status})

    async def _shields(self, _: Request) -> Response:
        if self.shields is None:
            return JSONResponse({"detail": "Not Found"}, 404)
        return JSONResponse({"data": self.shields})

    async def _vector_stores(self, request: Request) -> Response:
        first = "after" not in request.query_params
        store = "vs_1" if first else "vs_2"
        return JSONResponse({"data": [{"id": store}], "has_more": first, "last_id": store})

    async def _list_toolgroups(self, _: Request) -> Response:
        return JSONResponse({"data": self.toolgroups})

    async def _register_toolgroup(self, request: Request) -> Response:
        group = dict(request.state.body)
        self.toolgroups.append(group | {"identifier": group.pop("toolgroup_id")})
        return JSONResponse(None)

    async def _list_agents(self, request: Request) -> Response:
        start = int(request.query_params.get("start_index", 0))
        limit = min(int(request.query_params.get("limit", 10)), self.page)
        all_of_them = list(self.agents.values())
        page = all_of_them[start : start + limit]
        more = start + limit < len(all_of_them)
        return JSONResponse({"data": page, "has_more": more, "url": "/v1alpha/agents"})

    async def _create_agent(self, request: Request) -> Response:
        agent_id = str(uuid.uuid4())
        config = request.state.body["agent_config"]
        self.agents[agent_id] = {"agent_id": agent_id, "agent_config": config}
        return JSONResponse({"agent_id": agent_id})

    async def _get_agent(self, request: Request) -> Response:
        if error := self._missing(request):
            return JSONResponse({"detail": f"Invalid value: {error}"}, 400)
        return JSONResponse(self.agents[request.path_params["agent_id"]])

    async def _delete_session(self, request: Request) -> Response:
        if error := self._missing(request):
            return JSONResponse({"detail": f"Invalid value: {error}"}, 400)
        del self.sessions[request.path_params["session_id"]]
        return JSONResponse(None)

    async def _create_session(self, request: Request) -> Response:
        if error := self._missing(request):
            return JSONResponse({"detail": f"Invalid value: {error}"}, 400)
        session_id = str(uuid.uuid4())
        self.sessions[session_id] = []
        return JSONResponse({"session_id": session_id})

    async def _get_session(self, request: Request) -> Response:
        if error := self._missing(request):
            return JSONResponse({"detail": f"Invalid value: {error}"}, 400)
        session_id = request.path_params["session_id"]
        return JSONResponse({"session_id": session_id, "turns": self.sessions[session_id]})

    async def _get_turn(self, request: Request) -> Response:
        if error := self._missing(request):
            return JSONResponse({"detail": f"Invalid value: {error}"}, 400)
        turns = {each["turn_id"]: each for each in self.sessions[request.path_params["session_id"]]}
        return JSONResponse(turns.get(request.path_params["turn_id"]))

    async def _turn(self, request: Request) -> Response:
        return StreamingResponse(self._stream(request), media_type="text/event-stream")

    async def _stream(self, request: Request) -> AsyncIterator[str]:
        if error := self._missing(request):
            yield _sse(failure(f"400: Invalid value: {error}"))
            return
        script = self.scripts.pop(0)
        for chunk in script.chunks:
            yield _sse(chunk)
            self._keep(request.path_params["session_id"], chunk)
        if script.then == "break":
            raise ConnectionAbortedError
        if script.then == "wait":
            try:
                await asyncio.Event().wait()
            finally:
                self.gone.set()

    def _keep(self, session_id: str, chunk: Chunk) -> None:
        turn = chunk.get("event", {}).get("payload", {}).get("turn")
        if turn:
            turns = [
                each for each in self.sessions[session_id] if each["turn_id"] != turn["turn_id"]
            ]
            self.sessions[session_id] = [*turns, turn]

    def _missing(self, request: Request) -> str | None:
        """Say in the server's words what the path names and the server does not know."""
        agent_id = request.path_params["agent_id"]
        if agent_id not in self.agents:
            return f"Could not find agent info for {agent_id}"
        session_id = request.path_params.get("session_id")
        if session_id is not None and session_id not in self.sessions:
            return f"Session '{session_id}' not found or access denied."
        return None


def _constant(body: Any) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return JSONResponse(body)

    return endpoint


def _listing(data: list[Any]) -> Callable[[Request], Awaitable[Response]]:
    return _constant({"data": data})


def _sse(chunk: Chunk) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"


def model(identifier: str, kind: str = "llm") -> dict[str, Any]:
    """Return a model as the server lists it."""
    provider = identifier.partition("/")[0]
    return {"identifier": identifier, "provider_id": provider, "model_type": kind, "metadata": {}}


def event(event_type: str, **fields: Any) -> Chunk:
    """Return a chunk with one event."""
    return {"event": {"payload": {"event_type": event_type, **fields}}}


def failure(message: str) -> Chunk:
    """Return the chunk that ends a stream with an error; ``message`` begins with its status."""
    return {"error": {"message": message}}


def started(step_type: str, **metadata: Any) -> Chunk:
    """Return the start of a step."""
    return event("step_start", step_type=step_type, step_id="s", metadata=metadata)


def text(piece: str) -> Chunk:
    """Return a piece of the model's text."""
    delta = {"type": "text", "text": piece}
    return event("step_progress", step_type="inference", step_id="s", delta=delta)


def calling(call: Any, step_type: str = "tool_execution", status: str = "in_progress") -> Chunk:
    """Return a tool call, whole or a fragment of it, as it goes by."""
    delta = {"type": "tool_call", "tool_call": call, "parse_status": status}
    return event("step_progress", step_type=step_type, step_id="s", delta=delta)


def ended(step_type: str, turn_id: str = TURN, **details: Any) -> Chunk:
    """Return the end of a step."""
    step = {"turn_id": turn_id, "step_id": "s", "step_type": step_type, **details}
    return event("step_complete", step_type=step_type, step_id="s", step_details=step)


def said(content: Any, stop_reason: str = "end_of_turn", calls: Any = ()) -> dict[str, Any]:
    """Return a message of the model."""
    return {
        "role": "assistant",
        "content": content,
        "stop_reason": stop_reason,
        "tool_calls": list(calls),
    }


def call(call_id: str, tool_name: str, arguments: str = "{}") -> dict[str, Any]:
    """Return a tool call; ``arguments`` is JSON, as the model wrote it."""
    return {"call_id": call_id, "tool_name": tool_name, "arguments": arguments}


def over(message: dict[str, Any], turn_id: str = TURN, **fields: Any) -> Chunk:
    """Return the end of a turn; it waits for input when the message has tool calls."""
    turn = {
        "turn_id": turn_id,
        "session_id": "s",
        "input_messages": [],
        "steps": [],
        "output_message": message,
        "output_attachments": [],
        "started_at": "2026-01-01T00:00:00Z",
        "completed_at": None,
        **fields,
    }
    waits = bool(message["tool_calls"])
    return event("turn_awaiting_input" if waits else "turn_complete", turn=turn)


def answer(*pieces: str, turn_id: str = TURN) -> list[Chunk]:
    """Return the chunks of a turn that says these pieces."""
    message = said("".join(pieces))
    return [
        started("inference"),
        *[text(piece) for piece in pieces],
        ended("inference", turn_id, model_response=message),
        over(message, turn_id),
    ]


def question(*calls: dict[str, Any], turn_id: str = TURN) -> list[Chunk]:
    """Return the chunks of a turn that waits for the results of these tool calls."""
    message = said("", "end_of_message", calls)
    fragments = [calling(each["arguments"], "inference") for each in calls]
    return [
        started("inference"),
        *fragments,
        ended("inference", turn_id, model_response=message),
        over(message, turn_id),
    ]
