"""A Llama Stack 0.3.5 as far as others' agents, training jobs and datasets live there.

It answers as the real server does, oddities included: what is missing is a 400, a missing turn is null,
turns run side by side, and a resume is not checked.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.engines.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from starlette.requests import Request

    type Json = Any

ALL_PATHS = frozenset(each.path for each in OPERATIONS)
AGENTS = "/v1alpha/agents"
NOT_IMPLEMENTED = 501


class Seen(NamedTuple):
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json


class FakeAgentsServer:
    """Keeps everything in memory, and every request that it got.

    A message ``ERROR text`` fails the turn with that text, ``CALL name {...}`` calls a tool of the
    client's, ``BREAK`` ends the stream too early, ``WAIT`` streams nothing more until ``go`` is set, and
    everything else is echoed.
    """

    def __init__(self, paths: frozenset[str] = ALL_PATHS) -> None:
        self.paths = paths
        self.model_types = ["llm"]
        self.seen: list[Seen] = []
        self.agents: dict[str, Json] = {}
        self.sessions: dict[str, Json] = {}
        self.jobs: dict[str, str] = {}
        self.datasets: dict[str, Json] = {}
        self.running = self.most_running = 0
        self.go = asyncio.Event()
        self.gone = asyncio.Event()

    @property
    def app(self) -> Starlette:
        """The server."""
        agent, training = "/v1alpha/agents/{agent_id}", "/v1alpha/post-training"
        session = agent + "/session/{session_id}"
        turn = session + "/turn/{turn_id}"
        routes: list[tuple[str, str, Callable[[Request, Json], Awaitable[Response]]]] = [
            ("GET", "/openapi.json", self._openapi),
            ("GET", "/v1/models", self._models),
            ("POST", "/v1alpha/agents", self._create_agent),
            ("GET", agent, self._agent),
            ("DELETE", agent, self._agent),
            ("POST", agent + "/session", self._create_session),
            ("GET", agent + "/sessions", self._list_sessions),
            ("GET", session, self._session),
            ("DELETE", session, self._session),
            ("POST", session + "/turn", self._turn),
            ("GET", turn, self._get_turn),
            ("POST", turn + "/resume", self._turn),
            ("GET", turn + "/step/{step_id}", self._get_step),
            ("POST", training + "/supervised-fine-tune", self._train),
            ("GET", training + "/jobs", self._list_jobs),
            ("GET", training + "/job/{what}", self._job),
            ("POST", training + "/job/{what}", self._job),
            ("POST", "/v1beta/datasets", self._register),
            ("DELETE", "/v1beta/datasets/{dataset_id}", self._unregister),
        ]
        return Starlette(
            routes=[Route(path, self._seeing(call), methods=[verb]) for verb, path, call in routes]
        )

    def _seeing(
        self, call: Callable[[Request, Json], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            body = json.loads(raw) if raw else None
            self.seen.append(Seen(request.method, request.url.path, dict(request.headers), body))
            if AGENTS in request.url.path and AGENTS not in self.paths:
                return JSONResponse({"detail": "Not Found"}, 404)
            try:
                return await call(request, body)
            except LookupError as exc:
                return JSONResponse({"detail": f"Invalid value: {exc.args[0]}"}, 400)

        return endpoint

    async def _openapi(self, _request: Request, _body: Json) -> Response:
        return JSONResponse({"paths": {path: {} for path in self.paths}})

    async def _models(self, _request: Request, _body: Json) -> Response:
        rows = [
            {"identifier": f"vllm/{kind}", "provider_id": "vllm", "model_type": kind}
            for kind in self.model_types
        ]
        return JSONResponse({"data": rows})

    async def _create_agent(self, _request: Request, body: Json) -> Response:
        if "instructions" not in body["agent_config"]:
            loc = ["body", "agent_config", "instructions"]
            wrong = {"loc": loc, "msg": "Field required", "type": "missing"}
            return JSONResponse({"error": {"detail": {"errors": [wrong]}}}, 400)
        agent_id = str(uuid.uuid4())
        config = {"max_infer_iters": 10} | body["agent_config"]
        self.agents[agent_id] = {"agent_id": agent_id, "agent_config": config, "created_at": "now"}
        return JSONResponse({"agent_id": agent_id})

    async def _agent(self, request: Request, _body: Json) -> Response:
        agent = self._agent_of(request)
        if request.method == "DELETE":
            del self.agents[agent["agent_id"]]
            return Response(status_code=204)
        return JSONResponse(agent)

    async def _create_session(self, request: Request, body: Json) -> Response:
        agent = self._agent_of(request)
        session = {
            "session_id": str(uuid.uuid4()),
            "session_name": body["session_name"],
            "turns": [],
            "agent": agent["agent_id"],
        }
        self.sessions[session["session_id"]] = session
        return JSONResponse({"session_id": session["session_id"]})

    async def _list_sessions(self, request: Request, _body: Json) -> Response:
        agent_id = self._agent_of(request)["agent_id"]
        its = [each for each in self.sessions.values() if each["agent"] == agent_id]
        return JSONResponse({"data": [each | {"turns": []} for each in its], "has_more": False})

    async def _session(self, request: Request, body: Json) -> Response:
        session = self._session_of(request)
        if request.method == "DELETE":
            del self.sessions[session["session_id"]]
            return Response(status_code=204)
        turns = [each for each in session["turns"] if body is None or each["turn_id"] in body]
        return JSONResponse(session | {"turns": turns})

    async def _get_turn(self, request: Request, _body: Json) -> Response:
        return JSONResponse(self._turn_of(request))

    async def _get_step(self, request: Request, _body: Json) -> Response:
        step_id, turn = request.path_params["step_id"], self._turn_of(request)
        found = [each for each in turn["steps"] if each["step_id"] == step_id]
        if not found:
            raise LookupError(f"Provided step_id {step_id} could not be found")
        return JSONResponse({"step": found[0]})

    async def _turn(self, request: Request, body: Json) -> Response:
        session = self._session_of(request)
        if not body["stream"]:
            return JSONResponse({"detail": "Not implemented: Non-streaming"}, NOT_IMPLEMENTED)
        return StreamingResponse(self._events(session, body), media_type="text/event-stream")

    async def _events(self, session: Json, body: Json) -> AsyncIterator[str]:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            async for payload in self._payloads(session, body):
                wire = payload if "error" in payload else {"event": {"payload": payload}}
                yield f"data: {json.dumps(wire)}\n\n"
        finally:
            self.running -= 1
            self.gone.set()

    async def _payloads(self, session: Json, body: Json) -> AsyncIterator[Json]:
        turn: Json = {"turn_id": str(uuid.uuid4()), "session_id": session["session_id"]}
        turn |= {"input_messages": body.get("messages", []), "steps": []}
        if "messages" not in body:
            turn = session["turns"].pop()
            for payload in self._used(turn, body["tool_responses"]):
                yield payload
        said = str((body.get("messages") or body["tool_responses"])[-1]["content"])
        step: Json = {"step_type": "inference", "step_id": str(uuid.uuid4())}
        yield step | {"event_type": "step_start"}
        kind, _, rest = said.partition(" ")
        if kind == "WAIT":
            await self.go.wait()
        if kind == "ERROR":
            yield {"error": {"message": rest}}
        if kind in ("ERROR", "BREAK"):
            return
        name, _, arguments = rest.partition(" ")
        call = {"call_id": "c1", "tool_name": name, "arguments": arguments or "{}"}
        text = f"{'Echo' if 'messages' in body else 'Tool said'}: {said}"
        for word in re.findall(r"\S+\s*", text):
            delta = {"type": "text", "text": word}
            yield step | {"event_type": "step_progress", "delta": delta}
        calls = [call] if kind == "CALL" else []
        output = {"role": "assistant", "content": text, "tool_calls": calls}
        details = step | {"turn_id": turn["turn_id"], "model_response": output}
        yield step | {"event_type": "step_complete", "step_details": details}
        turn |= {"steps": [*turn["steps"], details], "output_message": output}
        session["turns"].append(turn)
        yield {"event_type": "turn_awaiting_input" if calls else "turn_complete", "turn": turn}

    def _used(self, turn: Json, tool_responses: Json) -> Iterator[Json]:
        """Yield the end of a step that never began, as the real server does."""
        step = {"step_type": "tool_execution", "step_id": str(uuid.uuid4())}
        details = step | {"turn_id": turn["turn_id"], "tool_responses": tool_responses}
        details["tool_calls"] = turn["output_message"]["tool_calls"]
        turn["steps"] = [*turn["steps"], details]
        yield step | {"event_type": "step_complete", "step_details": details}

    async def _train(self, _request: Request, body: Json) -> Response:
        job = body["job_uuid"]
        if job in self.jobs:
            raise LookupError(f"Job {job} already exists")
        self.jobs[job] = "in_progress"
        return JSONResponse({"job_uuid": job})

    async def _list_jobs(self, _request: Request, _body: Json) -> Response:
        return JSONResponse({"data": [{"job_uuid": job} for job in self.jobs]})

    async def _job(self, request: Request, body: Json) -> Response:
        job = body["job_uuid"] if body else request.query_params["job_uuid"]
        if job not in self.jobs:
            raise LookupError(f"Job {job} not found")
        if request.path_params["what"] == "cancel":
            return JSONResponse({"detail": "Not implemented: "}, NOT_IMPLEMENTED)
        return JSONResponse({"job_uuid": job, "status": self.jobs[job], "checkpoints": []})

    async def _register(self, _request: Request, body: Json) -> Response:
        self.datasets[body["dataset_id"]] = body
        return JSONResponse({"identifier": body["dataset_id"]})

    async def _unregister(self, request: Request, _body: Json) -> Response:
        del self.datasets[request.path_params["dataset_id"]]
        return Response(status_code=204)

    def _agent_of(self, request: Request) -> Json:
        agent_id = request.path_params["agent_id"]
        if agent_id not in self.agents:
            raise LookupError(f"Could not find agent info for {agent_id}")
        return self.agents[agent_id]

    def _session_of(self, request: Request) -> Json:
        self._agent_of(request)
        session_id = request.path_params["session_id"]
        if session_id not in self.sessions:
            raise LookupError(f"Session '{session_id}' not found or access denied.")
        return self.sessions[session_id]

    def _turn_of(self, request: Request) -> Json:
        turns, turn_id = self._session_of(request)["turns"], request.path_params["turn_id"]
        return next((each for each in turns if each["turn_id"] == turn_id), None)
