"""The passphrase of a backup: from a file of mode 0600, or typed; never an argument or in the environment."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import read_secret

MIN_CHARACTERS = 16


def read_passphrase(file: Path | None, *, is_new: bool) -> bytes:
    """Read the passphrase from the file, or else ask for it; twice if a backup is made under it.

    Raises:
        LocalFault: ``bad_key_file`` if the file cannot be read, is open to others or too short; ``bad_settings`` if
            there is neither a file nor a terminal, or two different ones were typed.
    """
    if file is not None:
        text = read_secret(file).strip()
    elif not sys.stdin.isatty():
        raise LocalFault(
            Code.BAD_SETTINGS, "There is no terminal to type the passphrase; name a file with --passphrase-file"
        )
    else:
        text = getpass.getpass("Passphrase of the backup: ").encode()
        if is_new and getpass.getpass("Once more: ").encode() != text:
            raise LocalFault(Code.BAD_SETTINGS, "The two passphrases differ; nothing was written")
    if is_new and len(text.decode("utf-8", "replace")) < MIN_CHARACTERS:
        message = f"The passphrase is too short: it needs {MIN_CHARACTERS} characters"
        raise LocalFault(Code.BAD_KEY_FILE, message, file=str(file or "-"))
    return text
