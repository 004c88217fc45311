"""Broker and files: reconcile, and download what members and the broker check each other by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission import audit_log
from minervas_admission.ca import fingerprint, moment_ms
from minervas_admission.data_directory import DataDirectory
from minervas_admission.web.faults import PageFault
from minervas_admission.web.site import OPERATOR_PAGES, MenuEntry, Site, visit_of
from minervas_core.encoding import sha256_hex
from minervas_core.errors import LocalFault

PATH = f"{OPERATOR_PAGES}/maintenance"
MENU = (MenuEntry(60, PATH, "maintenance.menu"),)

REPORTS = 10
"""Newest repairs that are shown."""

TYPES = {
    "ca.crt": "application/x-pem-file",
    "ca.crl": "application/x-pem-file",
    "genesis.json": "application/json",
}
"""What can be downloaded."""


def router(site: Site) -> APIRouter:
    """The pages of broker and files."""
    pages = site.operator_router()
    files = _files(DataDirectory(site.settings.paths.data))

    @pages.get("/maintenance")
    async def maintenance(request: Request) -> Response:
        """What was repaired last, and the files with their fingerprints."""
        visit = visit_of(request)
        reports: list[audit_log.AuditEntry] | None = None
        async with site.database.transaction() as connection:
            try:
                found = await audit_log.entries_of_subject(connection, "broker")
                reports = [entry for entry, _ in found[: -REPORTS - 1 : -1]]
            except LocalFault:
                pass  # the page of the audit log says what is wrong with it
        revoked = x509.load_pem_x509_crl(files["ca.crl"].read_bytes())
        authority = x509.load_pem_x509_certificate(files["ca.crt"].read_bytes())
        return visit.render(
            "maintenance.html",
            reports=reports,
            ca_fingerprint=fingerprint(authority),
            ca_until_ms=moment_ms(authority.not_valid_after_utc),
            sums={name: sha256_hex(file.read_bytes()) for name, file in files.items()},
            genesis=site.consortium.genesis,
            list_entries=len(revoked),
            list_number=revoked.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
            list_issued_ms=site.health().revocation_list_issued_ms,
            list_until_ms=moment_ms(revoked.next_update_utc) if revoked.next_update_utc else 0,
        )

    @pages.post("/maintenance/reconcile")
    async def reconcile(request: Request) -> Response:
        """Have broker and revocation list compared with the database and repaired."""
        visit = visit_of(request)
        async with visit.deciding() as decider:
            decision_id = await decider.reconcile()
        return visit.to_decision(decision_id)

    @pages.get("/maintenance/{name}")
    async def download(request: Request, name: str) -> Response:  # noqa: ARG001 - the router has checked who comes
        """A file as members and the broker have it."""
        if name not in files:
            raise PageFault(404, "not_found")
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(files[name].read_bytes(), media_type=TYPES[name], headers=headers)

    return pages


def _files(data: DataDirectory) -> Mapping[str, Path]:
    return {"ca.crt": data.ca_certificate, "ca.crl": data.revocation_list, "genesis.json": data.genesis}
