"""What Llama Stack's experimental API works with, put together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from a2a_state.forwarded import Forwarded
from agent.agents.choosing import ChosenAgents
from agent.agents.forwarded import ForwardedAgents
from agent.agents.own_agents import OwnAgents
from agent.datasets.datasets import Datasets
from agent.default_model import check_override
from agent.engines.engines import Engines
from agent.evaluation.evaluation import Evaluation
from agent.outgoing.fetch import make_fetching
from agent.reranking.reranking import Reranking
from agent.stacks.forward import Forward
from agent.stacks.remote import RemoteStack
from agent.training.choosing import ChosenTraining
from agent.training.forwarded import ForwardedTraining
from agent.training.training import Training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.agents.base import AgentsApi
    from agent.default_model import CheckModels
    from agent.engine import Engine, Part
    from agent.settings import Settings
    from agent.training.base import PostTrainingApi


class Experimental(NamedTuple):
    """What answers each group of operations; ``parts`` are opened and closed with the server, in order."""

    agents: AgentsApi
    datasets: Datasets
    evaluation: Evaluation
    reranking: Reranking
    training: PostTrainingApi
    engines: Engines
    check_models: CheckModels
    parts: tuple[Part, ...]


def make_experimental(
    settings: Settings, engine: Engine, training_command: Sequence[str] | None = None
) -> Experimental:
    """Return what the settings say; nothing is opened."""
    fetching = make_fetching(settings)
    own = OwnAgents(settings, engine, engine.histories, fetching)
    datasets = Datasets(engine.database, settings)
    training = Training(engine.database, settings, datasets, command=training_command)
    engines = Engines(settings, engine.stack)
    agents: AgentsApi = own
    trained: PostTrainingApi = training
    parts: list[Part] = [own.serial, fetching, datasets]
    if isinstance(engine.stack, RemoteStack):
        forward = Forward(engine.stack, engines.forget)
        store = Forwarded(engine.database)
        there = ForwardedAgents(forward, store, settings, engine.inferences, own.serial, fetching)
        agents = ChosenAgents(own, there, engines)
        most = settings.experimental.jobs.waiting_per_owner
        trained = ForwardedTraining(forward, store, datasets, most)
        trained = ChosenTraining(training, trained, engines)
        parts.append(forward)
    evaluation = Evaluation(
        engine.database, settings, datasets, agents, engine.inferences, engine.stack
    )
    return Experimental(
        agents=agents,
        datasets=datasets,
        evaluation=evaluation,
        reranking=Reranking(engine.stack, engine.inferences, settings),
        training=trained,
        engines=engines,
        check_models=partial(check_override, settings=settings, stack=engine.stack),
        parts=(*parts, evaluation, training),
    )
