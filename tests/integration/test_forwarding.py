"""Agents and training jobs that live on a Llama Stack: each caller has their own, as on this server."""

from __future__ import annotations

import asyncio
import base64
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, override

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import JSONResponse

from a2a_state.agents import Agent, Agents
from a2a_state.forwarded import Forwarded, Theirs
from agent.agents.base import NewTurn
from agent.agents.choosing import ChosenAgents
from agent.agents.forwarded import ForwardedAgents
from agent.agents.serial import Serial
from agent.caller import Caller
from agent.engines.engines import Engines
from agent.engines.told import hearing, tell
from agent.errors import (
    AgentError,
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    NotProvided,
    PayloadTooLarge,
    QuotaExceeded,
    ResourceNotFound,
    StackUnavailable,
    TooManyTasks,
    TurnFailed,
    UnsupportedOperation,
)
from agent.inferences import Inferences
from agent.outgoing.fetch import Fetched
from agent.quotas.quotas import Quotas
from agent.settings import Settings
from agent.stacks import Credentials
from agent.stacks.forward import About, Forward, Taken, refusal
from agent.stacks.remote import RemoteStack
from agent.training.choosing import ChosenTraining
from agent.training.forwarded import ForwardedTraining
from rest_compat.llama_stack.engine_header import HEADER, EngineHeader
from tests.fakes.agents_server import AGENTS, FakeAgentsServer
from tests.fakes.server import run_server
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from a2a_state.database import Database
    from agent.agents.base import Json, TurnStream

pytestmark = pytest.mark.anyio

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "llama_stack"
CONFIG = {"model": "vllm/llm", "instructions": "Be brief."}
MCP = "http://tools.test/mcp"
_NAMES = (f"owner-{number}" for number in itertools.count())


class FakeFetch:
    """A web of one document."""

    async def get(
        self,
        url: str,
        max_bytes: int,
        *,
        field: str = "url",
        count: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Return the document."""
        if url != "http://web.test/doc":
            raise InvalidParams(field, "cannot be fetched")
        if max_bytes < 3:
            raise PayloadTooLarge
        if count is not None:
            count(3)
        return Fetched(b"doc", "text/plain")


class FakeDatasets:
    """Everybody has one dataset."""

    async def get(self, _caller: Caller, dataset_id: str, /) -> Json:
        """Return the dataset."""
        if dataset_id != "rows":
            raise ResourceNotFound("dataset", dataset_id)
        return {"identifier": dataset_id, "purpose": "post-training/messages"}

    async def pages(self, _caller: Caller, _dataset_id: str, /) -> AsyncIterator[Sequence[Json]]:
        """Yield two rows."""
        yield [{"n": 1}]
        yield [{"n": 2}]


class There(NamedTuple):
    """A Llama Stack, and what forwards to it."""

    server: FakeAgentsServer
    settings: Settings
    database: Database
    stack: RemoteStack
    forward: Forward
    agents: ForwardedAgents
    engines: Engines

    @property
    def chosen(self) -> ChosenAgents:
        """These agents, and those of this server."""
        return ChosenAgents(FakeOwn(), self.agents, self.engines)

    def limited(self, **settings: Any) -> ForwardedAgents:
        """Return agents with other settings, and without quotas."""
        others = self.settings.model_copy(update=settings)
        inferences = Inferences(self.stack, others.limits, None)
        serial, store = Serial(self.database), Forwarded(self.database)
        return ForwardedAgents(self.forward, store, others, inferences, serial, FakeFetch())


@pytest.fixture(scope="module")
async def there() -> AsyncIterator[There]:
    """Yield a Llama Stack that has everything; each test has an owner of its own."""
    server = FakeAgentsServer()
    async with run_server(server.app) as url, open_database("sqlite://") as database:
        settings = Settings.model_validate(
            {
                "llama_stack": {"url": url, "api_key": "s3cret"},
                "mcp_servers": [
                    {"name": "t", "url": MCP, "authorization_headers": {"X-Key": "client"}}
                ],
            }
        )
        stack = RemoteStack(settings)
        engines = Engines(settings, stack)
        forward = Forward(stack, engines.forget)
        await stack.open()
        await forward.open()
        inferences = Inferences(stack, settings.limits, None)
        store, serial = Forwarded(database), Serial(database)
        agents = ForwardedAgents(forward, store, settings, inferences, serial, FakeFetch())
        yield There(server, settings, database, stack, forward, agents, engines)
        await forward.close()
        await stack.close()


@pytest.fixture
def ann() -> Caller:
    """Return somebody who has nothing yet."""
    return Caller(next(_NAMES))


async def begin(agents: ForwardedAgents, caller: Caller) -> tuple[str, str]:
    """Make an agent and a session; returns their ids."""
    agent_id = (await agents.create(caller, CONFIG))["agent_id"]
    return agent_id, (await agents.create_session(caller, agent_id, "s"))["session_id"]


def asking(text: str, **more: Any) -> NewTurn:
    """Return a turn of one message."""
    return NewTurn(messages=({"role": "user", "content": text},), **more)


async def end(stream: TurnStream) -> list[Json]:
    """Read a turn to its end; returns the payloads of its events."""
    try:
        return [chunk["event"]["payload"] async for chunk in stream.chunks()]
    finally:
        await stream.aclose()


async def test_an_agent_lives_there_and_is_its_makers_alone(there: There, ann: Caller) -> None:
    """Another's, and one in another tenant, is as one that is not there; deleting is idempotent."""
    agents = there.chosen
    agent_id = (await agents.create(ann, CONFIG))["agent_id"]

    assert (await agents.get(ann, agent_id))["agent_config"] == CONFIG | {"max_infer_iters": 10}
    for other in (Caller("bob"), ann.within("elsewhere")):
        with pytest.raises(ResourceNotFound, match=f"Agent with ID {agent_id} does not exist"):
            await agents.get(other, agent_id)
        with pytest.raises(ResourceNotFound):
            await agents.create_session(other, agent_id, "s")
        await agents.delete(other, agent_id)
        assert (await there.agents.list(other, 0, 10))["data"] == []
    assert agent_id in there.server.agents
    await agents.delete(ann, agent_id)
    await agents.delete(ann, agent_id)
    assert agent_id not in there.server.agents
    with pytest.raises(ResourceNotFound):
        await agents.get(ann, agent_id)


async def test_a_configuration_that_the_server_refuses_names_the_field(
    there: There, ann: Caller
) -> None:
    """In words of ours: the server's may quote what was sent."""
    with pytest.raises(InvalidParams) as refused:
        await there.agents.create(ann, {"model": "vllm/llm"})

    assert (refused.value.field, refused.value.problem) == (
        "agent_config.instructions",
        "is missing",
    )


async def test_agents_are_listed_in_pages_without_those_that_were_lost(
    there: There, ann: Caller
) -> None:
    """A server with a new disk knows them no more: then neither do we."""
    ids = [(await there.agents.create(ann, CONFIG))["agent_id"] for _ in range(3)]
    page = await there.agents.list(ann, 0, 2)
    assert ([each["agent_id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
    del there.server.agents[ids[0]]

    assert [each["agent_id"] for each in (await there.agents.list(ann, 0, 9))["data"]] == ids[1:]
    assert await there.agents.count(ann) == 2


async def test_an_owner_has_only_so_many_agents(there: There, ann: Caller) -> None:
    """Here and there together; what two requests make at once, too."""
    few = there.settings.experimental.model_copy(update={"agents_per_owner": 2})
    agents = there.limited(experimental=few)
    here = Agent(f"of {ann.owner}", ann.owner, "", {}, 0)
    assert await Agents(there.database).add(here, 2)
    before = len(there.server.agents)

    made = await asyncio.gather(*(agents.create(ann, CONFIG) for _ in "ab"), return_exceptions=True)

    assert [type(each) for each in made].count(UnsupportedOperation) == 1
    with pytest.raises(UnsupportedOperation):
        await agents.create(ann, CONFIG)
    assert len(there.server.agents) == before + 1


async def test_sessions_are_listed_read_and_deleted(there: There, ann: Caller) -> None:
    """Lists have no turns; one can ask for some of the turns; a lost session is not listed."""
    agents = there.agents
    agent_id, session_id = await begin(agents, ann)
    lost = (await agents.create_session(ann, agent_id, "lost"))["session_id"]
    del there.server.sessions[lost]
    turns = [
        (await end(await agents.create_turn(ann, agent_id, session_id, asking(text))))[-1]
        for text in "ab"
    ]
    turn_ids = [turn["turn"]["turn_id"] for turn in turns]

    listed = (await agents.list_sessions(ann, agent_id, 0, 10))["data"]
    assert [(each["session_id"], each["turns"]) for each in listed] == [(session_id, [])]
    whole = await agents.get_session(ann, agent_id, session_id, None)
    assert [turn["turn_id"] for turn in whole["turns"]] == turn_ids
    some = await agents.get_session(ann, agent_id, session_id, turn_ids[1:])
    assert [turn["turn_id"] for turn in some["turns"]] == turn_ids[1:]
    await agents.delete_session(ann, agent_id, session_id)
    await agents.delete_session(ann, agent_id, session_id)
    with pytest.raises(ResourceNotFound, match="Session"):
        await agents.get_session(ann, agent_id, session_id, None)


async def test_a_turn_is_passed_on_as_it_is(there: There, ann: Caller) -> None:
    """With what this server shows to a Llama Stack, and never the version of a client."""
    agent_id, session_id = await begin(there.agents, ann)
    shown = Credentials(mcp_headers={"t": {"X-Key": "k"}})
    caller = Caller(ann.owner, credentials=shown)
    turn = asking("hi", toolgroups=("mcp::t",), tool_config={"tool_choice": "none"})

    events = await end(await there.agents.create_turn(caller, agent_id, session_id, turn))

    kinds = ["step_start", "step_progress", "step_progress", "step_complete", "turn_complete"]
    assert [each["event_type"] for each in events] == kinds
    seen = there.server.seen[-1]
    assert seen.body == {
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "toolgroups": ["mcp::t"],
        "tool_config": {"tool_choice": "none"},
    }
    assert seen.headers["authorization"] == "Bearer s3cret"
    assert MCP in seen.headers["x-llamastack-provider-data"]
    assert "x-llamastack-client-version" not in seen.headers


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("ERROR 404: Model 'x' not found. Use 'client.models.list()'", ModelNotFound),
        ("ERROR 404: Tool Group 'x' not found.", InvalidParams),
        ("ERROR 400: Invalid value: Session 'x' not found or access denied.", ResourceNotFound),
        ("ERROR 400: Invalid value: Unexpected document mime type: x", InvalidParams),
        ("ERROR 429: Error code: 429", TooManyTasks),
        ("ERROR 501: Not implemented: x", NotProvided),
        ("ERROR 503: x", StackUnavailable),
        ("ERROR 500: Internal server error: secret", TurnFailed),
        ("BREAK", TurnFailed),
    ],
)
async def test_a_turn_that_fails_says_what_kind_of_failure_it_was(
    there: There, ann: Caller, said: str, error: type[AgentError]
) -> None:
    """And nothing of what the server says; the session can be used on."""
    agent_id, session_id = await begin(there.agents, ann)

    with pytest.raises(error) as failed:
        await end(await there.agents.create_turn(ann, agent_id, session_id, asking(said)))

    assert "secret" not in failed.value.message
    await end(await there.agents.create_turn(ann, agent_id, session_id, asking("again")))


async def test_turns_of_a_session_follow_each_other(there: There, ann: Caller) -> None:
    """The server would run them side by side, and the later one would not know the earlier."""
    agent_id, session_id = await begin(there.agents, ann)
    there.server.most_running = 0

    async def run(text: str) -> None:
        await end(await there.agents.create_turn(ann, agent_id, session_id, asking(text)))

    await asyncio.gather(*(run(text) for text in "abc"))

    assert there.server.most_running == 1
    session = await there.agents.get_session(ann, agent_id, session_id, None)
    assert len(session["turns"]) == 3


async def test_who_leaves_a_turn_ends_it(there: There, ann: Caller) -> None:
    """The next turn of the session need not wait for it."""
    agent_id, session_id = await begin(there.agents, ann)
    stream = await there.agents.create_turn(ann, agent_id, session_id, asking("WAIT"))
    await anext(stream.chunks())
    there.server.gone.clear()

    await stream.aclose()

    with anyio.fail_after(5):
        await there.server.gone.wait()
        await end(await there.agents.create_turn(ann, agent_id, session_id, asking("next")))


async def test_a_resume_answers_exactly_what_the_last_turn_waits_for(
    there: There, ann: Caller
) -> None:
    """The server would run on with anything, and with any turn."""
    agents = there.agents
    agent_id, session_id = await begin(agents, ann)
    first = (await end(await agents.create_turn(ann, agent_id, session_id, asking("hi"))))[-1]
    asked = (await end(await agents.create_turn(ann, agent_id, session_id, asking("CALL f"))))[-1]
    assert asked["event_type"] == "turn_awaiting_input"
    turn_id = asked["turn"]["turn_id"]
    answer = {"call_id": "c1", "tool_name": "f", "content": "42"}

    for wrong, responses in ((first["turn"]["turn_id"], [answer]), (turn_id, [answer, answer])):
        with pytest.raises(InvalidParams):
            await end(await agents.resume_turn(ann, agent_id, session_id, wrong, responses))
    with pytest.raises(ResourceNotFound, match="Turn"):
        await end(await agents.resume_turn(ann, agent_id, session_id, "nope", [answer]))
    events = await end(await agents.resume_turn(ann, agent_id, session_id, turn_id, [answer]))
    assert events[-1]["event_type"] == "turn_complete"
    with pytest.raises(InvalidParams, match="does not wait"):
        await end(await agents.resume_turn(ann, agent_id, session_id, turn_id, [answer]))


async def test_turns_and_steps_are_read_by_id(there: There, ann: Caller) -> None:
    """What the server answers null for is not there, and an id is never a piece of a path."""
    agents = there.agents
    agent_id, session_id = await begin(agents, ann)
    turn = (await end(await agents.create_turn(ann, agent_id, session_id, asking("hi"))))[-1][
        "turn"
    ]
    turn_id, step_id = turn["turn_id"], turn["steps"][0]["step_id"]

    assert await agents.get_turn(ann, agent_id, session_id, turn_id) == turn
    step = await agents.get_step(ann, agent_id, session_id, turn_id, step_id)
    assert step == {"step": turn["steps"][0]}
    for missing in ("nope", "../../x", "a/b?c"):
        with pytest.raises(ResourceNotFound, match="Turn"):
            await agents.get_turn(ann, agent_id, session_id, missing)
        with pytest.raises(ResourceNotFound, match="Step"):
            await agents.get_step(ann, agent_id, session_id, turn_id, missing)


async def test_what_a_turn_names_by_its_url_is_fetched_here(there: There, ann: Caller) -> None:
    """The server would call any host of its network; what may not be called is refused before."""
    agent_id, session_id = await begin(there.agents, ann)
    url = {"uri": "http://web.test/doc"}
    image = {"type": "image", "image": {"url": url}}
    documents = ({"content": url, "mime_type": "text/plain"},)
    turn = NewTurn(messages=({"role": "user", "content": [image]},), documents=documents)

    await end(await there.agents.create_turn(ann, agent_id, session_id, turn))

    body = there.server.seen[-1].body
    data = base64.b64encode(b"doc").decode()
    assert body["messages"][0]["content"] == [{"type": "image", "image": {"data": data}}]
    assert body["documents"] == [{"content": "doc", "mime_type": "text/plain"}]
    inside = ({"content": {"uri": "http://10.0.0.1/"}, "mime_type": "text/plain"},)
    turn = asking("x", documents=inside)
    with pytest.raises(InvalidParams, match=r"documents\.0\.content"):
        await end(await there.agents.create_turn(ann, agent_id, session_id, turn))


async def test_turns_there_are_taken_from_the_quota(there: There, ann: Caller) -> None:
    """What the session holds is read again with each turn; who has nothing left is refused."""
    limiter: Json = {"name": "l", "type": "user_limiter", "period": "1 day"}
    limiter |= {"initial_quota": 40, "quota_increase": 0}
    settings = Settings.model_validate({"quota_handlers": {"limiters": [limiter]}})
    quotas = Quotas(settings, there.database)
    inferences = Inferences(there.stack, there.settings.limits, quotas)
    serial, store = Serial(there.database), Forwarded(there.database)
    agents = ForwardedAgents(there.forward, store, there.settings, inferences, serial, FakeFetch())
    agent_id, session_id = await begin(agents, ann)

    lefts = []
    for text in ("x" * 40, "y"):
        await end(await agents.create_turn(ann, agent_id, session_id, asking(text)))
        lefts.append((await quotas.available(ann.user_id))["l"])

    # 40 characters in, and back with "Echo: "; then all that and one more, and "Echo: y".
    assert lefts == [40 - 10 - 12, 0]
    with pytest.raises(QuotaExceeded):
        await end(await agents.create_turn(ann, agent_id, session_id, asking("z")))


async def test_a_server_that_is_down_or_speaks_nonsense_is_told_apart() -> None:
    async def nonsense(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: {nonsense"})

    about = About("agent", "a")
    async with run_server(nonsense) as url:
        stack = RemoteStack(Settings.model_validate({"llama_stack": {"url": url}}))
        forward = Forward(stack, lambda: None)
        await forward.open()
        with pytest.raises(InvalidAgentResponse):
            await forward.call("GET", "/v1alpha/agents/a", about)
        with pytest.raises(InvalidAgentResponse):
            await anext(forward.stream("/v1alpha/agents/a", about, {}))
    with pytest.raises(StackUnavailable):
        await forward.call("GET", "/v1alpha/agents/a", about)
    await forward.close()


@pytest.mark.parametrize(
    ("name", "kind", "error"),
    [
        ("agents/a03_agent_create_missing_instructions", "agent", InvalidParams),
        ("agents/a10_agent_get_missing", "agent", ResourceNotFound),
        ("agents/a16_unknown_route", "agent", ResourceNotFound),
        ("agents/b05_session_get_missing", "session", ResourceNotFound),
        ("agents/c02_turn_nonstream", "session", NotProvided),
        ("agents/c08_step_get_missing", "step", ResourceNotFound),
        ("datasets_eval_posttraining/g04_dataset_unregister_again", "dataset", ResourceNotFound),
        ("datasets_eval_posttraining/i07_pt_sft_duplicate", "job_uuid", Taken),
        ("datasets_eval_posttraining/i09_pt_cancel", "job", NotProvided),
        ("datasets_eval_posttraining/i11_pt_status_missing", "job", ResourceNotFound),
    ],
)
def test_what_a_real_server_refuses_is_understood(
    name: str, kind: str, error: type[AgentError]
) -> None:
    """And said in other words, without what it said."""
    folder, _, exchange = name.partition("/")
    head = RECORDINGS / f"v0.3.5_{folder}" / f"{exchange}.head.txt"
    if not head.exists():
        pytest.skip("there are no recordings")
    status = int(head.read_text().partition("\nHTTP/1.1 ")[2][:3])
    said = head.with_name(f"{exchange}.resp.json").read_text()

    found = refusal(status, said, About(kind, "x"))

    assert type(found) is error
    assert "Invalid value" not in found.message


class FakeOwn(ForwardedAgents):
    """Agents of this server: that of the settings, and one that was made before."""

    settings_agent_id = "ours"
    ids = ("ours", "old")

    def __init__(self) -> None:
        """Nothing is forwarded."""

    @override
    async def list(self, caller: Caller, start: int, limit: int) -> Json:
        del caller  # they are everybody's
        data = [{"agent_id": each} for each in self.ids[start : start + limit]]
        return {"data": data, "has_more": start + limit < len(self.ids), "url": "/v1alpha/agents"}

    @override
    async def get(self, caller: Caller, agent_id: str) -> Json:
        del caller  # they are everybody's
        if agent_id not in self.ids:
            raise ResourceNotFound("agent", agent_id)
        return {"agent_id": agent_id}

    @override
    async def create_session(self, caller: Caller, agent_id: str, name: str) -> Json:
        return {"session_id": name} | await self.get(caller, agent_id)

    @override
    async def delete(self, caller: Caller, agent_id: str) -> None:
        """Keep them."""


async def test_each_agent_is_answered_for_where_it_was_made(there: There, ann: Caller) -> None:
    """New ones are made on the Llama Stack; lists go over both, in pages."""
    chosen = there.chosen
    told = []
    with hearing() as heard:
        made = [(await chosen.create(ann, CONFIG))["agent_id"] for _ in range(2)]
        told.append(heard["agents"])
        for agent_id in ("ours", made[0], "old"):
            assert (await chosen.get(ann, agent_id))["agent_id"] == agent_id
            told.append(heard["agents"])

    assert told == ["forwarded", "emulated", "forwarded", "emulated"]
    every = ["ours", *made, "old"]
    for start, limit in itertools.product(range(5), range(1, 5)):
        page = await chosen.list(ann, start, limit)
        assert [each["agent_id"] for each in page["data"]] == every[start : start + limit]
        assert page["has_more"] is (start + limit < len(every))


async def test_agents_are_gone_with_the_api_of_the_server(there: There, ann: Caller) -> None:
    """A Llama Stack that was upgraded has none, which shows at once; ours are still there."""
    agent_id, _ = await begin(there.agents, ann)
    chosen, paths = there.chosen, there.server.paths
    await chosen.get(ann, agent_id)
    try:
        there.server.paths = paths - {AGENTS}
        with pytest.raises(ResourceNotFound), hearing() as before:
            await chosen.get(ann, agent_id)
        with pytest.raises(ResourceNotFound), hearing() as after:
            await chosen.get(ann, agent_id)
        assert len((await chosen.list(ann, 0, 9))["data"]) == 2
    finally:
        there.server.paths = paths
        there.engines.forget()

    assert (before, after) == ({"agents": "forwarded"}, {"agents": "emulated"})


async def test_agents_there_are_within_the_rules_of_the_settings(there: There, ann: Caller) -> None:
    """Where nobody may choose shields or prompts."""
    rules = {"disable_shield_ids_override": True, "disable_query_system_prompt": True}
    settings = Settings.model_validate(
        {
            "customization": rules | {"system_prompt": "Be kind."},
            "agent": {"input_shields": ["guard"], "output_shields": ["last"]},
        }
    )
    inferences = Inferences(there.stack, settings.limits, None)
    store, serial = Forwarded(there.database), Serial(there.database)
    agents = ForwardedAgents(there.forward, store, settings, inferences, serial, FakeFetch())

    agent_id = (await agents.create(ann, CONFIG | {"input_shields": ["mine", "guard"]}))["agent_id"]

    made = there.server.agents[agent_id]["agent_config"]
    assert (made["input_shields"], made["output_shields"]) == (["guard", "mine"], ["last"])
    assert made["instructions"] == "Be kind.\n\nBe brief."


def training_of(there: There) -> ForwardedTraining:
    """Return the training of a Llama Stack."""
    return ForwardedTraining(there.forward, Forwarded(there.database), FakeDatasets(), 2)


def job(job_uuid: str, dataset_id: str = "rows") -> Json:
    """Return the body of a request for a job."""
    config = {"n_epochs": 1, "data_config": {"dataset_id": dataset_id, "batch_size": 1}}
    return {"job_uuid": job_uuid, "training_config": config, "model": "m"}


async def test_a_training_job_gets_a_copy_of_the_dataset(there: There, ann: Caller) -> None:
    """Which is deleted when the job has ended; the job goes by the caller's id."""
    training, server = training_of(there), there.server

    body = job("j") | {"checkpoint_dir": "/etc", "output": "/etc"}
    assert await training.supervised_fine_tune(ann, body) == {"job_uuid": "j"}
    sent = server.seen[-1].body
    assert sent.keys() == job("j").keys()
    copy = sent["training_config"]["data_config"]["dataset_id"]
    assert server.datasets[copy]["source"] == {"type": "rows", "rows": [{"n": 1}, {"n": 2}]}
    assert (await training.status(ann, "j"))["status"] == "in_progress"
    assert copy in server.datasets
    server.jobs[sent["job_uuid"]] = "completed"
    assert await training.status(ann, "j") == {
        "job_uuid": "j",
        "status": "completed",
        "checkpoints": [],
    }
    assert copy not in server.datasets
    assert (await training.artifacts(ann, "j"))["job_uuid"] == "j"


@pytest.mark.parametrize("look", ["list", "artifacts", "begin"])
async def test_copies_are_deleted_whatever_the_owner_looks_at(
    there: There, ann: Caller, look: str
) -> None:
    training, server = training_of(there), there.server
    for name in "ab":
        await training.supervised_fine_tune(ann, job(name))
    sent = server.seen[-1].body
    server.jobs[sent["job_uuid"]] = "failed"

    match look:
        case "list":
            await training.list(ann)
        case "artifacts":
            await training.artifacts(ann, "a")
        case _:
            await training.supervised_fine_tune(ann, job("c"))

    assert sent["training_config"]["data_config"]["dataset_id"] not in server.datasets


async def test_an_owner_has_only_so_many_jobs_that_have_not_ended(
    there: There, ann: Caller
) -> None:
    """That of another is not counted; the place of one that ended is free."""
    training, server = training_of(there), there.server
    for name in "ab":
        await training.supervised_fine_tune(ann, job(name))

    with pytest.raises(TooManyTasks):
        await training.supervised_fine_tune(ann, job("c"))
    await training.supervised_fine_tune(Caller(next(_NAMES)), job("c"))
    server.jobs.update(dict.fromkeys(server.jobs, "completed"))
    await training.supervised_fine_tune(ann, job("c"))


@pytest.mark.parametrize("name", ["/models/model", "../model", "a/../b", "~/model", "a/b/c/d"])
@pytest.mark.parametrize("field", ["model", "finetuned_model"])
async def test_no_model_is_a_path_on_the_disk_of_the_server(
    there: There, ann: Caller, field: str, name: str
) -> None:
    with pytest.raises(InvalidParams, match=field):
        await training_of(there).supervised_fine_tune(ann, job("j") | {field: name})


async def test_training_jobs_are_their_owners_alone(there: There, ann: Caller) -> None:
    """Two callers may use the same id; one caller may not, until the server has forgotten it."""
    training, bob = training_of(there), Caller(next(_NAMES))
    for caller in (ann, bob):
        await training.supervised_fine_tune(caller, job("same"))
    await training.supervised_fine_tune(ann, job("more"))

    assert await training.list(bob) == {"data": [{"job_uuid": "same"}]}
    with pytest.raises(ResourceNotFound, match="more"):
        await training.status(bob, "more")
    with pytest.raises(InvalidParams, match="same exists already"):
        await training.supervised_fine_tune(ann, job("same"))
    with pytest.raises(NotProvided, match="cannot cancel"):
        await training.cancel(ann, "same")
    with pytest.raises(ResourceNotFound, match="none"):
        await training.cancel(ann, "none")
    there.server.jobs.clear()
    with pytest.raises(ResourceNotFound):
        await training.status(ann, "same")
    assert await training.list(ann) == {"data": []}
    await training.supervised_fine_tune(ann, job("same"))


async def test_a_job_that_cannot_begin_leaves_nothing(there: There, ann: Caller) -> None:
    training = training_of(there)
    with pytest.raises(ResourceNotFound, match="Dataset"):
        await training.supervised_fine_tune(ann, job("j", "nope"))

    store = Forwarded(there.database)
    assert await store.count(Theirs(ann.owner, ann.tenant), "training_job") == 0


async def test_training_is_chosen_by_the_table(there: There, ann: Caller) -> None:
    own, forwarded = training_of(there), training_of(there)
    chosen = ChosenTraining(own, forwarded, there.engines)

    with hearing() as heard:
        await chosen.supervised_fine_tune(ann, job("j"))
        assert await chosen.list(ann) == {"data": [{"job_uuid": "j"}]}

    assert heard == {"post_training": "forwarded"}


async def test_answers_say_which_engine_has_answered(there: There) -> None:
    """What was told, or else what the table says; what is none of the operations says nothing."""
    app = FastAPI()

    @app.get("/v1alpha/agents")
    async def listing(told: bool = False) -> dict[str, str]:
        if told:
            tell("agents", "emulated")
            tell("inference", "embedded")
        return {}

    @app.get("/v1beta/datasets/{dataset_id:path}")
    async def failing(dataset_id: str) -> None:
        raise PayloadTooLarge(dataset_id)

    @app.get("/other")
    async def other() -> None:
        """Say nothing."""

    @app.exception_handler(PayloadTooLarge)
    async def refuse(_request: Any, _error: Exception) -> JSONResponse:
        return JSONResponse({}, 413)

    engines = there.engines
    await engines.table()
    transport = httpx.ASGITransport(EngineHeader(app, engines))
    async with httpx.AsyncClient(transport=transport, base_url="http://us.test") as http:
        found = [
            (await http.get(path)).headers.get(HEADER)
            for path in (
                "/v1alpha/agents",
                "/v1alpha/agents?told=1",
                "/v1beta/datasets/a/b",
                "/other",
            )
        ]

    assert found == ["forwarded", "emulated", "embedded", None]


@pytest.mark.parametrize("url_of", ["sqlite", "postgres"])
async def test_the_store_knows_whose_things_are(
    url_of: str, request: pytest.FixtureRequest
) -> None:
    """An id that is used again belongs to who used it last; children go with what they belong to."""
    url = "sqlite://" if url_of == "sqlite" else request.getfixturevalue("postgres_url")
    ann, bob = Theirs("ann", ""), Theirs("bob", "")
    async with open_database(url) as database:
        store = Forwarded(database)
        await store.add(ann, "agent", "a")
        for session in "xyz":
            await store.add(ann, "session", session, "a")
        await store.add(bob, "session", "x", "b")
        owned = [
            await store.owns_session(*of)
            for of in ((ann, "a", "x"), (bob, "a", "x"), (ann, "a", "w"), (bob, "b", "x"))
        ]
        assert owned == [True, False, False, False]
        assert await Agents(database).add(Agent("own", "ann", "", {}, 0), 1)
        assert (await store.has_place(ann, 3), await store.has_place(ann, 2)) == (True, False)
        assert not await store.add_agent(ann, "b", 2)
        added = [await store.add_job(ann, job, job, 1) for job in "jk"]
        assert (added, await store.count(ann, "training_running")) == ([True, False], 1)
        page = [each.remote_id for each in await store.list(ann, "session", "a", 1, 1)]
        assert page == ["y"]
        await store.remove(bob, "agent", ["a"])
        assert await store.owns(ann, "agent", "a")
        await store.remove(ann, "agent", ["a"])
        assert await store.count(ann, "session") == 0
        assert await store.owns(bob, "session", "x", "b")
        await store.add(bob, "agent", "a")
        await store.add(ann, "agent", "a")
        assert (await store.owns(bob, "agent", "a"), await store.owns(ann, "agent", "a")) == (
            False,
            True,
        )
