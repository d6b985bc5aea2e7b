"""flask prices: what a model costs."""

import click

from llmapi.cli.parts import Command, in_columns, services
from llmapi.core.calls import Target, Usage
from llmapi.core.contracts import Prices
from llmapi.core.errors import ValidationFailed
from llmapi.core.money import dollars

HEAD = ("MODEL", "INPUT", "CACHED INPUT", "OUTPUT", "REASONING")
TOKENS = 1000  # priced, then told for a million: a longer prompt may have another price
KINDS = (
    Usage(input_tokens=TOKENS),
    Usage(input_tokens=TOKENS, cached_tokens=TOKENS),
    Usage(output_tokens=TOKENS),
    Usage(output_tokens=TOKENS, reasoning_tokens=TOKENS),
)


@click.command(cls=Command)
@click.argument("model")
def prices(model: str) -> None:
    """Tell what a model, alias or route costs in dollars for a million tokens."""
    parts = services()
    try:
        targets = parts.models.resolve(model).targets
    except ValidationFailed:  # perhaps no more than its key is missing
        targets = parts.models.resolve(model, own_key=True).targets
    click.echo(in_columns([HEAD, *(row(target, parts.prices) for target in targets)]))


def row(target: Target, known: Prices) -> tuple[str, ...]:
    """Return a model's prices, as far as they are known."""
    return (f"{target.provider}/{target.model}", *(told(target, usage, known) for usage in KINDS))


def told(target: Target, usage: Usage, known: Prices) -> str:
    """Return the price of a million tokens."""
    cost = known.cost(target, usage)
    return cost.status if not cost.nanos else dollars(cost.nanos * (1_000_000 // TOKENS))
