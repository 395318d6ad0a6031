"""Shields of the Responses API, which look at a message before it does.

Guardrails alone would do, but for what becomes of the conversation: once they have refused a message in
it, 0.3.5 to 0.7.3 cannot read it back in a form that they take, and refuse all that follows.
"""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import msgspec

from agent.errors import StackError, TurnFailed
from agent.stacks.agents_api_wire import Violation, read
from agent.stacks.catalogue import answered, is_not_served
from agent.stacks.turn import Rejected, StepEnded, StepStarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from llama_stack_client import AsyncLlamaStackClient

    from agent.stacks.turn import Json, TurnEvent

REFUSED = "The agent may not answer this."
_REFUSABLE = {
    "guardrails": "the shields",
    "max_output_tokens": "the max_tokens",
    "temperature": "the temperature",
    "top_p": "the top_p",
}


class _Checked(msgspec.Struct):
    violation: Violation | None = None


async def look_at(
    client: AsyncLlamaStackClient, body: dict[str, Json], offered: Iterable[str], given: Json
) -> AsyncGenerator[TurnEvent]:
    """Have the guardrails of a body, and what is ``offered`` beside them, check what the user says.

    The last event is ``Rejected`` when a shield objects. What is offered checks nothing else, but on a
    server that runs shields as guardrails only: there they become such. Raises ``StackError``.
    """
    text, guardrails = _text_in(given), body.get("guardrails", [])
    unasked = dict.fromkeys(offered if text else ())
    shields = [*guardrails, *(shield for shield in unasked if shield not in guardrails)]
    async with aclosing(_look(client, shields if text else (), text)) as looks:
        async for event in looks:
            if isinstance(event, StepEnded):
                unasked.pop(event.name, None)
            yield event
    if unasked:
        body["guardrails"] = list(dict.fromkeys((*guardrails, *unasked)))


async def _look(
    client: AsyncLlamaStackClient, shields: Iterable[str], text: str
) -> AsyncGenerator[TurnEvent]:
    """Have shields check a text, until one cannot be asked or objects."""
    for shield in shields:
        call = client.safety.with_raw_response.run_shield(
            shield_id=shield, messages=[{"role": "user", "content": text}], params={}
        )
        try:
            violation = read(await answered(call), _Checked).violation
        except StackError as exc:
            if is_not_served(exc):
                return
            raise
        yield StepStarted("shield_call", shield)
        if violation is None or violation.violation_level != "error":
            yield StepEnded("shield_call", shield, {"violation": None})
            continue
        about = {"level": "error", "type": (violation.metadata or {}).get("violation_type")}
        yield StepEnded("shield_call", shield, {"violation": about})
        yield Rejected(violation.user_message or REFUSED)
        return


def _text_in(given: Json) -> str:
    """Return what the user says in an input; images and answers to a question say nothing."""
    if isinstance(given, str):
        return given
    messages = (item["content"] for item in given if item["type"] == "message")
    return "\n\n".join(part["text"] for parts in messages for part in parts if "text" in part)


@contextmanager
def explaining_refusals(body: dict[str, Json]) -> Iterator[None]:
    """Say what of an agent a server does not take: its shields, where it has none, or its sampling."""
    from llama_stack_client import BadRequestError  # takes a second to import

    try:
        yield
    except BadRequestError as exc:
        for name, what in _REFUSABLE.items():
            if name in body and f"'{name}'" in str(exc.body).replace('"', "'"):
                raise TurnFailed(f"Llama Stack cannot apply {what} of this agent.") from exc
        raise
