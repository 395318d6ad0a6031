"""Which operations take which ids, and how each says them: data that the tests go through.

``@name`` stands for an id. A kind of id is what one case is about: somebody's real one is held against one
that there is not, all else being the same.
"""

from __future__ import annotations

from typing import Any

type Json = Any
type Kinds = dict[str, Json]
"""By kind of id, what is asked: parameters, or query and body."""

type Table = dict[str, Kinds]
"""By the name that an operation has on its surface; one without kinds takes no id."""

TAKES_NO_ID: Kinds = {}
HOOK = "http://127.0.0.1:8999/hook"

# The id that a kind is about. What is said with it is the asker's own: ``@own`` is a task of theirs.
VARIES = {
    "task": "@task",
    "event of a task": "@task",
    "ended task": "@ended",
    "referenced task": "@ended",
    "context": "@context",
    "ended context": "@ended-context",
    "conversation": "@context",
    "continued conversation": "@context",
    "deleted conversation": "@ended-context",
    "push config": "@config",
    "page token": "@token",
    "page token of push configs": "@config-token",
    "idempotency key": "@key",
    "message": "@message",
}
HEADERS = {
    "idempotency key": {"Idempotency-Key": "@key"},
    "event of a task": {"Last-Event-ID": "1"},
}
# For whom asks it is theirs alone, and new.
MAKES_ONES_OWN = frozenset({"context", "idempotency key", "message"})
SENDING = frozenset({"send", "stream"})


def _sends(message: Json, wrapped: str = "message") -> Kinds:
    """Return what is sent, ``message`` being one in the words of its version."""
    said = {
        "task": {"taskId": "@task"},
        "context": {"contextId": "@context"},
        "referenced task": {"referenceTaskIds": ["@ended"]},
        "idempotency key": {},
        "message": {"messageId": "@message"},
    }
    if wrapped == "request":
        # The Protocol Buffers file of 0.3 has no such member.
        del said["referenced task"]
    return {kind: {wrapped: message | fields} for kind, fields in said.items()}


_LISTS: Kinds = {
    "context": {"contextId": "@context"},
    "page token": {"pageSize": 1, "pageToken": "@token"},
}
_SENDS_1_0 = _sends({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]})
_MESSAGE_0_3 = {
    "kind": "message",
    "messageId": "m",
    "role": "user",
    "parts": [{"kind": "text", "text": "hi"}],
}
_SENDS_0_3 = _sends(_MESSAGE_0_3)
_SENDS_PROTO = _sends(
    {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "hi"}]}, "request"
)
_TASK: Kinds = {"task": {"id": "@task"}}
_SUBSCRIBES: Kinds = _TASK | {"event of a task": {"id": "@task"}}

# JSON-RPC and gRPC have the same names and parameters in 1.0.
CALLS_1_0: Table = {
    "SendMessage": _SENDS_1_0,
    "SendStreamingMessage": _SENDS_1_0,
    "GetTask": _TASK,
    "ListTasks": _LISTS,
    "CancelTask": _TASK,
    "SubscribeToTask": _SUBSCRIBES,
    "CreateTaskPushNotificationConfig": {
        "task": {"taskId": "@task", "id": "@config", "url": HOOK},
        "push config": {"taskId": "@own", "id": "@config", "url": HOOK},
    },
    "GetTaskPushNotificationConfig": {
        "task": {"taskId": "@task", "id": "@config"},
        "push config": {"taskId": "@own", "id": "@config"},
    },
    "ListTaskPushNotificationConfigs": {
        "task": {"taskId": "@task"},
        "page token of push configs": {
            "taskId": "@own",
            "pageSize": 1,
            "pageToken": "@config-token",
        },
    },
    "DeleteTaskPushNotificationConfig": {
        "task": {"taskId": "@task", "id": "@config"},
        "push config": {"taskId": "@own", "id": "@config"},
    },
    "GetExtendedAgentCard": TAKES_NO_ID,
}

_CONFIG_0_3: Kinds = {
    "task": {"id": "@task", "pushNotificationConfigId": "@config"},
    "push config": {"id": "@own", "pushNotificationConfigId": "@config"},
}
_SETS_0_3: Kinds = {
    "task": {"taskId": "@task", "pushNotificationConfig": {"url": HOOK, "id": "@config"}},
    "push config": {"taskId": "@own", "pushNotificationConfig": {"url": HOOK, "id": "@config"}},
}
RPC_0_3: Table = {
    "message/send": _SENDS_0_3,
    "message/stream": _SENDS_0_3,
    "tasks/get": _TASK,
    "tasks/list": _LISTS,
    "tasks/cancel": _TASK,
    "tasks/resubscribe": _SUBSCRIBES,
    "tasks/pushNotificationConfig/set": _SETS_0_3,
    "tasks/pushNotificationConfig/get": _CONFIG_0_3,
    "tasks/pushNotificationConfig/list": _TASK,
    "tasks/pushNotificationConfig/delete": _CONFIG_0_3,
    "agent/getAuthenticatedExtendedCard": TAKES_NO_ID,
}

_NAMED: Kinds = {"task": {"name": "tasks/@task"}}
_NAMED_CONFIG: Kinds = {
    "task": {"name": "tasks/@task/pushNotificationConfigs/@config"},
    "push config": {"name": "tasks/@own/pushNotificationConfigs/@config"},
}


def _creates_proto(task: str) -> Json:
    name = f"tasks/{task}/pushNotificationConfigs/@config"
    config = {"name": name, "pushNotificationConfig": {"id": "@config", "url": HOOK}}
    return {"parent": f"tasks/{task}", "configId": "@config", "config": config}


_CREATES_PROTO: Kinds = {"task": _creates_proto("@task"), "push config": _creates_proto("@own")}
_CONFIGS_TOKEN: Kinds = {
    "page token of push configs": {
        "parent": "tasks/@own",
        "pageSize": 1,
        "pageToken": "@config-token",
    }
}
GRPC_0_3: Table = {
    "SendMessage": _SENDS_PROTO,
    "SendStreamingMessage": _SENDS_PROTO,
    "GetTask": _NAMED,
    "CancelTask": _NAMED,
    "TaskSubscription": _NAMED | {"event of a task": {"name": "tasks/@task"}},
    "CreateTaskPushNotificationConfig": _CREATES_PROTO,
    "GetTaskPushNotificationConfig": _NAMED_CONFIG,
    "ListTaskPushNotificationConfig": {"task": {"parent": "tasks/@task"}} | _CONFIGS_TOKEN,
    "DeleteTaskPushNotificationConfig": _NAMED_CONFIG,
    "GetAgentCard": TAKES_NO_ID,
}

# Of HTTP the path has most ids; what stands here is the query of GET and DELETE, and the body of POST.
_IN_PATH: Kinds = {"task": None}
_IN_PATH_SUBSCRIBES: Kinds = {"task": None, "event of a task": None}
_IN_PATH_CONFIG: Kinds = {"task": None, "push config": None}
_CONFIGS = "/tasks/{task}/pushNotificationConfigs"
_SHARED: Table = {
    "GET /tasks": _LISTS,
    "GET /tasks/{task}": _IN_PATH,
    "POST /tasks/{task}:cancel": _IN_PATH,
    "GET /tasks/{task}:subscribe": _IN_PATH_SUBSCRIBES,
    "POST /tasks/{task}:subscribe": _IN_PATH_SUBSCRIBES,
    f"GET {_CONFIGS}": {
        "task": None,
        "page token of push configs": {"pageSize": 1, "pageToken": "@config-token"},
    },
    f"GET {_CONFIGS}/{{config}}": _IN_PATH_CONFIG,
    f"DELETE {_CONFIGS}/{{config}}": _IN_PATH_CONFIG,
}
HTTP_1_0: Table = _SHARED | {
    "POST /message:send": _SENDS_1_0,
    "POST /message:stream": _SENDS_1_0,
    f"POST {_CONFIGS}": {
        "task": {"id": "@config", "url": HOOK},
        "push config": {"id": "@config", "url": HOOK},
    },
    "DELETE /tasks/{task}": {"ended task": None},
    "DELETE /contexts/{context}": {"ended context": None},
    "GET /extendedAgentCard": TAKES_NO_ID,
}
HTTP_0_3: Table = _SHARED | {
    "POST /message:send": _SENDS_0_3,
    "POST /message:stream": _SENDS_0_3,
    f"POST {_CONFIGS}": _SETS_0_3,
    "GET /card": TAKES_NO_ID,
}
HTTP_0_3_PROTO: Table = HTTP_0_3 | {
    "POST /message:send": _SENDS_PROTO,
    "POST /message:stream": _SENDS_PROTO,
    f"POST {_CONFIGS}": _CREATES_PROTO,
}

# Beside the bindings.
A2A_ROUTES: Table = {
    "GET /.well-known/agent-card.json": TAKES_NO_ID,
    "GET /.well-known/agent.json": TAKES_NO_ID,
    "GET /.well-known/jwks.json": TAKES_NO_ID,
    "GET /.well-known/jwks.json/": TAKES_NO_ID,
    "GET /.well-known/agent-card.json/": TAKES_NO_ID,
    "GET /.well-known/agent.json/": TAKES_NO_ID,
    "GET /a2a": TAKES_NO_ID,
    "GET /a2a/": TAKES_NO_ID,
    "GET /": TAKES_NO_ID,
}
# What they name is the stack's, and the same for everybody.
OF_NOBODY = frozenset({"GET /v1/providers/{provider_id}", "GET /v1/rags/{rag_id}"})
# The id of the caller's machine, which is told to the model and looked up nowhere.
OF_NOBODY |= {"POST /v1/infer"}
# An id in the path makes a kind with None, others one with the query or the body.
REST_ROUTES: Table = {
    "GET /openapi.json": TAKES_NO_ID,
    "GET /docs": TAKES_NO_ID,
    "GET /redoc": TAKES_NO_ID,
    "GET /liveness": TAKES_NO_ID,
    "GET /readiness": TAKES_NO_ID,
    "POST /authorized": TAKES_NO_ID,
    "GET /v1/config": TAKES_NO_ID,
    "GET /v1/mcp-auth/client-options": TAKES_NO_ID,
    "GET /": TAKES_NO_ID,
    "GET /v1/info": TAKES_NO_ID,
    "GET /v1/models": TAKES_NO_ID,
    "GET /v1/tools": TAKES_NO_ID,
    "GET /v1/shields": TAKES_NO_ID,
    "GET /v1/providers": TAKES_NO_ID,
    "GET /v1/rags": TAKES_NO_ID,
    "GET /a2a/health": TAKES_NO_ID,
    "GET /metrics": TAKES_NO_ID,
    **dict.fromkeys(OF_NOBODY, TAKES_NO_ID),
    "GET /v1/conversations": TAKES_NO_ID,
    "GET /v2/conversations": TAKES_NO_ID,
    "GET /v1/conversations/{conversation_id}": {"conversation": None},
    "GET /v2/conversations/{conversation_id}": {"conversation": None},
    "PUT /v1/conversations/{conversation_id}": {"conversation": {"topic_summary": "mine"}},
    "PUT /v2/conversations/{conversation_id}": {"conversation": {"topic_summary": "mine"}},
    "POST /v1/query": {"continued conversation": {"query": "hi", "conversation_id": "@context"}},
    "POST /v1/streaming_query": {
        "continued conversation": {"query": "hi", "conversation_id": "@context"}
    },
    "POST /v1/feedback": {
        "conversation": {
            "conversation_id": "@context",
            "user_question": "q",
            "llm_response": "r",
            "sentiment": 1,
        }
    },
    "GET /v1/feedback/status": TAKES_NO_ID,
    "PUT /v1/feedback/status": TAKES_NO_ID,
    # What is not there is deleted already.
    "DELETE /v1/conversations/{conversation_id}": {"deleted conversation": None},
    "DELETE /v2/conversations/{conversation_id}": {"deleted conversation": None},
}
