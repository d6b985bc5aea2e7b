"""Fences: the same reading whatever the chunks, and no harm to code that holds fences of its own."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmapi.core.calls import Completion
from llmapi.tasks.code import Unfenced, read_code
from llmapi.tasks.fences import Block, fenced, segments_of, trimmed

PARTS = ["```", "```python", "````", "~~~", "``", "`", "\n", "  ", "x = 1", "def f():", "Here it is:", "é", "\r\n"]
PARTS += ["```js\n", "\n```\n", "```python\n"]
ANSWERS = st.lists(st.sampled_from(PARTS), max_size=14).map("".join)
LINES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20)
CODE_LINES = st.lists(LINES, min_size=1, max_size=6)


def streamed(text, language, cuts=()):
    """Return what a stream's reader sees when the text comes in pieces."""
    filter_, edges = Unfenced(language), [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [filter_.feed(text[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    return "".join(pieces) + filter_.close()


@settings(deadline=None)
@given(ANSWERS, st.sampled_from(["", "python", "js"]), st.lists(st.integers(0, 80), max_size=12))
@example("```python\nx = 1\n``", "python", [1, 2, 3, 17, 18])
@example("~~~" + "a" * 99 + " \n", "", [3, 50, 102])
def test_any_chunks_give_the_same_stream(text, language, cuts):
    assert streamed(text, language, cuts) == streamed(text, language)


@settings(deadline=None)
@given(ANSWERS)
def test_one_letter_at_a_time_gives_the_same_stream(text):
    assert streamed(text, "python", range(len(text))) == streamed(text, "python")


@settings(deadline=None)
@given(CODE_LINES)
def test_code_without_backticks_comes_out_of_a_fence_as_it_went_in(lines):
    code = "\n".join(lines)
    if "`" in code or "~~~" in code:
        return
    assert streamed(f"Here it is:\n\n```python\n{code}\n```\nIt works.", "python") == trimmed(code)
    assert read_code(Completion(f"```\n{code}\n```"), "nothing-known", False)[0] == trimmed(code)


@settings(deadline=None)
@given(st.text(st.sampled_from("`~ab \n"), max_size=60))
def test_a_fence_of_ours_is_longer_than_any_in_the_text(text):
    blocks = [each for each in segments_of(fenced(text, "text")) if isinstance(each, Block)]
    assert [(block.text, block.closed) for block in blocks] == [(text + "\n", True)]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("~~~py\nx = 1\n~~~\n", "x = 1"),
        ("````python\nx = 1\n````", "x = 1"),
        ("Here it is:\n\n```python\nx = 1\n```\n\nIt sets x.", "x = 1"),
        ("```python title=\"a.py\"\nx = 1\n```", "x = 1"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1"),
        ("x = 1", "x = 1"),
        ("x = 1\n```", "x = 1"),
        ("```python\nx = 1", "x = 1"),
        ("```python\nx = 1```", "x = 1"),
        ("```python\nx = 1\n``", "x = 1"),
        ("```\n\n\n    x\n\n```", "    x"),
        ("1. Do this:\n\n   ```python\n   if x:\n       y\n   ```\n", "if x:\n    y"),
        ("```bash\npip install x\n```\nand\n```python\nimport x\n```", "import x"),
        ("```text\nnot this\n```\n```\nx = 1\n```", "x = 1"),
        ("```ruby\nputs 1\n```", "puts 1"),
        ("```python\nx = 1\n```\n```python\nx = 2\n```", "x = 1"),
        ("```\n\n```\n```python\nx = 1\n```", "x = 1"),
        ("```python", ""),
        ("Let me write it:\n```python\n", ""),
        ("", ""),
        ('```python\n"""Like\n\n```python\nf()\n```\n"""\n```\nDone.', '"""Like\n\n```python\nf()\n```\n"""'),
    ],
)
def test_the_code_is_found_and_a_stream_shows_the_same(answer, code):
    assert read_code(Completion(answer), "python", False) == (code, None)
    assert streamed(answer, "python") == code


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("js", "const a = `one ${two} ``three`` `;\nconst b = `\n`;"),
        ("bash", "x=`ls`\necho `date`"),
        ("go", "var s = `raw\nstring`"),
        ("markdown", "Use `x`.\n\n~~~\ncode\n~~~"),
        ("python", 'def f():\n    """Like\n\n    ```\n    f()\n    ```\n    """'),
    ],
)
def test_backticks_that_belong_to_the_code_stay(language, code):
    assert read_code(Completion(f"```{language}\n{code}\n```"), language, False)[0] == code
    assert streamed(f"```{language}\n{code}\n```", language) == code


BARE_FENCES = '"""A module.\n\n```\nf()\n```\n"""\n\n\ndef f():\n    return 1'


def test_a_bare_fence_in_a_docstring_does_not_end_code_that_parses_only_as_a_whole():
    assert read_code(Completion(f"```python\n{BARE_FENCES}\n```\nDone."), "python", True) == (BARE_FENCES, "Done.")


def test_a_bare_fence_in_a_docstring_does_not_start_code_that_came_without_a_fence():
    assert read_code(Completion(BARE_FENCES), "python", False)[0] == BARE_FENCES


def test_a_fence_on_one_line_is_taken_off():
    assert read_code(Completion("```print(1)```"), "python", False)[0] == "print(1)"
    assert read_code(Completion("```python print(1)```"), "python", False)[0] == "print(1)"


def test_talk_around_bare_code_is_taken_off_when_the_code_then_parses():
    answer = Completion("Sure, here is the code:\n\nx = 1\n\ny = 2\n\nThis sets both of them.")
    assert read_code(answer, "python", True) == ("x = 1\n\ny = 2", "Sure, here is the code:\n\nThis sets both of them.")


def test_a_broken_line_of_code_is_never_taken_for_talk():
    assert read_code(Completion("import os,\n\nx = 1"), "python", False)[0] == "import os,\n\nx = 1"


def test_the_explanation_is_what_follows_the_code_or_else_what_comes_before():
    block = "```python\nx = 1\n```"
    assert read_code(Completion(f"Before.\n{block}\nAfter."), "python", True)[1] == "After."
    assert read_code(Completion(f"Before.\n{block}\n"), "python", True)[1] == "Before."
    assert read_code(Completion(block), "python", True)[1] == ""


def test_bare_code_streams_from_its_first_line_that_is_clearly_code():
    stream = Unfenced("python")
    assert stream.feed("import os\n") == ""
    assert stream.feed("print(1)\n") == "import os\nprint(1)"


def test_code_in_a_block_streams_as_it_comes():
    stream = Unfenced("python")
    pieces = ("Sure:\n```py", "thon\nx =", " 1", "\n``", "`\nBye")
    assert [stream.feed(piece) for piece in pieces] == ["", "x =", " 1", "", ""]


def test_a_long_answer_is_read_in_linear_time():
    text = "```python\n" + "x = 1\n" * 100_000 + "```"
    assert len(read_code(Completion(text), "unknown", False)[0]) == 599_999
