"""Fixtures of the fakes, for every room: `gemini`, `openai_upstream` and `anthropic_upstream`."""

from collections.abc import Iterator

import pytest

from tests.fakes.anthropic import FakeAnthropic
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


@pytest.fixture
def anthropic_upstream() -> Iterator[FakeAnthropic]:
    """A fake of Anthropic's API."""
    with FakeAnthropic() as upstream:
        yield upstream  # type: ignore[misc]
