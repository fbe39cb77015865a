"""How a phone finds the page: this machine's address in the local network, and a QR code of where to go."""

from __future__ import annotations

import io
import socket

from dataengine.errors import MachineError, MissingDependency


def lan_address() -> str:
    """The address under which others in the network see this machine. Sends nothing: a datagram socket that is
    connected only chooses its way. Raises `MachineError` on a machine that has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))  # set aside for examples; nobody is there
            found = str(way.getsockname()[0])
        except OSError:
            found = ""
    if not found or found.startswith(("127.", "0.")):
        raise MachineError("this machine has no address in a local network; give it as host, or do without the phone")
    return found


def qr_rows(text: str) -> list[str]:
    """The code as rows of 0 and 1, with its quiet margin, for the page to draw."""
    return ["".join("1" if cell else "0" for cell in row) for row in _code(text).matrix_iter(border=3)]


def qr_text(text: str) -> str:
    """The code in half blocks, for a terminal."""
    out = io.StringIO()
    _code(text).terminal(out, compact=True, border=2)
    return out.getvalue()


def _code(text: str):  # type: ignore[no-untyped-def]
    try:
        import segno
    except ImportError:
        raise MissingDependency("segno", extra="collect") from None
    return segno.make(text, micro=False, error="m")
