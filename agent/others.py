"""Those who may work on the objects of others: LCS's ``*_other_conversations``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InvalidParams

if TYPE_CHECKING:
    from a2a_state.tasks import Tasks
    from agent.caller import Caller
    from agent.model import SendRequest

READ = "read_other_conversations"
LIST = "list_other_conversations"
QUERY = "query_other_conversations"
DELETE = "delete_other_conversations"


async def acting(tasks: Tasks, caller: Caller, task_id: str | None, action: str) -> Caller:
    """Return the caller on behalf of whose task it is, if there is a need and they may; else as they are.

    A task that is not there and one that they may not see are the same to them: nothing is looked up.
    """
    if not task_id or action not in caller.actions:
        return caller
    owner = await tasks.owner(caller.tenant, task_id)
    return caller if owner is None or owner == caller.owner else caller.acting_for(owner)


def may_list(caller: Caller) -> bool:
    """Whether the tasks of others are listed as well: a list holds what was said in them."""
    return {LIST, READ} <= caller.actions


def check_message(caller: Caller, request: SendRequest) -> None:
    """Raise ``InvalidParams`` for what a message to the task of another must not bring along.

    A webhook would tell the actor of what comes later, and the owner of the webhook's credentials;
    other tasks of the owner would be read.
    """
    if caller.acts_as is None:
        return
    if request.push_config is not None:
        field = "configuration.taskPushNotificationConfig"
        raise InvalidParams(field, "is for the task's owner alone")
    if request.message.reference_task_ids:
        raise InvalidParams("message.referenceTaskIds", "is for the task's owner alone")
