"""How the commands of training and export show an error that the user can mend."""

from __future__ import annotations

import click


class PlainErrors(click.Group):
    """Commands whose own errors, which say what to do, are shown without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a missing file or an unusable input ends it with exit code 1."""
        try:
            return super().invoke(ctx)
        except (FileNotFoundError, ValueError) as error:
            raise click.ClickException(str(error)) from error
