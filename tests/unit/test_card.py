"""The agent card: what it says, in every dialect."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.app import make_card
from agent.card import Card, load_card
from agent.card_dialects import Features
from agent.errors import ExtendedCardNotConfigured, SettingsError, UnsupportedOperation
from agent.packaged import packaged
from agent.settings import Settings
from tests.fakes.api_key import KEYED

STARTED = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
SCHEMA = Path(__file__).parents[3] / "shared/spec/a2a/a2a-0.3.schema.json"
PLAIN = Features(input_modes=("text/plain",), output_modes=("text/plain",))
FULL = Features(
    input_modes=("text/plain", "image/*"),
    output_modes=("text/plain", "application/json"),
    push_notifications=True,
    extended_card=True,
    http_json=True,
    grpc_url="agent.example:9090",
    extensions=[{"uri": "https://a.example/x", "required": False, "params": {"n": 1}}],
    security_schemes={
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "key": {"type": "apiKey", "in": "header", "name": "x-key", "description": "Ask us."},
    },
)
MINIMAL = {"name": "N", "description": "D"}
WRITTEN: dict[str, Any] = {
    "name": "Core",
    "description": "Knows things.",
    "version": "2.0.1",
    "protocolVersion": "0.3.0",
    "provider": {"organization": "Example", "url": "https://example.com"},
    "documentation_url": "https://example.com/docs",
    "iconUrl": "https://example.com/icon.png",
    "skills": [
        {
            "id": "qa",
            "name": "Q&A",
            "description": "Answers.",
            "tags": ["qa"],
            "examples": ["What is a task?"],
            "inputModes": ["text/plain", "image/png"],
            "output_modes": ["text/plain"],
        }
    ],
    "capabilities": {"streaming": True, "pushNotifications": True, "stateTransitionHistory": False},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
}
SKILL = {
    "id": "qa",
    "name": "Q&A",
    "description": "Answers.",
    "tags": ["qa"],
    "examples": ["What is a task?"],
    "inputModes": ["text/plain", "image/png"],
    "outputModes": ["text/plain"],
}
IDENTITY = {
    "name": "Core",
    "description": "Knows things.",
    "version": "2.0.1",
    "provider": {"organization": "Example", "url": "https://example.com"},
    "documentationUrl": "https://example.com/docs",
    "iconUrl": "https://example.com/icon.png",
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [SKILL],
}
REQUIRED_1_0 = {
    "name",
    "description",
    "version",
    "supportedInterfaces",
    "capabilities",
    "defaultInputModes",
    "defaultOutputModes",
    "skills",
}
REQUIRED_0_3 = REQUIRED_1_0 - {"supportedInterfaces"} | {"url", "protocolVersion"}
URL = "https://agent.example/base"


def card(
    document: dict[str, Any] | None = None, features: Features = PLAIN, **settings: Any
) -> Card:
    """Return the card of a document that is written in the settings; ours when there is none."""
    content = {
        "customization": {"agent_card_config": document},
        "service": {"base_url": URL},
    } | settings
    return load_card(Settings.model_validate(content), features, STARTED)


def said(found: Card, version: str) -> Any:
    """Return what one body says."""
    return json.loads(found.bodies[version].content)


def interface(binding: str, version: str, url: str, **tenant: str) -> dict[str, str]:
    """Return an interface as 1.0 writes it."""
    return {"url": url, "protocolBinding": binding, "protocolVersion": version} | tenant


def test_the_1_0_card_is_written_as_the_proto_has_it() -> None:
    """With an interface for each binding, version and tenant."""
    assert said(card(WRITTEN, FULL, a2a={"tenants": ["red"]}), "1.0") == IDENTITY | {
        "supportedInterfaces": [
            interface("JSONRPC", "1.0", f"{URL}/a2a"),
            interface("JSONRPC", "0.3", f"{URL}/a2a"),
            interface("HTTP+JSON", "1.0", URL),
            interface("HTTP+JSON", "0.3", URL),
            interface("GRPC", "1.0", "agent.example:9090"),
            interface("GRPC", "0.3", "agent.example:9090"),
            interface("JSONRPC", "1.0", f"{URL}/a2a", tenant="red"),
            interface("HTTP+JSON", "1.0", URL, tenant="red"),
            interface("GRPC", "1.0", "agent.example:9090", tenant="red"),
        ],
        "capabilities": {
            "streaming": True,
            "pushNotifications": True,
            "extendedAgentCard": True,
            "extensions": FULL.extensions,
        },
        "securitySchemes": {
            "bearer": {"httpAuthSecurityScheme": {"scheme": "bearer", "bearerFormat": "JWT"}},
            "key": {
                "apiKeySecurityScheme": {
                    "location": "header",
                    "name": "x-key",
                    "description": "Ask us.",
                }
            },
        },
        "securityRequirements": [
            {"schemes": {"bearer": {"list": []}}},
            {"schemes": {"key": {"list": []}}},
        ],
    }


def test_the_0_3_card_is_written_as_its_schema_has_it() -> None:
    """With an interface for each binding; tenants are of 1.0."""
    assert said(card(WRITTEN, FULL, a2a={"tenants": ["red"]}), "0.3") == IDENTITY | {
        "url": f"{URL}/a2a",
        "protocolVersion": "0.3.0",
        "preferredTransport": "JSONRPC",
        "additionalInterfaces": [
            {"url": f"{URL}/a2a", "transport": "JSONRPC"},
            {"url": URL, "transport": "HTTP+JSON"},
            {"url": "agent.example:9090", "transport": "GRPC"},
        ],
        "capabilities": {
            "streaming": True,
            "pushNotifications": True,
            "stateTransitionHistory": False,
            "extensions": FULL.extensions,
        },
        "supportsAuthenticatedExtendedCard": True,
        "securitySchemes": FULL.security_schemes,
        "security": [{"bearer": []}, {"key": []}],
    }


def test_the_hybrid_card_says_what_both_say() -> None:
    """Clients of either version ignore fields that they do not know; a scheme has both shapes."""
    found = card(WRITTEN, FULL)
    new, old, both = (said(found, version) for version in ("1.0", "0.3", "hybrid"))

    assert both == new | old | {
        "capabilities": new["capabilities"] | old["capabilities"],
        "securitySchemes": {
            name: scheme | new["securitySchemes"][name]
            for name, scheme in old["securitySchemes"].items()
        },
    }


@pytest.mark.parametrize(
    ("module", "more", "schemes"),
    [
        ("noop", {}, {}),
        ("noop-with-token", {}, {"bearer": ("http", "bearer")}),
        ("api-key-token", {"api_key_config": {"api_key": "k"}}, {"bearer": ("http", "bearer")}),
        (
            "jwk-token",
            {"jwk_config": {"url": "https://issuer.example/keys"}},
            {"bearer": ("http", "bearer")},
        ),
        ("k8s", {}, {"bearer": ("http", "bearer")}),
        ("rh-identity", {"rh_identity_config": {}}, {"identity": ("apiKey", "x-rh-identity")}),
    ],
)
def test_the_card_declares_what_the_module_wants_to_see(
    module: str, more: dict[str, Any], schemes: dict[str, tuple[str, str]]
) -> None:
    """And nothing of its configuration."""
    content = {"authentication": {"module": module} | more}
    found = make_card(Settings.model_validate(content))

    old, new = said(found, "0.3"), said(found, "1.0")
    declared = old.get("securitySchemes", {})
    assert {
        name: (scheme["type"], scheme.get("scheme") or scheme["name"])
        for name, scheme in declared.items()
    } == schemes
    assert old.get("security", []) == [{name: []} for name in schemes]
    assert new.get("securityRequirements", []) == [{"schemes": {n: {"list": []}}} for n in schemes]
    assert set(new.get("securitySchemes", {})) == set(schemes)
    assert "issuer.example" not in json.dumps(said(found, "hybrid"))
    assert [s.get("bearerFormat") for s in declared.values()] == (
        ["JWT"] if module == "jwk-token" else [None] * len(schemes)
    )


@pytest.mark.parametrize("version", ["0.3", "1.0", "hybrid"])
def test_a_document_that_says_the_security_there_is_is_right(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the shape of either version, or of both."""
    keys = ("security", "securitySchemes", "securityRequirements")
    whole = said(card(WRITTEN, FULL), version)
    again = card(WRITTEN | {key: whole[key] for key in keys if key in whole}, FULL)

    assert said(again, version) == whole
    assert caplog.records == []


@pytest.mark.parametrize(
    ("key", "lie"),
    [
        ("security", []),
        ("security", [{"bearer": []}]),
        ("securitySchemes", {}),
        ("securitySchemes", {"bearer": {"type": "http", "scheme": "basic"}}),
        ("securityRequirements", [{}]),
    ],
    ids=["nothing-asked", "less-asked", "no-schemes", "another-scheme", "anonymous"],
)
def test_a_document_cannot_say_another_security(
    key: str, lie: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Least of all that nothing is needed."""
    found = card(WRITTEN | {key: lie}, FULL)

    assert said(found, "hybrid") == said(card(WRITTEN, FULL), "hybrid")
    [record] = caplog.records
    assert record.getMessage().endswith(f": {key}")


@pytest.mark.parametrize("features", [PLAIN, FULL])
@pytest.mark.parametrize("document", [None, MINIMAL, WRITTEN])
@pytest.mark.parametrize(
    ("version", "required"),
    [("1.0", REQUIRED_1_0), ("0.3", REQUIRED_0_3), ("hybrid", REQUIRED_0_3 | REQUIRED_1_0)],
)
def test_what_is_required_is_there_and_nothing_is_null(
    features: Features, document: dict[str, Any] | None, version: str, required: set[str]
) -> None:
    """Whatever the document leaves out."""
    found = card(document, features)

    assert required <= set(said(found, version))
    assert b"null" not in found.bodies[version].content


@pytest.mark.parametrize("features", [PLAIN, FULL])
def test_the_1_0_card_is_a_card_of_the_a2a_sdk(features: Features) -> None:
    """No field is unknown to it."""
    from a2a.types.a2a_pb2 import AgentCard

    json_format = pytest.importorskip("google.protobuf.json_format")
    found = json_format.Parse(card(WRITTEN, features).bodies["1.0"].content, AgentCard())

    assert found.supported_interfaces[0].protocol_version == "1.0"


@pytest.mark.parametrize("features", [PLAIN, FULL])
def test_a_client_of_a2a_sdk_1_reads_the_hybrid_card_as_the_1_0_card(features: Features) -> None:
    """As its resolver parses them."""
    from a2a.client.card_resolver import parse_agent_card

    found = card(WRITTEN, features)
    new, both = (parse_agent_card(said(found, name)) for name in ("1.0", "hybrid"))

    assert both == new


@pytest.mark.parametrize("features", [PLAIN, FULL])
def test_a_client_of_a2a_sdk_0_3_reads_the_hybrid_card_as_the_0_3_card(features: Features) -> None:
    """With its own models, which a2a-sdk 1.x still holds."""
    from a2a.compat.v0_3.types import AgentCard

    found = card(WRITTEN, features)
    old, both = (AgentCard.model_validate(said(found, name)) for name in ("0.3", "hybrid"))

    assert both == old


@pytest.mark.parametrize("version", ["0.3", "hybrid"])
def test_the_0_3_card_fits_the_json_schema_of_0_3(version: str) -> None:
    """The hybrid one as well: the schema allows more than it names."""
    jsonschema = pytest.importorskip("jsonschema")
    if not SCHEMA.exists():
        pytest.skip("the schema is not here")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))

    jsonschema.validate(
        said(card(WRITTEN, FULL), version), schema | {"$ref": "#/definitions/AgentCard"}
    )


def test_the_card_that_comes_with_the_server_says_nothing_false(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is found in the source tree, and leaves out what the server decides."""
    found = said(card(), "hybrid")

    assert found["name"] == "llamastack-a2a"
    assert [skill["id"] for skill in found["skills"]] == ["answer", "documents"]
    assert caplog.records == []


def test_the_documentation_is_found() -> None:
    """Where the card is found too."""
    assert (packaged("docs") / "settings.md").exists()


def test_what_is_not_so_is_overruled_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Capabilities, interfaces, security and media types are the server's business."""
    lies = WRITTEN | {
        "url": "http://elsewhere/a2a",
        "protocolVersion": "0.2.6",
        "security": [{"bearer": []}],
        "security_schemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        "supportedInterfaces": [],
        "preferredTransport": "GRPC",
        "supports_authenticated_extended_card": True,
        "defaultInputModes": ["audio/wav"],
        "defaultOutputModes": ["text/plain", "video/mp4"],
        "capabilities": {"streaming": False, "extensions": [{"uri": "https://x.example"}]},
    }

    found = said(card(lies), "hybrid")

    assert found["url"] == f"{URL}/a2a"
    assert found["capabilities"] == {
        "streaming": True,
        "pushNotifications": False,
        "extendedAgentCard": False,
        "stateTransitionHistory": False,
    }
    assert not {"security", "securitySchemes", "securityRequirements"} & set(found)
    assert (found["defaultInputModes"], found["defaultOutputModes"]) == (
        ["text/plain"],
        ["text/plain"],
    )
    assert found["skills"] == [SKILL | {"inputModes": ["text/plain"]}]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().partition(": ")[2].split(", ") == [
        "capabilities.streaming",
        "capabilities.extensions",
        "supportsAuthenticatedExtendedCard",
        "url",
        "preferredTransport",
        "supportedInterfaces",
        "security",
        "securitySchemes",
        "protocolVersion",
        "skills[0].inputModes",
        "defaultInputModes",
        "defaultOutputModes",
    ]


def test_modes_that_are_left_out_are_the_servers() -> None:
    """A skill without modes has those of the card."""
    found = said(card(MINIMAL | {"skills": [WRITTEN["skills"][0] | {"inputModes": []}]}), "1.0")

    assert found["defaultInputModes"] == ["text/plain"]
    assert "inputModes" not in found["skills"][0]


def test_the_url_is_that_of_the_service() -> None:
    """Host, port and path prefix when no base URL is set."""
    service = {"host": "0.0.0.0", "port": 9000, "root_path": "/x"}

    assert said(card(MINIMAL, service=service), "0.3")["url"] == "http://localhost:9000/x/a2a"


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        (
            {"skills": [{"name": "a", "description": "b"}]},
            [
                ("name", "is missing"),
                ("description", "is missing"),
                ("skills[0].id", "is missing"),
            ],
        ),
        (MINIMAL | {"provider": {"organization": "a"}}, [("provider.url", "is missing")]),
        (MINIMAL | {"version": 1.0}, [("version", "must be text")]),
        (MINIMAL | {"skils": []}, [("skils", "unknown key; did you mean skills?")]),
    ],
)
def test_what_is_wrong_with_a_card_is_told_by_path(
    tmp_path: Path, document: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    """In the settings and in a file."""
    file = tmp_path / "card.yaml"
    file.write_text(json.dumps(document))
    with pytest.raises(SettingsError) as inline:
        card(document)
    with pytest.raises(SettingsError) as in_file:
        card(None, customization={"agent_card_path": str(file)})

    assert inline.value.problems == tuple(
        (f"customization.agent_card_config.{path}", text) for path, text in problems
    )
    assert in_file.value.problems == tuple((f"agent_card.{path}", text) for path, text in problems)


def test_a_file_wins_over_a_card_in_the_settings(tmp_path: Path) -> None:
    """As in LCS."""
    file = tmp_path / "card.yaml"
    file.write_text("{name: From the file, description: D}")
    customization = {"agent_card_path": str(file), "agent_card_config": MINIMAL}

    assert said(card(customization=customization), "1.0")["name"] == "From the file"


@pytest.mark.parametrize(
    ("content", "takes_images"),
    [
        ({}, False),
        ({"openai": {"base_url": "http://model.test/v1"}}, True),
        ({"openai": {"api_key": ""}}, False),
        ({"llama_stack": {"url": "http://stack.test"}}, True),
        ({"stack": "package.module:Class"}, True),
    ],
)
def test_images_are_offered_when_something_can_see_them(
    content: dict[str, Any], takes_images: bool
) -> None:
    """The model that comes with the embedded stack reads text only."""
    modes = said(make_card(Settings.model_validate(content)), "1.0")["defaultInputModes"]

    assert ("image/*" in modes) is takes_images
    assert "text/plain" in modes


@pytest.fixture
def extended(tmp_path: Path) -> dict[str, Any]:
    """Return the settings of an extended card with other text and a skill more, and of its callers."""
    file = tmp_path / "extended.yaml"
    skills = [{"id": "plan", "name": "Plan", "description": "Plans."}, SKILL | {"name": "More"}]
    document = {"icon_url": "https://example.com/other.png", "version": "3.0", "skills": skills}
    file.write_text(json.dumps(document))
    return {"a2a": {"extended_card_path": str(file)}, "authentication": KEYED}


@pytest.mark.parametrize("version", ["1.0", "0.3"])
def test_the_extended_card_lies_over_the_public_one(version: str, extended: dict[str, Any]) -> None:
    """Keys are replaced, skills added; a skill with a known id takes its place."""
    found = card(WRITTEN, FULL, **extended)

    assert json.loads(found.extended(version)) == said(found, version) | {
        "iconUrl": "https://example.com/other.png",
        "version": "3.0",
        "skills": [
            SKILL | {"name": "More"},
            {"id": "plan", "name": "Plan", "description": "Plans.", "tags": []},
        ],
    }
    assert said(found, version)["skills"] == [SKILL]


@pytest.mark.parametrize("module", ["noop", "noop-with-token"])
def test_where_nobody_is_authenticated_nobody_gets_the_extended_card(
    module: str, caplog: pytest.LogCaptureFixture, extended: dict[str, Any]
) -> None:
    """The public card does not declare it, and the log says why."""
    settings = Settings.model_validate(extended | {"authentication": {"module": module}})
    found = make_card(settings, STARTED)

    assert said(found, "hybrid")["capabilities"]["extendedAgentCard"] is False
    assert said(found, "hybrid")["supportsAuthenticatedExtendedCard"] is False
    with pytest.raises(UnsupportedOperation):
        found.extended("1.0")
    *_, record = caplog.records
    assert f"authentication.module is {module}" in record.getMessage()


def test_what_both_cards_say_wrongly_is_logged_once(
    caplog: pytest.LogCaptureFixture, extended: dict[str, Any]
) -> None:
    """The extended card has it from the public one."""
    card(WRITTEN | {"protocolVersion": "0.2.6"}, FULL, **extended)

    assert sum("protocolVersion" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("version", "error"), [("1.0", UnsupportedOperation), ("0.3", ExtendedCardNotConfigured)]
)
def test_without_an_extended_card_there_is_none(version: str, error: type[Exception]) -> None:
    """Each version has its own error for that."""
    with pytest.raises(error):
        card().extended(version)


def test_what_is_wrong_with_an_extended_card_is_told_by_path(tmp_path: Path) -> None:
    """As for the public one, whose name and description it has when it says nothing else."""
    file = tmp_path / "extended.yaml"
    file.write_text("skils: []")
    with pytest.raises(SettingsError) as wrong:
        card(MINIMAL, a2a={"extended_card_path": str(file)})

    assert wrong.value.problems == (
        ("extended_agent_card.skils", "unknown key; did you mean skills?"),
    )


def test_the_card_declares_what_the_settings_say() -> None:
    """Extensions and the extended card."""
    extensions = [
        {"uri": "https://a.example/x"},
        {"uri": "https://a.example/y", "description": "Y", "required": True, "params": {"n": 1}},
    ]
    path = str(packaged("agent_card.yaml"))
    settings = {
        "a2a": {"extensions": extensions, "extended_card_path": path},
        "authentication": KEYED,
    }
    capabilities = said(make_card(Settings.model_validate(settings)), "hybrid")["capabilities"]

    assert capabilities["extensions"] == extensions
    assert capabilities["extendedAgentCard"] is True


def test_the_card_tells_what_is_taken() -> None:
    """As a whole and by its skills; with a stack of one's own that is for the document to say."""
    written = WRITTEN | {"defaultInputModes": ["text/plain", "audio/*"]}
    settings = Settings.model_validate({"customization": {"agent_card_config": written}})

    ours = load_card(settings, FULL, STARTED)
    own = load_card(settings, msgspec.structs.replace(FULL, takes_any=True), STARTED)

    assert ours.input_modes == ("text/plain", "image/png")
    assert own.input_modes == ("text/plain", "audio/*", "image/png")
