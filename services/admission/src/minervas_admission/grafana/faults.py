"""What goes wrong with Grafana, as our faults. No secret gets into one, and no exception of the client is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import niquests
from grafana_client.client import (
    GrafanaException,
    GrafanaServerError,
    GrafanaTimeoutError,
    GrafanaUnauthorizedError,
)

from minervas_core.errors import Code, LocalFault, MinervasError, TransientFault

MAX_REASON = 200
"""Characters of an answer that go into an error."""


@contextmanager
def grafana_faults(doing: str, *secrets: str) -> Iterator[None]:
    """Turn the client's exceptions into ours.

    Args:
        doing: what was attempted.
        secrets: what must not stand in an error, whatever Grafana answers.

    Raises:
        TransientFault: ``grafana_away``.
        LocalFault: ``grafana_refused``.
    """
    try:
        yield
    except GrafanaException as error:
        fault = _answered(error, doing, secrets)
    except (niquests.exceptions.RequestException, OSError) as error:
        # Not its text: it names requests, and those have passwords.
        fault = TransientFault(Code.GRAFANA_AWAY, "Grafana does not answer", doing=doing, reason=type(error).__name__)
    else:
        return
    raise fault from None


def _answered(error: GrafanaException, doing: str, secrets: tuple[str, ...]) -> MinervasError:
    status = int(error.status_code)
    if isinstance(error, GrafanaTimeoutError):
        return TransientFault(Code.GRAFANA_AWAY, "Grafana does not answer in time", doing=doing)
    reason = reason_of(error.response, *secrets)
    if isinstance(error, GrafanaServerError) or status == 429:
        return TransientFault(
            Code.GRAFANA_AWAY, "Grafana can not do this now", doing=doing, status=status, reason=reason
        )
    if isinstance(error, GrafanaUnauthorizedError):
        return LocalFault(
            Code.GRAFANA_REFUSED, "Grafana does not accept the admin's name and password", doing=doing, reason=reason
        )
    return LocalFault(Code.GRAFANA_REFUSED, "Grafana refuses this", doing=doing, status=status, reason=reason)


def reason_of(answer: Any, *secrets: str) -> str:
    """What Grafana says, in one short line without these secrets."""
    message = answer.get("message", "") if isinstance(answer, dict) else ""
    text = " ".join(str(message).split())
    for secret in secrets:
        text = text.replace(secret, "...")
    return text[:MAX_REASON]
