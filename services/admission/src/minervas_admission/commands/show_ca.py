"""`ca show`: which CAs are in use, and whose certificates are of which."""

from __future__ import annotations

from minervas_admission.ca import ca_id, fingerprint, moment_ms
from minervas_admission.ca_set import load_ca_certificate, read_ca_state
from minervas_admission.commands.output import say, say_json, table, when
from minervas_admission.commands.show import one_transaction
from minervas_admission.data_directory import DataDirectory
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.certificates import valid_by_issuer
from minervas_runtime.clock import SystemClock


async def show_cas(settings: AdmissionSettings, *, as_json: bool) -> None:
    """Print the CAs in use with the members' valid certificates of each.

    Raises:
        LocalFault: ``not_ready`` before `init`, ``bad_key_file``.
        TransientFault: ``database_away``.
    """
    data = DataDirectory(settings.paths.data)
    state = read_ca_state(data)
    async with one_transaction(settings) as connection:
        valid = await valid_by_issuer(connection, SystemClock().now_ms())
    rows = []
    for name in state.trusted:
        certificate = load_ca_certificate(data, name)
        certified = valid.get(ca_id(certificate), [])
        rows.append(
            {
                "name": name,
                "use": "signs" if name == state.signing else "trusted",
                "fingerprint": fingerprint(certificate),
                "expires_ms": moment_ms(certificate.not_valid_after_utc),
                "certificates": len(certified),
                "last_end_ms": max((end_ms for _, end_ms in certified), default=0),
            }
        )
    if as_json:
        say_json({"number": state.number, "changed_ms": state.changed_ms, "cas": rows})
        return
    table(
        ("CA", "USE", "VALID TO", "MEMBERS' CERTIFICATES", "LAST ENDS"),
        [
            (
                str(row["name"]),
                str(row["use"]),
                when(int(row["expires_ms"])),
                str(row["certificates"]),
                when(int(row["last_end_ms"])),
            )
            for row in rows
        ],
    )
    for row in rows:
        say(f"{row['name']}: {row['fingerprint']}")
    say(f"Bundle {state.number}, last changed {when(state.changed_ms)}")
