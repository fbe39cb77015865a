"""The front door: one thin module per verb. Heavy imports stay inside functions, so `--help` is quick."""

from __future__ import annotations

import errno
import sys

import typer

from dataengine.cli import (
    collect,
    convert,
    demo,
    doctor,
    edit,
    evaluate,
    hub,
    inspect,
    plugins,
    publish,
    run,
    store,
    tokenizer,
    train,
)
from dataengine.errors import DataEngineError

app = typer.Typer(
    help="Robot action data: collect, convert, label, publish, train – one episode format (LeRobotDataset v3.0).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (
    convert.convert,
    inspect.inspect,
    store.verify,
    store.repair,
    store.snapshot,
    store.compact,
    run.run,
    run.status,
    run.cancel,
    tokenizer.tokenizer,
    publish.publish,
    train.train,
    evaluate.evaluate,
    plugins.plugins,
    doctor.doctor,
    demo.demo,
):
    app.command()(verb)
app.add_typer(collect.app, name="collect")
app.add_typer(hub.app, name="hub")
app.add_typer(edit.app, name="edit")


def main() -> None:
    """Exit codes: 0 done; 1 something failed or was found wrong; 2 wrong input, nothing was done; 3 done, but episodes
    are in quarantine; 4 cancelled; 130 interrupted."""
    try:
        app()
    except DataEngineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written, a file where a folder should be
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: {error.filename or 'writing'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; what was committed is kept, run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
