"""A group of commands: a name that is not one of them is told with the nearest, and a reader who has gone is no error."""

from __future__ import annotations

from typing import Any

import click

from ..core.errors import unknown


class ReaderGone(Exception):
    """Nobody reads standard output any more, as after `| head`. Not an OSError, for which click would exit with 1: "there are violations"."""


class Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown("command", args[0], self.commands)
        return super().resolve_command(ctx, args)
