"""What ``/v1/infer`` takes and answers: LCS's ``RlsapiV1*``, for the command line assistant of RHEL."""

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

_CLOSED = ConfigDict(extra="forbid")
_SYSTEM_CHARS = 100
EXAMPLE: dict[str, JsonValue] = {
    "data": {
        "text": "To list files in Linux, use the `ls` command.",
        "request_id": "01JDKR8N7QW9ZMXVGK3PB5TQWZ",
    }
}


class RlsapiV1Attachment(BaseModel):
    """A file of the client's."""

    model_config = _CLOSED

    contents: str = Field(
        default="",
        description="File contents read on client",
        examples=["# Configuration file\nkey=value"],
    )
    mimetype: str = Field(
        default="", description="MIME type of the file", examples=["text/plain", "application/json"]
    )


class RlsapiV1Terminal(BaseModel):
    """What the client's terminal shows."""

    model_config = _CLOSED

    output: str = Field(
        default="",
        description="Terminal output from client",
        examples=["bash: command not found", "Permission denied"],
    )


class RlsapiV1SystemInfo(BaseModel):
    """The client's machine."""

    model_config = _CLOSED

    os: str = Field(default="", description="Operating system name", examples=["RHEL"])
    version: str = Field(
        default="", description="Operating system version", examples=["9.3", "8.10"]
    )
    arch: str = Field(default="", description="System architecture", examples=["x86_64", "aarch64"])
    id: str = Field(
        default="", description="Client machine ID", examples=["01JDKR8N7QW9ZMXVGK3PB5TQWZ"]
    )

    def told(self) -> str:
        """Return the sentence that tells a model of it; "" when nothing is known.

        It stands among the instructions: each value is a few words on one line.
        """
        known = {"OS": self.os, "Version": self.version, "Architecture": self.arch}
        facts = [f"{name}: {text}" for name, value in known.items() if (text := _brief(value))]
        return f"User's system: {', '.join(facts)}" if facts else ""


class RlsapiV1CLA(BaseModel):
    """The command line assistant that asks."""

    model_config = _CLOSED

    nevra: str = Field(
        default="",
        description="CLA NEVRA identifier",
        examples=["command-line-assistant-0:0.2.0-1.el9.noarch"],
    )
    version: str = Field(
        default="", description="Command line assistant version", examples=["0.2.0"]
    )


class RlsapiV1Context(BaseModel):
    """What is known beside the question."""

    model_config = _CLOSED

    stdin: str = Field(
        default="",
        description="Redirect input from stdin",
        examples=["piped input from previous command"],
    )
    attachments: RlsapiV1Attachment = Field(
        default_factory=RlsapiV1Attachment, description="File attachment data"
    )
    terminal: RlsapiV1Terminal = Field(
        default_factory=RlsapiV1Terminal, description="Terminal output context"
    )
    systeminfo: RlsapiV1SystemInfo = Field(
        default_factory=RlsapiV1SystemInfo, description="Client system information"
    )
    cla: RlsapiV1CLA = Field(
        default_factory=RlsapiV1CLA, description="Command line assistant metadata"
    )


class RlsapiV1InferRequest(BaseModel):
    """A question, with what the command line assistant knows."""

    model_config = _CLOSED

    question: str = Field(
        min_length=1,
        description="User question",
        examples=["How do I list files?", "How do I configure SELinux?"],
    )
    context: RlsapiV1Context = Field(
        default_factory=RlsapiV1Context,
        description="Optional context (system info, terminal output, stdin, attachments)",
    )
    skip_rag: bool = Field(
        default=False,
        description="Reserved for future use. RAG retrieval is not yet implemented.",
        examples=[False, True],
    )

    @field_validator("question")
    @classmethod
    def _asks_something(cls, value: str) -> str:
        stripped = value.strip()
        if not stripped:
            raise ValueError("Question cannot be empty or whitespace-only")
        return stripped

    @property
    def prompt(self) -> str:
        """All that the user says: the question, then what was piped, attached and shown."""
        given = self.context
        said = (self.question, given.stdin, given.attachments.contents, given.terminal.output)
        return "\n\n".join(text for text in said if text.strip())


class RlsapiV1InferData(BaseModel):
    """The answer, and the id that it goes by in logs and events."""

    model_config = _CLOSED

    text: str = Field(
        description="Generated response text",
        examples=["To list files in Linux, use the `ls` command."],
    )
    request_id: str | None = Field(
        None, description="Unique request identifier", examples=["01JDKR8N7QW9ZMXVGK3PB5TQWZ"]
    )


class RlsapiV1InferResponse(BaseModel):
    """The answer to a question."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    data: RlsapiV1InferData = Field(description="Response data containing text and request_id")


def _brief(text: str) -> str:
    return " ".join(text.split())[:_SYSTEM_CHARS]
