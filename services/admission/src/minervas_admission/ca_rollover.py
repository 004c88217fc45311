"""Replacing the CA in three steps, each of which is one change of a file: whatever is interrupted is simply repeated.

1. *Start*: a new CA is made, and trusted by everybody beside the old one, which goes on signing.
2. *Switch*: the new CA signs; servers get certificates of it at once, members as theirs are renewed.
3. *Finish*: the old CA is trusted no more, and its key is deleted.

Between start and switch every node must have heard of the new CA; each asks once a day. Between switch and finish all
certificates of the old CA end, which takes the 30 days that they last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_admission.ca import create_ca_certificate
from minervas_admission.ca_set import CaSet, CaState, read_ca_state, write_ca_state
from minervas_admission.data_directory import DataDirectory
from minervas_admission.sealed_keys import create_ca_key, load_ca_key
from minervas_admission.store.applications import count_under_way
from minervas_admission.store.certificates import DAY_MS, valid_by_issuer
from minervas_admission.store.database import Connection
from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import PUBLIC_MODE, write_atomic

START, SWITCH, FINISH = "ca_start", "ca_switch", "ca_finish"
KINDS = (START, SWITCH, FINISH)
"""Kinds of decisions about the CA."""

FORCE = "force"
"""Content of a decision that was forced."""

SPREAD_MS = 2 * DAY_MS
"""How long the new CA is only trusted: nodes ask once a day, and one question may fail."""


async def check_step(
    connection: Connection, kind: str, data: DataDirectory, ids: Mapping[str, str], *, now_ms: int, force: bool
) -> None:
    """Check that a step of a rollover can be done now.

    Args:
        connection: the database.
        kind: the step.
        data: admission's directory.
        ids: key identifiers of the CAs in use, by name.
        now_ms: our clock.
        force: whether members may be hurt by it.

    Raises:
        LocalFault: ``not_ready`` saying what is to be waited for or done before.
    """
    state = read_ca_state(data)
    check_order(kind, state)
    if force:
        return
    if kind == SWITCH:
        left_ms = state.changed_ms + SPREAD_MS - now_ms
        if left_ms > 0:
            raise _not_ready(
                "Nodes ask for the CAs once a day; wait, or add --force", hours_left=-(-left_ms // 3_600_000)
            )
        waiting = await count_under_way(connection)
        if waiting:
            raise _not_ready(
                "Applicants compared the old CA's fingerprint; decide their applications first, or add --force",
                applications=waiting,
            )
    if kind == FINISH:
        valid = (await valid_by_issuer(connection, now_ms)).get(ids[state.trusted[0]], [])
        if valid:
            names = [name for name, _ in valid]
            raise _not_ready(
                "Certificates of the old CA are still valid; wait until they have ended, or add --force, which cuts "
                "these processes off",
                processes=len(names),
                first=", ".join(names[:5]),
            )


def check_order(kind: str, state: CaState) -> None:
    """Check that a step comes after the one before it.

    Raises:
        LocalFault: ``not_ready``.
    """
    under_way, switched = len(state.trusted) > 1, state.signing == state.newest
    if kind == START and under_way:
        raise _not_ready("The CA is being replaced already; see minervas-admission ca show")
    if kind == SWITCH and not under_way:
        raise _not_ready("There is no new CA; begin with minervas-admission ca start-rollover")
    if kind == SWITCH and switched:
        raise _not_ready("The new CA signs already")
    if kind == FINISH and not (under_way and switched):
        raise _not_ready("The new CA does not sign yet; first minervas-admission ca switch")


def do_step(kind: str, data: DataDirectory, cas: CaSet, name: str, *, decision: int, now_ms: int) -> str:
    """Carry out a step, once for each decision. Blocks on the disk.

    Args:
        kind: the step.
        data: admission's directory.
        cas: the CAs in use, which are reloaded.
        name: the consortium's.
        decision: whose step it is.
        now_ms: our clock.

    Returns:
        What was done, for people.

    Raises:
        LocalFault: ``not_ready`` out of order; ``bad_key_file``.
    """
    state = read_ca_state(data)
    if state.decision != decision:
        check_order(kind, state)
        change: Callable[[], CaState] = {
            START: lambda: _start(state, data, cas.passphrase, name, now_ms),
            SWITCH: lambda: msgspec.structs.replace(state, signing=state.newest),
            FINISH: lambda: msgspec.structs.replace(state, trusted=[state.newest]),
        }[kind]
        state = msgspec.structs.replace(change(), number=state.number + 1, changed_ms=now_ms, decision=decision)
        write_ca_state(data, state)
    cas.reload()
    _delete_ended_keys(state, data)
    return f"number {state.number}: {', '.join(_described(cas))}"


def _start(state: CaState, data: DataDirectory, passphrase: bytes, name: str, now_ms: int) -> CaState:
    """Make the new CA; what an interrupted attempt has made is used."""
    files = data.ca(state.next_name)
    if not files.key.exists():
        create_ca_key(files.key, passphrase)
    certificate = create_ca_certificate(load_ca_key(files.key, passphrase), name, now_ms)
    write_atomic(files.certificate, certificate.public_bytes(Encoding.PEM), mode=PUBLIC_MODE)
    return msgspec.structs.replace(state, trusted=[*state.trusted, state.next_name])


def _delete_ended_keys(state: CaState, data: DataDirectory) -> None:
    """A CA that nobody trusts needs no key any more; its certificate and last list stay for the record."""
    for key in data.ca(state.newest).key.parent.glob("*.key"):
        if key.stem not in (*state.trusted, state.next_name):
            key.unlink(missing_ok=True)


def _described(cas: CaSet) -> list[str]:
    signing = cas.state.signing
    return [f"{name} {'signs' if name == signing else 'is trusted'}" for name in cas.state.trusted]


def _not_ready(message: str, **values: str | int) -> LocalFault:
    return LocalFault(Code.NOT_READY, message, **values)
