"""Attachments: how they are checked, called and given to the model."""

from __future__ import annotations

import base64

import pytest

from rest_compat.lightspeed.attachments import CONTENT_TYPES, TYPES, check, parts_of
from rest_compat.lightspeed.query_request import Attachment
from rest_compat.lightspeed.resource_names import CHARACTERS, EVENTS, ResourceNames
from rest_compat.problems import Answered

POD = "kind: Pod\nmetadata:\n  name: private-reg\n"


def attached(content: str, kind: str = "log", content_type: str = "text/plain") -> Attachment:
    """Return an attachment."""
    return Attachment(attachment_type=kind, content_type=content_type, content=content)


def yaml(content: str) -> Attachment:
    """Return an attachment of YAML."""
    return attached(content, "configuration", "application/yaml")


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("kind", TYPES)
def test_the_kinds_and_contents_of_lcs_are_taken(kind: str, content_type: str) -> None:
    check([attached("x", kind, content_type)], 1)


@pytest.mark.parametrize(
    ("attachment", "known"),
    [
        (attached("x", "picture"), TYPES),
        (attached("x", "log", "text/html"), CONTENT_TYPES),
        (attached("x", "log", "text/plain; charset=utf-8"), CONTENT_TYPES),
    ],
    ids=["kind", "content", "charset"],
)
def test_others_are_refused_with_a_list_of_those_there_are(
    attachment: Attachment, known: tuple[str, ...]
) -> None:
    with pytest.raises(Answered) as caught:
        check([attached("x"), attachment], 2)
    assert caught.value.problem.status == 422
    assert caught.value.problem.response == "Invalid attribute value"
    cause = f"Invalid attachment type: must be one of {list(known)}"
    assert caught.value.problem.cause == cause


def test_there_are_no_more_than_a_message_may_have_parts() -> None:
    check([attached("x")] * 3, 3)
    with pytest.raises(Answered) as caught:
        check([attached("x", "picture")] * 4, 3)
    problem = caught.value.problem
    assert (problem.status, problem.response) == (422, "Invalid attribute value")
    assert problem.cause == "Invalid attachments: there must be 3 at most"


def test_names_are_numbered_once_each_however_many_there_are() -> None:
    """Also where a name is what another would be numbered as."""
    names = [part.filename for part in parts_of([attached("x")] * 30_000)]
    assert (names[0], names[1], names[-1]) == ("log", "log 2", "log 30000")
    numbered = yaml("kind: A\nmetadata: {name: x 2}")
    plain = yaml("kind: A\nmetadata: {name: x}")
    names = [part.filename for part in parts_of([numbered, plain, plain, plain, numbered])]
    assert names == ["A/x 2", "A/x", "A/x 3", "A/x 4", "A/x 2 2"]


def test_attachments_become_files_with_names_of_their_own() -> None:
    parts = parts_of(
        [attached("grüß"), yaml(POD), attached("2"), yaml("foo: bar"), yaml(POD), attached("3")]
    )
    names = [part.filename for part in parts]
    assert names == [
        "log",
        "Pod/private-reg",
        "log 2",
        "configuration",
        "Pod/private-reg 2",
        "log 3",
    ]
    assert base64.b64decode(parts[0].raw or "").decode() == "grüß"
    assert [part.media_type for part in parts[:2]] == ["text/plain", "application/yaml"]


def test_xml_is_text_for_every_stack_and_the_message_remembers_what_it_was_called() -> None:
    part = parts_of([attached("<a/>", "event", "application/xml")])[0]
    assert part.media_type == "text/xml"
    assert part.metadata == {"attachment_type": "event", "content_type": "application/xml"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (POD, "Pod/private-reg"),
        ("metadata: {labels: {name: x}, name: web}\nkind: Deployment", "Deployment/web"),
        ("? [kind, x]\n: no\n? {kind: no}\n: no\nkind: A\nmetadata: {name: 1}", "A/1"),
        ("kind: A\nmetadata: [{name: x}]", None),
        ("kind: A\nmetadata: {name: ~}", None),
        ("kind: A\n---\nmetadata: {name: x}", None),
        ("- kind: A\n- metadata: {name: x}", None),
        ("a: &a X\nkind: *a\nmetadata: {name: x}", None),
        ("!!python/object/apply:os.system ['true']", None),
        ("kind: [", None),
        ("kind: \0", None),
        ('kind: "a\\nb"\nmetadata: {name: x}', None),
        (f"kind: {'k' * 300}\nmetadata: {{name: x}}", None),
        ("", None),
    ],
    ids=[
        "pod",
        "order",
        "keys",
        "list",
        "null",
        "documents",
        "items",
        "alias",
        "tag",
        "broken",
        "nul",
        "lines",
        "long",
        "empty",
    ],
)
def test_yaml_is_named_after_its_kind_and_its_name(text: str, name: str | None) -> None:
    assert ResourceNames().of(text) == name


def test_a_bomb_of_aliases_and_merges_costs_nothing() -> None:
    lines = ["a0: &a0 {x: y}"]
    lines += [
        f"a{number}: &a{number} {{<<: [{', '.join([f'*a{number - 1}'] * 9)}]}}"
        for number in range(1, 30)
    ]
    names = ResourceNames()
    assert names.of("\n".join([*lines, POD])) == "Pod/private-reg"


def test_only_so_much_of_all_attachments_together_is_looked_at() -> None:
    names = ResourceNames()
    assert names.of("x: y\n" * (EVENTS // 4)) is None
    assert names.of("x: y\n" * EVENTS + POD) is None
    assert names.of(POD) is None
    names = ResourceNames()
    assert names.of("x" * (CHARACTERS - len(POD))) is None
    assert names.of(POD) == "Pod/private-reg"
    assert names.of(POD) is None
