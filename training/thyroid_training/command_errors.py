"""How the commands of training and export show an error that the user can mend."""

from __future__ import annotations

import click


class PlainErrors(click.Group):
    """Commands whose own errors, which say what to do, are shown without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command.

        A missing file, an unusable input or an extra that is not installed ends it with exit
        code 1.
        """
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{error.name} is not installed, which this command needs: install the extra that "
                "brings it, `pip install 'thyroid-triton[training]'` for thyroid-train or "
                "`pip install 'thyroid-triton[export]'` for thyroid-export, of which the command "
                "engine needs no more than 'thyroid-triton[engine]'"
            ) from error
        except (FileNotFoundError, ValueError) as error:
            raise click.ClickException(str(error)) from error
