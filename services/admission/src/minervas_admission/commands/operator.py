"""Who gives a command."""

from __future__ import annotations

import os
import pwd


def operator_name() -> str:
    """The user of the operating system who runs this command; not what an environment variable says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
