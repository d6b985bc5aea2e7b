"""From what somebody wants cleared to the mark that says so."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from llmapi.core.kept import Mark, Meant

FIELDS: Final[Mapping[str, Meant]] = MappingProxyType(
    {"cache_key": "key", "tag": "tag", "model": "model", "task": "task"}
)
DECADE: Final = 315_360_000  # seconds; nothing older can be asked for
TEMPLATE: Final = "template:"  # tag of answers to a prompt template: `template:NAME` and `template:NAME@VERSION`


def mark_of(tenant: str, wanted: Mapping[str, Any], now: float) -> Mark:
    """Return the mark of a wish: `cache_key`, `tag`, `model`, `task`, `template`, or all; `older_than_s` narrows each.

    now: seconds since 1970
    """
    before = now - float(wanted.get("older_than_s") or 0.0)
    if template := wanted.get("template"):
        return Mark(tenant, "tag", TEMPLATE + template, before)
    for name, field in FIELDS.items():
        if value := wanted.get(name):
            return Mark(tenant, field, value, before)
    return Mark(tenant, "all", "", before)
