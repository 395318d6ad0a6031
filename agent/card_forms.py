"""The canonical forms of an agent card: the bytes that its signatures are made of (1.0 section 8.4.1).

A signature counts for the client that comes to the same bytes, and clients differ: those of 1.0 read
their own fields only, a2a-sdk leaves out empty values even where the specification keeps them, and
for 0.3 there is no rule but what its a2a-sdk does. So a card has a form for each way to read it;
most of them are the same bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import FieldDescriptor

type Json = Any

WHOLE = "the whole card"
AS_1_0 = "the card as A2A 1.0 has it"
NEARLY_1_0 = "the card as A2A 1.0 has it, but for empty values"
AS_0_3 = "the card as A2A 0.3 has it, but for empty values"


def canonical_forms(card: dict[str, Json]) -> dict[bytes, str]:
    """Return the forms, and what of the card each of them holds.

    Raises ``ValueError`` for what is no agent card, or has numbers that JSON cannot carry.
    """
    import rfc8785
    from google.protobuf.json_format import ParseError

    unsigned = {name: value for name, value in card.items() if name != "signatures"}
    forms: dict[bytes, str] = {}
    try:
        forms[rfc8785.dumps(unsigned)] = WHOLE
        read = _read_by_sdk(unsigned)
        if "supportedInterfaces" in unsigned:
            forms.setdefault(rfc8785.dumps(_with_required(read)), AS_1_0)
            forms.setdefault(rfc8785.dumps(_without_empty(read)), NEARLY_1_0)
        else:
            forms.setdefault(rfc8785.dumps(_without_empty(read)), AS_0_3)
        for form in _of_0_3(unsigned, read) if "url" in unsigned else ():
            forms.setdefault(form, AS_0_3)
    except (ParseError, RecursionError) as exc:
        raise ValueError("not an agent card") from exc
    return forms


def _read_by_sdk(card: Json) -> Json:
    """Return what the client of a2a-sdk 1.x reads, whichever version the card is of."""
    from a2a.client.card_resolver import parse_agent_card
    from google.protobuf.json_format import MessageToDict

    # It changes what it is given.
    return MessageToDict(parse_agent_card(json.loads(json.dumps(card))))


def _with_required(card: Json) -> Json:
    """Add the required fields that are empty: ProtoJSON leaves them out, 8.4.1 wants them there."""
    from a2a.types.a2a_pb2 import AgentCard

    return _completed(card, AgentCard.DESCRIPTOR)


def _completed(written: Json, descriptor: Any) -> Json:
    from google.api.field_behavior_pb2 import REQUIRED, field_behavior

    if descriptor.full_name.startswith("google.protobuf."):
        return written  # JSON of anybody's, not ours to complete
    complete = dict(written)
    for field in descriptor.fields:
        name = field.json_name
        if name in complete:
            complete[name] = _completed_value(complete[name], field)
        elif REQUIRED in field.GetOptions().Extensions[field_behavior]:
            complete[name] = _empty(field)
    return complete


def _completed_value(value: Json, field: FieldDescriptor) -> Json:
    message = field.message_type
    if message is None:
        return value
    if message.GetOptions().map_entry:
        of_map = message.fields_by_name["value"]
        return {key: _completed_value(item, of_map) for key, item in value.items()}
    if field.is_repeated:
        return [_completed(item, message) for item in value]
    return _completed(value, message)


def _empty(field: FieldDescriptor) -> Json:
    message = field.message_type
    if message is not None and (message.GetOptions().map_entry or not field.is_repeated):
        return {}
    return [] if field.is_repeated else field.default_value


def _without_empty(value: Json) -> Json:
    """Return the value without empty texts, lists and objects, as a2a-sdk does; None when it is one."""
    if isinstance(value, dict):
        return {
            name: kept for name, item in value.items() if (kept := _without_empty(item)) is not None
        } or None
    if isinstance(value, list):
        return [kept for item in value if (kept := _without_empty(item)) is not None] or None
    return None if value == "" else value


def _of_0_3(card: Json, read: Json) -> Iterator[bytes]:
    """Yield what a2a-sdk 0.3 signs: its model, without defaults and empty values, in ASCII.

    For a card of 0.3 only there is also what the client of a2a-sdk 1.x makes of an extended card.
    None of them, when such a card says more than 0.3 knows: that would go unsigned.
    """
    import rfc8785
    from a2a.compat.v0_3.conversions import to_core_agent_card
    from a2a.compat.v0_3.types import AgentCard
    from google.protobuf.json_format import MessageToDict
    from pydantic import ValidationError

    try:
        old = AgentCard.model_validate(card)
    except ValidationError:
        return  # a card of 1.0 with a field of that name
    if "supportedInterfaces" not in card:
        if _read_by_sdk(old.model_dump(mode="json", exclude_none=True, by_alias=True)) != read:
            return
        yield rfc8785.dumps(_without_empty(MessageToDict(to_core_agent_card(old))))
    said = old.model_dump(exclude_defaults=True, exclude_none=True, by_alias=True)
    yield json.dumps(_without_empty(said), separators=(",", ":"), sort_keys=True).encode("ascii")
