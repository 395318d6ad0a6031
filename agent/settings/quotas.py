"""LCS's quotas: limits on tokens."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from agent.quotas.period import read_period
from agent.settings.databases import Postgres, SQLite
from agent.settings.section import Count, Section, Text, Whole, allow_one

# Of a quota; what is added to one over many periods still fits into a column.
MOST_TOKENS = 10**15

type _Tokens = Annotated[Whole, Field(ge=0, le=MOST_TOKENS)]


class QuotaLimiter(Section):
    """How many tokens a user or the whole cluster may spend in a period."""

    type: Literal["user_limiter", "cluster_limiter"]
    name: Text
    initial_quota: _Tokens
    quota_increase: _Tokens
    period: Text

    @field_validator("period")
    @classmethod
    def _is_an_interval(cls, value: str) -> str:
        read_period(value)
        return value


class QuotaScheduler(Section):
    """When quotas are looked at; seconds."""

    period: Count = 1
    database_reconnection_count: Count = 10
    database_reconnection_delay: Count = 1


class QuotaHandlers(Section):
    """Limits on tokens, and where what was spent is kept."""

    sqlite: SQLite | None = None
    postgres: Postgres | None = None
    limiters: tuple[QuotaLimiter, ...] = ()
    scheduler: QuotaScheduler = QuotaScheduler()
    enable_token_history: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        allow_one(self, "sqlite", "postgres")
        return self

    @field_validator("limiters")
    @classmethod
    def _names_differ(cls, value: tuple[QuotaLimiter, ...]) -> tuple[QuotaLimiter, ...]:
        names = [limiter.name for limiter in value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the name {min(twice)} is used twice")
        return value
