"""The extractive model: what it makes of documents and of questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from a2a_state.passage_search import Found
from agent.errors import ContentTypeNotSupported, PayloadTooLarge
from agent.stacks import Citation, ClientTool, DataPart, FilePart, TextDelta, TextPart, Usage
from agent.stacks.embedded import documents
from agent.stacks.embedded.extractive import _WORD, ExtractiveModel
from agent.stacks.embedded.markup import blocks_of
from agent.stacks.embedded.messages import (
    ModelMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    from_input,
    message_of,
    to_input,
)
from agent.stacks.embedded.model import Prompt, Stop
from agent.stacks.embedded.terms import asked, stem, stems

if TYPE_CHECKING:
    from a2a_state.passages import Passage

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parent.parent / "fakes" / "knowledge"
WEATHER = ClientTool("get_weather", "The weather.", {"type": "object"})


class Shelf:
    """Knowledge at hand: every passage is a candidate."""

    def __init__(self, passages: list[Passage]) -> None:
        self._passages = passages

    async def search(self, terms: Any, _limit: int) -> Found:
        """Return all passages, with the counts that a database would give."""
        words = [set(stems(f"{p.title} {p.section} {p.text}")) for p in self._passages]
        counts = {term.stem: sum(term.stem in each for each in words) for term in terms}
        return Found(len(words), counts, tuple(self._passages))

    async def titles(self) -> list[str]:
        """Return the titles."""
        return list(dict.fromkeys(passage.title for passage in self._passages))


def model_of(passages: list[Passage]) -> ExtractiveModel:
    shelf: Any = Shelf(passages)
    return ExtractiveModel(shelf)


@pytest.fixture(scope="module")
def model() -> ExtractiveModel:
    """Answer from the four documents about Beacon."""
    cut = [
        documents.cut(file.name, file.read_text())[1]
        for file in sorted(FOLDER.iterdir())
        if file.is_file()
    ]
    return model_of([passage for passages in cut for passage in passages])


async def ask(
    model: ExtractiveModel, *messages: Any, tools: tuple[ClientTool, ...] = ()
) -> list[Any]:
    """Return all that the model says; text counts as the user's."""
    said = tuple(UserMessage(each) if isinstance(each, str) else each for each in messages)
    return [piece async for piece in model.infer(Prompt(model="", messages=said, tools=tools))]


def text_of(pieces: list[Any]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))


def uris_of(pieces: list[Any]) -> list[str | None]:
    return [piece.uri for piece in pieces if isinstance(piece, Citation)]


@pytest.mark.parametrize(
    ("question", "uri", "holds"),
    [
        ("How do I stream an answer?", "streaming.md#stream-an-answer", "`/stream`"),
        ("Which databases are supported?", "storage.rst#databases", "SQLite and PostgreSQL"),
        ("How do I set the port?", "configuration.md#host-and-port", "  port: 9000"),
        ("and how do I change the port?", "configuration.md#host-and-port", "  port: 9000"),
        ("How do I install it?", "getting-started.md#install", "pip install beacon-server"),
        ("How do I run the server?", "getting-started.md#run", "`beacon serve`"),
        ("What is Beacon?", "getting-started.md#getting-started", "Beacon is a small server"),
        ("Which Python version do I need?", "getting-started.md#getting-started", "3.12"),
        ("Can I use postgres?", "storage.rst#databases", "PostgreSQL"),
        ("Does it support MySQL?", "storage.rst#databases", "MySQL is not supported."),
        ("How do I back up the database?", "storage.rst#backup", "beacon backup"),
        ("How does auth work?", "configuration.md#authentication", "auth.module"),
        ("how to use api keys", "configuration.md#authentication", "auth.keys_file"),
        ("How long are answers kept?", "storage.rst#retention", "30 days"),
        ("How can I stop an answer?", "streaming.md#cancel", "DELETE /answers"),
        ("What does limits.idle_seconds do?", "configuration.md#all-settings", "300"),
        ("environment variables", "configuration.md#configuration", "BEACON__SERVICE__PORT"),
        ("DOCKER", "getting-started.md#docker", "docker run"),
        ("nginx", "streaming.md#keep-alive", "proxy_buffering off"),
        ("How do I use a language model?", "configuration.md#language-model", "base_url"),
    ],
)
async def test_a_question_is_answered_from_the_right_place(
    model: ExtractiveModel, question: str, uri: str, holds: str
) -> None:
    """The first citation is the passage, and the answer holds what was asked."""
    pieces = await ask(model, question)
    assert uris_of(pieces)[:1] == [uri]
    assert holds in text_of(pieces)


@pytest.mark.parametrize(
    "question",
    [
        "What's the weather in Paris?",
        "Who won the world cup in 2022?",
        "How do I bake a cake with port wine?",
        "Tell me a joke about servers",
        "write a poem about databases",
        "What is the refund policy?",
        "hello",
        "Was kostet das?",
        "これは何ですか",
        "",
        "'\" OR * NEAR(a b) {x}: -^ \x00 😀 DROP",
    ],
)
async def test_what_the_documents_do_not_hold_is_not_answered(
    model: ExtractiveModel, question: str
) -> None:
    """The answer says that no language model is configured, how to get one, and what there is."""
    pieces = await ask(model, question)
    assert uris_of(pieces) == []
    text = text_of(pieces)
    assert text.startswith("No language model is configured")
    assert "`openai.base_url`" in text
    assert "`llama_stack.url`" in text
    assert "Streaming" in text


async def test_without_documents_the_answer_says_so() -> None:
    """An empty folder is no reason to fail."""
    assert "there are none" in text_of(await ask(model_of([]), "How?"))


async def test_answers_are_short_and_in_the_words_of_the_document(model: ExtractiveModel) -> None:
    """A long table is cut down to its head and the row that is asked for."""
    text = text_of(await ask(model, "What does limits.idle_seconds do?"))
    assert text.split("\n") == [
        "| setting | default | what it does |",
        "|---|---|---|",
        "| `limits.idle_seconds` | `300` | a stream that is silent for so long is closed |",
    ]


async def test_an_answer_comes_word_by_word_and_ends_with_its_cost(model: ExtractiveModel) -> None:
    """Citations come first, then words, then the estimate of tokens and the end."""
    pieces = await ask(model, "Does it support MySQL?")
    assert [type(piece) for piece in pieces] == [Citation, *[TextDelta] * 4, Usage, Stop]
    assert [piece.text for piece in pieces[1:5]] == ["MySQL ", "is ", "not ", "supported."]
    assert pieces[5:] == [Usage(6, 6), Stop("end_of_turn")]


async def test_a_citation_names_document_and_section(model: ExtractiveModel) -> None:
    """Title, place, text, document and a score are there."""
    (citation,) = [p for p in await ask(model, "How do I cancel?") if isinstance(p, Citation)]
    assert citation.title == "Streaming > Cancel"
    assert citation.document_id == "streaming.md"
    assert citation.text is not None
    assert citation.text.startswith("To stop an answer")
    assert citation.score is not None
    assert citation.score > 1


async def test_a_very_short_follow_up_goes_on_about_the_question_before(
    model: ExtractiveModel,
) -> None:
    """``tell me more`` brings another passage on the same, ``and X?`` the same about X."""
    before = ["Which databases are supported?", ModelMessage("SQLite and PostgreSQL.")]
    more = await ask(model, *before, "tell me more")
    assert uris_of(more) == ["storage.rst#databases"]
    again = await ask(model, *before[:1], ModelMessage(text_of(more)), "tell me more")
    assert uris_of(again) == ["storage.rst#storage"]
    about = await ask(model, "How do I back up the database?", ModelMessage("x"), "and postgres?")
    assert uris_of(about) == ["storage.rst#backup"]
    own = await ask(model, *before, "what about nginx?")
    assert uris_of(own) == ["streaming.md#keep-alive"]


async def test_thanks_are_no_follow_up(model: ExtractiveModel) -> None:
    """Small talk does not bring up the question before it again."""
    before = ["Which databases are supported?", ModelMessage("SQLite and PostgreSQL.")]
    assert uris_of(await ask(model, *before, "thanks")) == []


async def test_an_attached_text_is_searched_first(model: ExtractiveModel) -> None:
    """The file answers, also in the next turn; what it does not hold, the documents may."""
    notes = b"# Notes\n\nApples are red.\n\n## Fruit\n\nBananas grow in Ecuador."
    file = FilePart("notes.md", "text/markdown", notes)
    first = message_of([TextPart("What does the attached file say about bananas?"), file])
    pieces = await ask(model, first)
    assert text_of(pieces) == "Bananas grow in Ecuador."
    assert uris_of(pieces) == ["notes.md#fruit"]
    later = await ask(model, first, ModelMessage("Bananas grow in Ecuador."), "Are apples red?")
    assert text_of(later) == "Apples are red."
    other = message_of([TextPart("How do I set the port?"), file])
    assert uris_of(await ask(model, other)) == ["configuration.md#host-and-port"]


@pytest.mark.parametrize("question", ["Summarize the attached file", "what is in it?"])
async def test_a_summary_is_how_the_text_begins(model: ExtractiveModel, question: str) -> None:
    """Nothing in particular is asked for, so the beginning is shown."""
    file = FilePart("notes.txt", "text/plain", b"It was a bright day in April.")
    assert text_of(await ask(model, message_of([TextPart(question), file]))) == (
        "It was a bright day in April."
    )


async def test_data_is_searched_like_a_file(model: ExtractiveModel) -> None:
    """A data part is JSON text."""
    message = message_of([TextPart("What is the total?"), DataPart({"total": 42})])
    assert '"total": 42' in text_of(await ask(model, message))


async def test_a_tool_is_called_when_it_is_named(model: ExtractiveModel) -> None:
    """``use`` and ``call`` with JSON; the rest of the message does not matter."""
    for directive in (
        'use get_weather {"city": "Oslo"}',
        'Please CALL get_weather {"city":"Oslo"}!',
    ):
        pieces = await ask(model, directive, tools=(WEATHER,))
        (call,) = [piece for piece in pieces if isinstance(piece, ToolCall)]
        assert (call.tool_name, call.arguments) == ("get_weather", '{"city": "Oslo"}')
        assert pieces[-1] == Stop("end_of_message")
        assert text_of(pieces) == ""


async def test_a_directive_that_cannot_be_followed_is_explained(model: ExtractiveModel) -> None:
    """An unknown tool and arguments that are no JSON are told to the user."""
    unknown = await ask(model, 'use nothing {"a": 1}', tools=(WEATHER,))
    assert text_of(unknown) == "There is no tool nothing. The tools are: get_weather."
    broken = await ask(model, 'use get_weather {"a": ', tools=(WEATHER,))
    assert "is not valid JSON" in text_of(broken)
    deep = await ask(model, "use get_weather " + '{"a":' * 20_000, tools=(WEATHER,))
    assert "is not valid JSON" in text_of(deep)


async def test_no_tool_is_called_unless_it_is_asked_for(model: ExtractiveModel) -> None:
    """A question that happens to hold the word is a question."""
    pieces = await ask(model, "How do I use the port?", tools=(WEATHER,))
    assert uris_of(pieces) == ["configuration.md#host-and-port"]


async def test_the_result_of_a_tool_is_the_answer(model: ExtractiveModel) -> None:
    """All results since the model spoke last are said."""
    calls = (ToolCall("1", "a", "{}"), ToolCall("2", "b", "{}"))
    pieces = await ask(
        model,
        "x",
        ModelMessage("", calls),
        ToolMessage("1", "a", "One."),
        ToolMessage("2", "b", "Two."),
    )
    assert text_of(pieces) == "One.\n\nTwo."


@pytest.mark.parametrize(
    "part",
    [
        FilePart("a.pdf", "application/pdf", b"%PDF"),
        FilePart("a.mp3", "audio/mpeg", b"x"),
        FilePart("a.txt", "text/plain", None, "https://example.com/a.txt"),
        FilePart("a.txt", "text/plain; charset=nope", b"x"),
        FilePart("a.txt", "text/plain; charset=rot13", b"x"),
        FilePart("a.txt", "text/plain; charset=undefined", b"x"),
        FilePart("a.txt", "text/plain; charset=punycode", b"a-b" * 300_000),
        FilePart("a.txt", "text/plain", b"\xff\xfe\xff"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_media_type(part: FilePart) -> None:
    """PDFs, sound, references and broken texts are not taken silently."""
    with pytest.raises(ContentTypeNotSupported, match=part.media_type.partition(";")[0]):
        message_of([part])


def test_images_and_too_much_text_need_a_language_model(model: ExtractiveModel) -> None:
    """The limits of the model are told before anything is done."""
    with pytest.raises(ContentTypeNotSupported, match="image/png"):
        model.check(message_of([FilePart("a.png", "image/png", b"\x89PNG")]))
    with pytest.raises(PayloadTooLarge):
        model.check(message_of([FilePart("a.txt", "text/plain", b"x" * 1_000_001)]))


def test_a_message_is_stored_and_read_again_as_it_was() -> None:
    """Text, attachments and images come back."""
    message = message_of(
        [
            TextPart("Look"),
            FilePart(None, "text/html", b"<p>Hi"),
            DataPart([1]),
            FilePart("a.png", "image/png", b"png"),
        ]
    )
    assert [each.name for each in message.attachments] == ["file.html", "data.json"]
    assert message.images == ("data:image/png;base64,cG5n",)
    assert from_input(to_input(message)) == message
    assert from_input(to_input(UserMessage("plain"))) == UserMessage("plain")


@pytest.mark.parametrize(
    "words",
    [
        "stream streams streaming streamed",
        "configure configured configuration configuring configurable",
        "authenticate authentication authenticated",
        "install installs installation installed",
        "store stored storing stores",
        "copy copies copied copying",
        "cancel canceled cancelled canceling",
        "set setting sets",
        "keep kept keeping",
        "database databases",
    ],
)
def test_forms_of_a_word_are_one_term(words: str) -> None:
    """English inflection does not matter."""
    assert len({stem(word) for word in words.split()}) == 1


def test_terms_are_letters_and_digits() -> None:
    """Nothing of a query language is left, accents and case are folded, camel case is split."""
    terms = [term.word for term in asked('Café\'s contextId "db_path" a* (x OR y) how to set up')]
    assert terms == ["cafe", "contextid", "context", "db", "path", "setup"]


def test_a_document_is_cut_at_headings_and_paragraphs() -> None:
    """Title, sections and anchors are kept; small blocks stay together."""
    text = (
        "---\nx: y\n---\n# Guide\n\nIntro.\n\n## Run it!\n\nOne.\n\nTwo:\n\n"
        "```sh\n# no heading\n\nrun\n```\n\n## Run it!\n\nThree."
    )
    title, passages = documents.cut("a/guide.md", text)
    assert title == "Guide"
    assert [(p.section, p.anchor, p.position) for p in passages] == [
        ("", "guide", 0),
        ("Run it!", "run-it", 1),
        ("Run it!", "run-it-1", 2),
    ]
    assert passages[1].text == "One.\n\nTwo:\n\n```sh\n# no heading\n\nrun\n```"


def test_long_text_is_cut_between_sentences_and_nothing_is_lost() -> None:
    """No passage is longer than the bound, and together they are the text."""
    text = " ".join(f"This is sentence number {n} of a long paragraph." for n in range(100))
    _title, passages = documents.cut("a.txt", text)
    assert len(passages) > 3
    assert all(len(passage.text) <= documents.LARGE for passage in passages)
    assert " ".join(passage.text for passage in passages) == text


def test_long_listings_and_tables_stay_listings_and_tables() -> None:
    """Every part has its fence, or its head."""
    code = "```py\n" + "\n".join(f"line_{n} = {n}" for n in range(400)) + "\n```"
    for passage in documents.cut("a.md", code)[1]:
        assert passage.text.startswith("```py\n")
        assert passage.text.endswith("\n```")
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | value |" for n in range(400))
    for passage in documents.cut("a.md", table)[1]:
        assert passage.text.startswith("| a | b |\n|---|---|\n")


@pytest.mark.parametrize(
    ("path", "text", "holds"),
    [
        (
            "a.html",
            "<head><title>T</title></head><h1>Hi</h1><p>a &lt; b</p><script>x</script>",
            "a < b",
        ),
        ("a.html", "<h1>Hi</h1><ul><li>One</li><li>Two</li></ul>", "- One\n- Two"),
        ("a.html", "<pre>a\n  b</pre>", "```\na\n  b\n```"),
        ("a.json", '{"port": 8080}', '"port": 8080'),
        ("a.json", "{broken", "{broken"),
        ("a.yaml", "port: 8080\n\nhost: x", "port: 8080"),
        ("a.rst", "Title\n=====\n\nText.", "Text."),
        ("a.txt", "Just text.", "Just text."),
    ],
)
def test_every_kind_of_file_becomes_text(path: str, text: str, holds: str) -> None:
    """Markup is gone, the words and their layout are there."""
    passages = documents.cut(path, text)[1]
    assert holds in "\n\n".join(passage.text for passage in passages)
    assert not any("script" in p.text or "<h1" in p.text for p in passages)


def test_a_file_that_is_not_text_is_no_document() -> None:
    """Null bytes and broken UTF-8 are not read."""
    assert documents.read("a.txt", b"a\0b") is None
    assert documents.read("a.txt", b"\xff\xff") is None


@pytest.mark.parametrize(
    "hostile",
    [
        "<!--",
        "![",
        "[a](",
        "# " + " " * 60 + "b",
        "<",
        "```",
        "- ",
        "| ",
        "<script",
        ". ",
        "a-",
        "'",
        "<" + "a" * 199_999,
        "&#" + "1" * 9_998,
        '[{"a":',
    ],
)
def test_hostile_text_is_cut_up_in_linear_time(hostile: str) -> None:
    """A pattern that takes quadratic time would not end here."""
    text = hostile * (200_000 // len(hostile))
    assert blocks_of(text) is not None
    assert documents.cut("a.html", text)[0]
    assert documents.cut("a.md", "x\n" + text + "\ny" + text)[0]


def test_deep_json_does_not_grow_many_times_longer() -> None:
    deep = "[" * 90 + "1," * 100_000 + "1" + "]" * 90
    assert sum(len(passage.text) for passage in documents.cut("a.json", deep)[1]) < 9 * len(deep)
    (attachment,) = message_of([DataPart(json.loads(deep))]).attachments
    assert len(attachment.text) <= len(deep)


def test_white_space_alone_is_said_in_linear_time() -> None:
    """A pattern that takes quadratic time would not end here."""
    assert "".join(_WORD.findall(" " * 200_000)) == " " * 200_000


async def test_of_a_long_paragraph_only_what_is_asked_for_is_said() -> None:
    """The sentence that answers, from the one that it refers back to, and what follows it."""
    said = [f"Fact {name} is of no interest here." for name in ("one", "two", "three", "four")]
    text = " ".join([*said, "The gate opens at nine.", "It stays open in winter.", *said])
    model = model_of(documents.cut("gate.md", text)[1])
    assert text_of(await ask(model, "Does it stay open in winter?")) == (
        "The gate opens at nine. It stays open in winter. Fact one is of no interest here."
    )


async def test_an_answer_in_two_places_is_put_together() -> None:
    """Where one passage has half of what is asked, the other half is added with its source."""
    text = "# Zoo\n\n## Lions\n\nLions eat at noon.\n\n## Penguins\n\nPenguins eat fish."
    model = model_of(documents.cut("zoo.md", text)[1])
    pieces = await ask(model, "What about lions and penguins?")
    assert sorted(uri or "" for uri in uris_of(pieces)) == ["zoo.md#lions", "zoo.md#penguins"]
    assert "noon" in text_of(pieces)
    assert "fish" in text_of(pieces)


async def test_a_source_is_told_with_the_whole_passage() -> None:
    """However long it is: what the answer was taken from is not cut off."""
    table = "\n".join(["| Key | Value |", "|---|---|", *(f"| k{n} | {n} |" for n in range(120))])
    passages = documents.cut("guide/keys.md", f"# Keys\n\n{table}")[1]
    assert max(len(passage.text) for passage in passages) > 1000
    (source, *_) = [p for p in await ask(model_of(passages), "k7 key") if isinstance(p, Citation)]
    assert source.text in [passage.text for passage in passages]
    assert "| k7 | 7 |" in (source.text or "")
    assert (source.title, source.document_id) == ("Keys", "guide/keys.md")
    assert source.score is not None


async def test_tokens_are_counted_of_all_that_was_said(model: ExtractiveModel) -> None:
    """Four characters each: what the user attached too; a call is as long as its arguments."""
    attached = message_of([TextPart("Summarize it"), FilePart("a.txt", "text/plain", b"x" * 88)])
    pieces = await ask(model, "nginx", ModelMessage("abc"), attached)
    assert [p.input_tokens for p in pieces if isinstance(p, Usage)] == [(5 + 3 + 12 + 88) // 4]
    called = await ask(model, 'use get_weather {"city": "Oslo"}', tools=(WEATHER,))
    assert [p for p in called if isinstance(p, Usage)] == [Usage(8, 4)]


async def test_documents_that_are_not_to_be_searched_are_not_even_named() -> None:
    """What is attached is no document: the answer may still come from there."""
    plain = Prompt(model="", messages=(UserMessage("How do I set the port?"),), may_search=False)
    failing: Any = object()  # any use of the documents fails
    silent = ExtractiveModel(failing)
    pieces = [piece async for piece in silent.infer(plain)]
    assert text_of(pieces).startswith("No language model is configured")
    assert uris_of(pieces) == []
    attached = message_of(
        [TextPart("How do I set the port?"), FilePart("a.md", "text/markdown", b"Set the port: 1.")]
    )
    prompt = Prompt(model="", messages=(attached,), may_search=False)
    pieces = [piece async for piece in silent.infer(prompt)]
    assert text_of(pieces) == "Set the port: 1."
    assert uris_of(pieces) == ["a.md"]


async def test_an_attached_file_that_is_empty_is_said_to_be() -> None:
    """There is nothing to summarize."""
    message = message_of([TextPart("Summarize it"), FilePart("a.txt", "text/plain", b"")])
    assert text_of(await ask(model_of([]), message)) == "The attached text is empty."
