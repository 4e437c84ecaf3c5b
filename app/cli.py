"""The command line. Thin: its commands read flags, call the core, and print what was written and where."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from ..core.errors import InvalidData, UserError
from ..core.heap import keep_freed_memory
from .commands.demo import demo
from .commands.estimate import estimate
from .commands.evaluate import evaluate
from .commands.explain import explain
from .commands.generate import generate
from .commands.import_ import import_
from .commands.look import scenarios, schema
from .commands.map import map_
from .commands.models import fit, models, sample
from .commands.modules import modules
from .commands.serve import serve
from .commands.stream import stream
from .commands.unseed import unseed
from .commands.validate import validate
from .group import Group, ReaderGone


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="populace")
def cli() -> None:
    """Synthetic healthcare, finance and IoT data: sourced priors, labelled scenarios, one seed that reproduces everything."""


for _command in (
    generate,
    import_,
    stream,
    validate,
    unseed,
    map_,
    explain,
    scenarios,
    schema,
    models,
    fit,
    sample,
    evaluate,
    estimate,
    modules,
    serve,
    demo,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line: user errors on one line with exit code 2, invalid data with 1, an interruption with 130."""
    keep_freed_memory()
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; what a user did wrong is told on standard error."""
    try:
        return cli(list(arguments), standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.Abort as stop:
        # a network that has learnt anything ends by itself and is kept
        kept = "nothing was learnt that could be kept" if "fit" in arguments[:1] else "--resume goes on from here"
        if type(stop.__cause__).__name__ == "BrokenOff":
            kept = f"{stop.__cause__}; --resume goes on from there"
        return _say(f"interrupted; {kept}", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        return _say(error.format_message(), 2)
    except UserError as error:
        return _say(str(error), 2)
    except InvalidData as error:
        return _say(str(error), 1)
    except ReaderGone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # what no part of the program could foresee: standard output on a full disk, a working folder that is gone
        return _say(f"the system refuses: {error}", 2)


def _say(message: str, code: int) -> int:
    from ..core.address import redact

    # whatever part of the program speaks of a URL, its password is not for a terminal or a log
    click.echo(f"populace: {' '.join(redact(word) for word in message.split(' '))}", err=True)
    return code


if __name__ == "__main__":
    main()
