"""What is known of vendors and models. A vendor that speaks OpenAI's format is a row here, and no file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# votes: worth asking several times; tools: can want functions called
ABILITIES = frozenset("chat stream json_schema logprobs votes embeddings tools".split())
EMBEDDINGS = frozenset({"embeddings"})


def can(names: str) -> frozenset[str]:
    return frozenset(names.split())


@dataclass(frozen=True, slots=True)
class Vendor:
    """Who serves models: where, with whose key, and what its models usually can."""

    name: str
    base_url: str
    key_name: str  # the variable its key is read from; "": it needs none
    abilities: frozenset[str]
    names: Mapping[str, str] = field(default_factory=dict)  # of fields it calls differently than `openai.fields`


@dataclass(frozen=True, slots=True)
class Model:
    """A model worth listing. Abilities None: its vendor's."""

    provider: str
    name: str
    context: int  # tokens
    description: str
    abilities: frozenset[str] | None = None

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.name}"


CHAT = "chat stream json_schema votes tools"

VENDORS: tuple[Vendor, ...] = (
    Vendor("local", "", "", can("chat stream json_schema")),
    Vendor("gemini", "https://generativelanguage.googleapis.com", "GOOGLE_API_KEY", can(f"{CHAT} embeddings")),
    Vendor(
        "openai",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        can(f"{CHAT} logprobs embeddings"),
        {"max_tokens": "max_completion_tokens"},
    ),
    Vendor("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", can(CHAT)),
    Vendor("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", can(CHAT)),
    Vendor(
        "mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        can(f"{CHAT} embeddings"),
        {"seed": "random_seed"},
    ),
    Vendor("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", can("chat stream votes logprobs tools")),
    Vendor("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", can(CHAT)),
    Vendor("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", can(f"{CHAT} embeddings")),
    Vendor("vllm", "http://127.0.0.1:8000/v1", "", can(f"{CHAT} logprobs embeddings")),
    Vendor("ollama", "http://127.0.0.1:11434/v1", "", can(f"{CHAT} embeddings")),
    Vendor("llama.cpp", "http://127.0.0.1:8080/v1", "", can(f"{CHAT} logprobs embeddings")),
)

NO_LOGPROBS = can(CHAT)  # OpenAI's models that think first

MODELS: tuple[Model, ...] = (
    Model(
        "local",
        "smollm2-135m-instruct",
        2048,
        "SmolLM2 with 135M parameters: for trying the API, not for real work",
    ),
    Model("local", "all-minilm-l6-v2", 256, "MiniLM sentence embeddings, 384 dimensions", EMBEDDINGS),
    Model("gemini", "gemini-flash-latest", 1_048_576, "Google's current Flash model"),
    Model("gemini", "gemini-flash-lite-latest", 1_048_576, "Google's current small and quick model"),
    Model("gemini", "gemini-3.8-flash", 1_048_576, "Gemini 3.8 Flash"),
    Model("gemini", "gemini-3.5-flash", 1_048_576, "Gemini 3.5 Flash"),
    Model("gemini", "gemini-2.5-pro", 1_048_576, "Gemini 2.5 Pro"),
    Model("gemini", "gemini-embedding-001", 2048, "Google's text embeddings, 3072 dimensions", EMBEDDINGS),
    Model("gemini", "gemini-embedding-2", 8192, "Google's second text embeddings", EMBEDDINGS),
    Model("openai", "gpt-4o", 128_000, "GPT-4o"),
    Model("openai", "gpt-4o-mini", 128_000, "GPT-4o mini: with logprobs, good for classification"),
    Model("openai", "gpt-4.1", 1_047_576, "GPT-4.1"),
    Model("openai", "gpt-4.1-mini", 1_047_576, "GPT-4.1 mini"),
    Model("openai", "gpt-5", 272_000, "GPT-5, thinks first", NO_LOGPROBS),
    Model("openai", "gpt-5-mini", 272_000, "GPT-5 mini, thinks first", NO_LOGPROBS),
    Model("openai", "gpt-5-nano", 272_000, "GPT-5 nano, thinks first", NO_LOGPROBS),
    Model("openai", "gpt-5.6", 1_050_000, "GPT-5.6, thinks first", NO_LOGPROBS),
    Model("openai", "o3", 200_000, "o3, thinks first", NO_LOGPROBS),
    Model("openai", "o4-mini", 200_000, "o4-mini, thinks first", NO_LOGPROBS),
    Model("openai", "text-embedding-3-small", 8191, "OpenAI's text embeddings, 1536 dimensions", EMBEDDINGS),
    Model("openai", "text-embedding-3-large", 8191, "OpenAI's text embeddings, 3072 dimensions", EMBEDDINGS),
    Model("anthropic", "claude-opus-5-5", 1_000_000, "Claude Opus 5.5, thinks first"),
    Model("anthropic", "claude-sonnet-5-5", 1_000_000, "Claude Sonnet 5.5, thinks first"),
    Model("anthropic", "claude-haiku-5-5", 1_000_000, "Claude Haiku 5.5: small and quick"),
    Model("anthropic", "claude-opus-5", 1_000_000, "Claude Opus 5"),
    Model("anthropic", "claude-sonnet-5", 1_000_000, "Claude Sonnet 5"),
    Model("anthropic", "claude-sonnet-4-6", 1_000_000, "Claude Sonnet 4.6: takes a temperature"),
    Model("anthropic", "claude-opus-4-5", 200_000, "Claude Opus 4.5: takes a temperature"),
    Model("anthropic", "claude-haiku-4-5", 200_000, "Claude Haiku 4.5: small, takes a temperature"),
    Model("mistral", "mistral-small-latest", 128_000, "Mistral's current small model"),
    Model("mistral", "mistral-embed", 8192, "Mistral's text embeddings", EMBEDDINGS),
    Model("deepseek", "deepseek-chat", 128_000, "DeepSeek's current chat model"),
)

# What the beginning of a bare name says about who serves it.
PREFIXES: tuple[tuple[str, str], ...] = (
    ("gemini-", "gemini"),
    ("gemma-", "gemini"),
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("text-embedding-", "openai"),
    ("claude-", "anthropic"),
    ("mistral-", "mistral"),
    ("ministral-", "mistral"),
    ("codestral-", "mistral"),
    ("deepseek-", "deepseek"),
)

# What the beginning of a name says about what it can, where that is less than its vendor's usual.
LESS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("openai", "o1", NO_LOGPROBS),
    ("openai", "o3", NO_LOGPROBS),
    ("openai", "o4", NO_LOGPROBS),
    ("openai", "gpt-5", NO_LOGPROBS),
    ("openai", "gpt-6", NO_LOGPROBS),
)
