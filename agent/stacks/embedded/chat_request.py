"""A prompt -> a request of OpenAI's chat completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.stacks.embedded.messages import ModelMessage, ToolMessage, UserMessage
from agent.stacks.embedded.model import MODES

if TYPE_CHECKING:
    from agent.stacks.embedded.messages import Message
    from agent.stacks.embedded.model import Prompt
    from agent.stacks.turn import ClientTool, Json


def body_of(prompt: Prompt) -> dict[str, Json]:
    """Return the body of a request for a streamed answer."""
    form, sampling = prompt.response_format, prompt.sampling
    system = [{"role": "system", "content": prompt.instructions}] if prompt.instructions else []
    body: dict[str, Json] = {
        "model": prompt.model,
        "messages": system + [_message(message) for message in prompt.messages],
        "tools": [_tool(tool) for tool in prompt.tools] or None,
        "tool_choice": _choice(prompt),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "response_format": form and {"type": "json_schema", "json_schema": form.fields},
        "stream": True,
        "stream_options": {"include_usage": True},
        # OpenAI does not have these; vLLM and others do.
        "top_k": sampling.top_k,
        "repetition_penalty": sampling.repetition_penalty,
    }
    return {key: value for key, value in body.items() if value is not None}


def _choice(prompt: Prompt) -> Json:
    """Return which tool the model is to call; the server's own choice is left out."""
    choice = prompt.tool_choice if prompt.may_call else "none"
    if not prompt.tools or choice == "auto":
        return None
    if choice in MODES:
        return choice
    return {"type": "function", "function": {"name": choice}}


def _tool(tool: ClientTool) -> Json:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema or {"type": "object", "properties": {}},
        },
    }


def _message(message: Message) -> Json:
    match message:
        case UserMessage():
            return {"role": "user", "content": _content(message)}
        case ToolMessage():
            return {"role": "tool", "tool_call_id": message.call_id, "content": message.content}
        case ModelMessage():
            calls = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.tool_name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ]
            if not calls:
                return {"role": "assistant", "content": message.text}
            return {"role": "assistant", "content": message.text or None, "tool_calls": calls}


def _content(message: UserMessage) -> Json:
    attached = (f"{each.name}:\n\n{each.text}" for each in message.attachments)
    text = "\n\n".join(part for part in (message.text, *attached) if part)
    if not message.images:
        return text
    images = [{"type": "image_url", "image_url": {"url": url}} for url in message.images]
    return [{"type": "text", "text": text}, *images] if text else images
