"""What evaluates: the candidate and the scoring functions of a configuration, checked before any is asked."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.auth.access import check
from agent.default_model import check_override
from agent.errors import InvalidParams, ResourceNotFound
from agent.evaluation.candidates import answering, forget, said
from agent.evaluation.config import GREEDY, JudgeParams, ModelCandidate
from agent.evaluation.rows import Evaluator
from agent.evaluation.scoring.functions import make_scorings
from agent.stacks import Inference
from agent.stacks.naming import named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from agent.agents.base import AgentsApi
    from agent.caller import Caller
    from agent.evaluation.config import BenchmarkConfig
    from agent.evaluation.scoring.functions import Scoring
    from agent.inferences import Inferences
    from agent.settings import Settings
    from agent.stacks import Stack

type Json = Any

_QUERY, _AGENTS = frozenset({"query"}), frozenset({"agents"})
_CANDIDATE = "benchmark_config.eval_candidate"


class Plan(NamedTuple):
    """What is to be evaluated, for whom, and how."""

    caller: Caller
    config: BenchmarkConfig
    scorings: dict[str, Scoring]


class Evaluators:
    """Makes plans, and what carries them out."""

    def __init__(
        self, settings: Settings, agents: AgentsApi, inferences: Inferences, stack: Stack
    ) -> None:
        """Nothing is asked."""
        self._settings = settings
        self._agents = agents
        self._inferences = inferences
        self._stack = stack

    def plan(self, caller: Caller, config: BenchmarkConfig, names: Sequence[str]) -> Plan:
        """Return the plan; raises ``InvalidParams`` for a scoring function that is none."""

        async def ask(prompt: str, model: str | None) -> str:
            asked = Inference(
                text=prompt,
                instructions="",
                owner=caller.owner,
                model=model,
                sampling=GREEDY,
            )
            return await said(self._inferences, asked)

        return Plan(caller, config, make_scorings(names, config.scoring_params or {}, ask))

    async def check_asked(self, plan: Plan) -> None:
        """Raise ``PermissionDenied`` for what the caller may not ask, as to evaluate is to ask.

        Raises ``ResourceNotFound`` for a model that the stack does not list, if it lists any.
        """
        check(plan.caller, _QUERY)
        if not isinstance(plan.config.eval_candidate, ModelCandidate):
            check(plan.caller, _AGENTS)
        names = list(_models_of(plan))
        await check_override(plan.caller, names, self._settings, self._stack)
        models = [model for model in await self._stack.models() if model.model_type == "llm"]
        for name in names:
            if models and named(models, name) is None:
                raise ResourceNotFound("model", name[:200])

    @asynccontextmanager
    async def evaluator(self, plan: Plan, delays: Sequence[float] = ()) -> AsyncIterator[Evaluator]:
        """Give what asks and scores, see ``Evaluator``."""
        candidate = plan.config.eval_candidate
        async with answering(plan.caller, candidate, self._inferences, self._agents) as answers:
            yield Evaluator(answers, plan.scorings, delays)

    async def forget(self, caller: Caller, agent_id: str) -> None:
        """Delete an agent that a process made which died before it could."""
        await forget(self._agents.delete(caller, agent_id))


def _models_of(plan: Plan) -> Iterator[str]:
    candidate = plan.config.eval_candidate
    if isinstance(candidate, ModelCandidate):
        yield candidate.model
    else:
        model = candidate.config.get("model")
        if not isinstance(model, str):
            raise InvalidParams(f"{_CANDIDATE}.config.model", "the agent needs a model")
        yield model
    for name, params in (plan.config.scoring_params or {}).items():
        if name in plan.scorings and isinstance(params, JudgeParams) and params.judge_model:
            yield params.judge_model
