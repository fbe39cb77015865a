"""`dataengine hub serve`: a local Hub to rehearse on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import console

app = typer.Typer(help="A local stand-in for the Hugging Face Hub.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A local stand-in for the Hugging Face Hub."""


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="Where it keeps what is published to it.")] = Path("out/hub"),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8765,
    token: Annotated[str | None, typer.Option(help="Ask for this token to write and to see private datasets.")] = None,
) -> None:
    """Serve a Hub on 127.0.0.1 that huggingface_hub and stock LeRobot can talk to."""
    from dataengine.doctor import require

    require("hub")
    import uvicorn

    from dataengine.hub.server import make_app

    address = f"http://127.0.0.1:{port}"
    console.print(f"A Hub for rehearsals at {address} (Ctrl-C stops it). In another terminal:")
    console.print(f"  HF_ENDPOINT={address} dataengine publish STORE local/name", markup=False)
    uvicorn.run(make_app(folder, token=token), host="127.0.0.1", port=port, log_level="warning")
