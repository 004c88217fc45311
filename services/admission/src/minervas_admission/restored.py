"""A restored admission does not start before it was told what the chain knows (ADR 0043)."""

from __future__ import annotations

from minervas_admission.data_directory import DataDirectory
from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import write_atomic

NO_CHAIN = "without a chain: who was revoked after the backup has its rights again"


def mark_restored(data: DataDirectory) -> None:
    """Keep the service and `init` from giving the broker anything.

    Raises:
        LocalFault: ``bad_key_file`` if it cannot be written.
    """
    write_atomic(data.restored, b"minervas-admission catch-up\n")


def check_caught_up(data: DataDirectory) -> None:
    """Check that nothing was restored, or that it was caught up.

    Raises:
        LocalFault: ``not_ready``.
    """
    if data.restored.exists():
        raise LocalFault(
            Code.NOT_READY,
            "This is a restored backup that does not know yet who was revoked since; run minervas-admission catch-up",
            file=str(data.restored),
        )
