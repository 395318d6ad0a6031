"""A2A 1.0, sections 3.1 and 3.2: what each operation does."""

from __future__ import annotations

from tests.conformance._requirements.row import HTTP_JSON, JSON_RPC
from tests.conformance._requirements.row import Requirement as Row

ROWS = (
    Row("1.0/send-answer", "1.0 §3.1.1", "Sending answers with a task or a message"),
    Row("1.0/send-ended-task", "1.0 §3.1.1", "A message to an ended task is UnsupportedOperation"),
    Row("1.0/send-unknown-task", "1.0 §3.1.1, §3.4.2", "An unknown taskId MUST be TaskNotFound"),
    Row(
        "1.0/send-media-type", "1.0 §3.1.1", "An unsupported media type is ContentTypeNotSupported"
    ),
    Row("1.0/stream-established", "1.0 §3.1.2", "Streaming MUST establish a streaming connection"),
    Row("1.0/stream-message", "1.0 §3.1.2", "A message MUST be the only event of its stream"),
    Row("1.0/stream-task-first", "1.0 §3.1.2", "The stream of a task MUST begin with the task"),
    Row("1.0/stream-updates", "1.0 §3.1.2", "Only status and artifact updates follow the task"),
    Row("1.0/stream-closes", "1.0 §3.1.2", "The stream MUST close at a terminal state"),
    Row("1.0/stream-immediate", "1.0 §3.1.2", "Progress MUST be heard of immediately"),
    Row("1.0/stream-errors", "1.0 §3.1.2", "Streaming is refused with the errors of sending"),
    Row("1.0/get-state", "1.0 §3.1.3", "GetTask returns the current state and artifacts"),
    Row("1.0/get-unknown", "1.0 §3.1.3", "GetTask of an unknown task is TaskNotFound"),
    Row("1.0/list-artifacts-omitted", "1.0 §3.1.4", "Artifacts MUST be left out unless asked for"),
    Row(
        "1.0/list-artifacts", "1.0 §3.1.4", "Artifacts that are asked for are there, if only as []"
    ),
    Row("1.0/list-next-token", "1.0 §3.1.4", 'nextPageToken MUST be there, "" on the last page'),
    Row("1.0/list-order", "1.0 §3.1.4", "Tasks MUST be sorted by status time, the latest first"),
    Row("1.0/list-cursor", "1.0 §3.1.4", "Pages MUST follow a cursor: none twice, none left out"),
    Row("1.0/list-visible", "1.0 §3.1.4, §13.1", "Only tasks of the caller's MUST be listed"),
    Row("1.0/list-context", "proto ListTasksRequest", "contextId filters"),
    Row("1.0/list-status", "proto ListTasksRequest", "status filters"),
    Row("1.0/list-after", "proto ListTasksRequest", "statusTimestampAfter filters, inclusively"),
    Row("1.0/list-page-size", "proto ListTasksRequest", "A page has 1 to 100 tasks, 50 by default"),
    Row("1.0/list-history", "proto ListTasksRequest", "historyLength bounds each task's history"),
    Row("1.0/list-answer", "proto ListTasksResponse", "tasks, pageSize and totalSize are REQUIRED"),
    Row("1.0/list-total", "proto ListTasksResponse", "totalSize counts what there is on all pages"),
    Row("1.0/list-validation", "1.0 §3.3.2, §6.5", "Wrong filters, sizes and tokens are refused"),
    Row("1.0/cancel-answer", "1.0 §3.1.5", "Cancelling returns the task with its new status"),
    Row("1.0/cancel-states", "1.0 §3.1.5", "Whatever has not ended is cancelled"),
    Row("1.0/cancel-ended", "1.0 §3.1.5", "Cancelling an ended task is TaskNotCancelable"),
    Row("1.0/cancel-unknown", "1.0 §3.1.5", "Cancelling an unknown task is TaskNotFound"),
    Row("1.0/cancel-again", "1.0 §3.3.1", "Cancelling again has no further effect"),
    Row(
        "1.0/subscribe-task-first", "1.0 §3.1.6", "A subscription MUST begin with the task as it is"
    ),
    Row("1.0/subscribe-updates", "1.0 §3.1.6", "Status and artifact updates follow the task"),
    Row("1.0/subscribe-waiting", "1.0 §3.1.6", "Any task that has not ended may be subscribed to"),
    Row("1.0/subscribe-closes", "1.0 §3.1.6", "A subscription MUST end at a terminal state"),
    Row("1.0/subscribe-unknown", "1.0 §3.1.6", "Subscribing to an unknown task is TaskNotFound"),
    Row("1.0/subscribe-ended", "1.0 §3.1.6", "Subscribing to an ended task: UnsupportedOperation"),
    Row(
        "1.0/subscribe-replay",
        "HTML §9.2 (server-sent events)",
        "With Last-Event-ID a stream goes on where it broke off, without gap or duplicate",
        (JSON_RPC, HTTP_JSON),
    ),
    Row("1.0/push-create", "1.0 §3.1.7", "Creating answers with the configuration and its id"),
    Row("1.0/push-create-unknown", "1.0 §3.1.7", "Creating for an unknown task is TaskNotFound"),
    Row("1.0/push-persists", "1.0 §3.1.7", "A configuration MUST stay until the task completes"),
    Row("1.0/push-get", "1.0 §3.1.8", "Getting MUST return the URL and the settings"),
    Row("1.0/push-get-unknown", "1.0 §3.1.8", "Getting what is not there MUST fail: TaskNotFound"),
    Row("1.0/push-list", "1.0 §3.1.9", "All configurations of the task MUST be listed"),
    Row("1.0/push-list-unknown", "1.0 §3.1.9", "Listing those of an unknown task is TaskNotFound"),
    Row("1.0/push-delete", "1.0 §3.1.10", "Deleting MUST remove the configuration for good"),
    Row("1.0/push-delete-again", "1.0 §3.1.10", "Deleting MUST be idempotent"),
    Row("1.0/push-delete-unknown", "1.0 §3.1.10", "Deleting for an unknown task is TaskNotFound"),
    Row("1.0/push-with-message", "proto SendMessageConfiguration", "A message may bring one along"),
    Row("1.0/extended-card", "1.0 §3.1.11", "The extended card is a complete agent card"),
    Row("1.0/send-blocks", "1.0 §3.2.2", "Sending MUST wait for a terminal or interrupted state"),
    Row("1.0/send-latest", "1.0 §3.2.2", "The answer MUST have all artifacts and the status"),
    Row("1.0/send-at-once", "1.0 §3.2.2", "returnImmediately MUST return before the task is done"),
    Row("1.0/at-once-message", "1.0 §3.2.2", "returnImmediately has no effect on a message"),
    Row("1.0/at-once-stream", "1.0 §3.2.2", "returnImmediately has no effect on a stream"),
    Row(
        "1.0/output-modes", "proto SendMessageConfiguration", "Output SHOULD fit the accepted modes"
    ),
    Row("1.0/history-unset", "1.0 §3.2.4", "Without historyLength, history is not limited"),
    Row("1.0/history-zero", "1.0 §3.2.4", "historyLength 0: history SHOULD be omitted"),
    Row("1.0/history-most", "1.0 §3.2.4", "No more than historyLength messages MUST be returned"),
    Row("1.0/metadata", "1.0 §3.2.5", "Metadata holds any JSON"),
    Row("1.0/parameter-names", "1.0 §3.2.6", "The names of service parameters know no case"),
)
