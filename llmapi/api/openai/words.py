"""OpenAI's words for what our tasks tell."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
FINISHES: Mapping[str, str] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "other": "stop"}


def usage_of(usage: Json) -> Json:
    """Return token counts under OpenAI's names."""
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": usage["cached_tokens"], "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage["reasoning_tokens"],
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def logprobs_of(told: Json) -> Json | None:
    """Return log-probabilities where OpenAI has them, or None where nobody asked."""
    return {"content": told["logprobs"], "refusal": None} if "logprobs" in told else None
