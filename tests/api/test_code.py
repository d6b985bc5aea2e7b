"""POST /v1/code/generate: code alone, checked, and honest about the check."""

from tests.api.reading import events_of
from tests.fakes.behaviours import Answer

GOOD = "def add(a, b):\n    return a + b"
BROKEN = "def add(a, b:\n    return a + b"


def ask(client, **fields):
    return client.post("/v1/code/generate", json={"prompt": "Add two numbers.", "language": "python", **fields})


def fenced(code, language="python"):
    return f"Here you are:\n\n```{language}\n{code}\n```\nEnjoy!"


def test_the_answer_is_code_alone_and_verified(client, gemini):
    gemini.script = [fenced(GOOD)]
    output = ask(client).json["output"]
    assert output["code"].strip() == GOOD
    assert output["verification"] == {"status": "verified", "level": "syntax", "errors": [], "repairs": 0}


def test_broken_code_goes_back_with_its_error_and_comes_back_repaired(client, gemini):
    gemini.script = [fenced(BROKEN), fenced(GOOD)]
    told = ask(client).json
    assert told["output"]["verification"] == {"status": "verified", "level": "syntax", "errors": [], "repairs": 1}
    assert "line" in str(gemini.bodies[1]["contents"][-1]).lower()
    assert len(told["attempts"]) == 2


def test_what_still_fails_says_so_with_line_and_column(client, gemini):
    gemini.default = fenced(BROKEN)
    verification = ask(client, max_repairs=2).json["output"]["verification"]
    assert (verification["status"], verification["repairs"], len(gemini.asked)) == ("failed", 2, 3)
    assert verification["errors"][0]["line"] == 1
    assert verification["errors"][0]["column"] >= 1


def test_no_repairs_means_none(client, gemini):
    gemini.default = fenced(BROKEN)
    assert ask(client, max_repairs=0).json["output"]["verification"]["status"] == "failed"
    assert len(gemini.asked) == 1


def test_an_unknown_language_and_an_unwanted_check_are_unchecked(client, gemini):
    gemini.default = fenced("xyzzy", "intercal")
    assert ask(client, language="intercal").json["output"]["verification"]["status"] == "unchecked"
    assert ask(client, verify="none").json["output"]["verification"]["status"] == "unchecked"


def test_streamed_code_has_no_fences_and_is_checked_at_the_end(client, gemini):
    said = fenced(GOOD)
    gemini.script = [Answer(said, pieces=tuple(said[i : i + 3] for i in range(0, len(said), 3)))]
    events = events_of(ask(client, stream=True).data)
    text = "".join(event.data["text"] for event in events if event.kind == "chunk")
    assert "```" not in text
    assert text.strip() == GOOD
    assert events[-1].data["output"]["verification"]["status"] == "verified"


def test_a_dry_run_counts_the_repairs_too(client, gemini):
    once = ask(client, dry_run=True, max_repairs=0).json["estimate"]
    thrice = ask(client, dry_run=True, max_repairs=2).json["estimate"]
    assert (once["calls"], thrice["calls"], gemini.asked) == (1, 3, [])
    assert thrice["input_tokens_bound"] > 3 * once["input_tokens_bound"]
