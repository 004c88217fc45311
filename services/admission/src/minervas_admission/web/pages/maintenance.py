"""Broker and files: reconcile, and download what members and the broker check each other by."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cryptography import x509
from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission import audit_log
from minervas_admission.ca import fingerprint, moment_ms
from minervas_admission.ca_set import CaSet
from minervas_admission.data_directory import DataDirectory
from minervas_admission.web.faults import PageFault
from minervas_admission.web.site import OPERATOR_PAGES, MenuEntry, Site, visit_of
from minervas_core.encoding import sha256_hex
from minervas_core.errors import LocalFault

PATH = f"{OPERATOR_PAGES}/maintenance"
MENU = (MenuEntry(60, PATH, "maintenance.menu"),)

REPORTS = 10
"""Newest repairs that are shown."""

PEM = "application/x-pem-file"
TYPES = {"ca.crt": PEM, "ca.crl": PEM, "genesis.json": "application/json"}
"""What can be downloaded."""


@dataclass(frozen=True, slots=True)
class CaView:
    """A CA in use and its newest revocation list."""

    name: str
    signs: bool
    """Whether it signs new certificates: while a CA is replaced there are two in use."""
    fingerprint: str
    until_ms: int
    list_number: int
    list_entries: int
    list_until_ms: int


def router(site: Site) -> APIRouter:
    """The pages of broker and files."""
    pages = site.operator_router()
    cas, data = site.consortium.cas, DataDirectory(site.settings.paths.data)

    @pages.get("/maintenance")
    async def maintenance(request: Request) -> Response:
        """What was repaired last, and the files with their fingerprints."""
        files = await asyncio.to_thread(_files, site)
        return visit_of(request).render(
            "maintenance.html",
            reports=await _reports(site),
            cas=await asyncio.to_thread(_ca_views, cas, data),
            sums={name: sha256_hex(content) for name, content in files.items()},
            genesis=site.consortium.genesis,
            list_issued_ms=site.health().revocation_list_issued_ms,
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
        if name not in TYPES:
            raise PageFault(404, "not_found")
        content = (await asyncio.to_thread(_files, site))[name]
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=TYPES[name], headers=headers)

    return pages


async def _reports(site: Site) -> list[audit_log.AuditEntry] | None:
    """What was repaired last, newest first; None if the audit log can not be relied on."""
    async with site.database.transaction() as connection:
        try:
            found = await audit_log.entries_of_subject(connection, "broker")
        except LocalFault:
            return None
    return [entry for entry, _ in found[: -REPORTS - 1 : -1]]


def _files(site: Site) -> dict[str, bytes]:
    """What can be downloaded: all CAs in one file, all their lists in another, as the broker has them."""
    data = DataDirectory(site.settings.paths.data)
    lists = [data.ca(name).revocation_list.read_bytes() for name in site.consortium.cas.trusted]
    return {
        "ca.crt": site.consortium.cas.pem.encode(),
        "ca.crl": b"".join(lists),
        "genesis.json": site.consortium.genesis.raw,
    }


def _ca_views(cas: CaSet, data: DataDirectory) -> list[CaView]:
    """The CAs in use, the signing one first."""
    views: list[CaView] = []
    for name, authority in cas.trusted.items():
        certificate = x509.load_pem_x509_certificate(authority.pem.encode())
        revoked = x509.load_pem_x509_crl(data.ca(name).revocation_list.read_bytes())
        views.append(
            CaView(
                name=name,
                signs=name == cas.state.signing,
                fingerprint=fingerprint(certificate),
                until_ms=moment_ms(certificate.not_valid_after_utc),
                list_number=revoked.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
                list_entries=len(revoked),
                list_until_ms=moment_ms(revoked.next_update_utc) if revoked.next_update_utc else 0,
            )
        )
    return views
