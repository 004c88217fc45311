"""The genesis of the consortium that this node has joined, for commands that work without the bus."""

from __future__ import annotations

from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import Genesis, load_genesis
from minervas_runtime.settings import NodePaths


def read_genesis(paths: NodePaths) -> Genesis:
    """Read the installed genesis file.

    Raises:
        LocalFault: ``bad_genesis``.
    """
    path = paths.issued / "genesis.json"
    try:
        return load_genesis(path.read_bytes())
    except OSError as error:
        raise LocalFault(
            Code.BAD_GENESIS,
            "The genesis file cannot be read; has this node joined?",
            file=str(path),
            reason=error.strerror or str(error),
        ) from error
