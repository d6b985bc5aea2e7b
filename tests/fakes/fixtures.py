"""Fixtures of the fakes, for every room: `gemini` and `openai_upstream`."""

from collections.abc import Iterator

import pytest

from tests.fakes.gemini import FakeGemini
from tests.fakes.openai import FakeOpenAI


@pytest.fixture
def gemini() -> Iterator[FakeGemini]:
    """A fake Gemini, e.g. gemini.script = [429, "Spam."]."""
    with FakeGemini() as upstream:
        yield upstream  # type: ignore[misc]


@pytest.fixture
def openai_upstream() -> Iterator[FakeOpenAI]:
    """A fake of OpenAI's API; give adapters its `base`."""
    with FakeOpenAI() as upstream:
        yield upstream  # type: ignore[misc]
