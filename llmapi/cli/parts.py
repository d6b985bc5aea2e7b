"""What commands share: the services, errors told in a sentence, and columns."""

import getpass
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import click
from flask.cli import ScriptInfo

from llmapi.core.errors import BadSetting, LlmApiError
from llmapi.services import Services


def services() -> Services:
    """Return the services of the application; nothing of them runs. They are given back when the command ends."""
    context = click.get_current_context()
    found: Services = context.ensure_object(ScriptInfo).load_app().extensions["llmapi"]
    context.call_on_close(found.engine.dispose)
    return found


def noted(tenant: str, action: str, target: str, **details: Any) -> None:
    """Write down in the audit chain what this command has done."""
    services().audit.append(tenant, f"cli:{user()}", action, target, details=details)


def user(named: Callable[[], str] = getpass.getuser) -> str:
    """Return who runs a command: in a container often a number that has no name."""
    try:
        return named()
    except (KeyError, OSError):
        return str(os.getuid())


class Told:
    """Tells an operator what is wrong, without a stack trace."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)  # type: ignore[misc]
        except LlmApiError as error:
            said = [f"{name}: {', '.join(wrong)}" for name, wrong in error.fields.items()]
            raise click.ClickException("\n".join([error.message, *said])) from error
        except BadSetting as error:
            raise click.ClickException(str(error)) from error


class Group(Told, click.Group):
    """A group of commands."""


class Command(Told, click.Command):
    """A command of its own."""


class Number(click.FloatRange):
    """A number within bounds; nan is within none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail("nan is no number.", param, ctx)
        return found


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in cells)
