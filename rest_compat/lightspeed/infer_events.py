"""What Splunk is told of inferences: LCS's telemetry of ``rlsapi``."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError, StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.caller import Caller
    from agent.settings import Settings
    from agent.splunk import Splunk
    from agent.stacks import Inferred
    from rest_compat.lightspeed.infer_request import RlsapiV1InferRequest

ANSWERED, FAILED = "infer_with_llm", "infer_error"
NOBODY = "auth_disabled"
"""LCS's organization and system where no identity header tells of any."""

_BROKEN = "An unexpected error occurred."
_AGENT_CHARS = 256


class InferEvents:
    """Tells how inferences ended; without a ``Splunk`` nobody listens."""

    def __init__(
        self, splunk: Splunk | None, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock`` tells seconds."""
        self._splunk = splunk
        self._has_systems = settings.authentication.module == "rh-identity"
        self._deployment = settings.deployment_environment
        self._model = settings.inference.default_model or ""
        self._clock = clock

    @contextmanager
    def asking(
        self, caller: Caller, request: RlsapiV1InferRequest, request_id: str, user_agent: str
    ) -> Iterator[Callable[[Inferred], None]]:
        """Tell of the question whose inference is asked for inside; yields what is to be given the answer.

        What the stack could not do is told too; what the caller may not do is no inference.
        """
        about = self._about(caller, request, request_id, user_agent)
        started = self._clock()

        def answered(inferred: Inferred) -> None:
            spent = inferred.usage
            tokens = 0 if spent is None else spent.input_tokens + spent.output_tokens
            model = inferred.model or self._model
            more = {"model": model, "total_llm_tokens": tokens}
            self._tell(ANSWERED, about | more, inferred.text, started)

        try:
            yield answered
        except StackError as exc:
            self._tell(FAILED, about, exc.message, started)
            raise
        except AgentError:
            raise
        except Exception:
            self._tell(FAILED, about, _BROKEN, started)
            raise

    def _tell(self, sourcetype: str, about: dict[str, Any], said: str, started: float) -> None:
        if self._splunk is not None:
            took = round(self._clock() - started, 6)
            self._splunk.tell(sourcetype, about | {"response": said, "inference_time": took})

    def _about(
        self, caller: Caller, request: RlsapiV1InferRequest, request_id: str, user_agent: str
    ) -> dict[str, Any]:
        system = request.context.systeminfo
        return {
            "question": request.question,
            "refined_questions": [],
            "context": "",
            "response": "",
            "inference_time": 0.0,
            "model": self._model,
            "deployment": self._deployment,
            "org_id": caller.org_id or NOBODY,
            "system_id": caller.user_id if self._has_systems else NOBODY,
            "total_llm_tokens": 0,
            "request_id": request_id,
            "cla_version": user_agent[:_AGENT_CHARS],
            "system_os": system.os,
            "system_version": system.version,
            "system_arch": system.arch,
        }
