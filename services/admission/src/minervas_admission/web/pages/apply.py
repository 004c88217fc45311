"""The form with which anybody applies; its last page gives the command that brings the keys."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from minervas_admission.ca import fingerprint
from minervas_admission.forms import Forms
from minervas_admission.rate_limit import RateLimit
from minervas_admission.web.application_draft import MAX_FORM_PANELS, Draft, empty_draft, judged, read_draft
from minervas_admission.web.site import Site, Visit, visit_of
from minervas_core.applicant import MAX_SITES
from minervas_core.errors import Code, PeerFault, TransientFault
from minervas_runtime.clock import monotonic_ms

PATH = "/apply"
HTTPS_PORT = 443


def router(site: Site) -> APIRouter:
    """The pages of applicants."""
    pages = site.public_router()
    forms = Forms(site.database, site.clock, site.settings.forms.valid_days)
    limit = RateLimit(site.settings.forms.forms_per_minute, monotonic_ms)

    @pages.get(PATH)
    async def form(request: Request) -> Response:
        """The empty form."""
        return _form_page(visit_of(request), empty_draft())

    @pages.post(PATH)
    async def send(request: Request) -> Response:
        """One more row, or everything judged and kept."""
        visit = visit_of(request)
        if not limit.allow(visit.address):
            raise TransientFault(Code.RATE_LIMITED, "Too many forms from this address; wait a minute")
        draft = read_draft(visit.form)
        if visit.form.text("action") in ("add_site", "add_panel"):
            return _form_page(visit, draft)
        draft = judged(draft)
        if draft.problems:
            return _form_page(visit, draft, status=422)
        try:
            token = await forms.make(draft.form(), visit.address)
        except PeerFault as error:
            field, why = ("member", "taken") if error.code is Code.MEMBER_EXISTS else ("name", "too_large")
            return _form_page(visit, draft.with_problem(field, why), status=422)
        return visit.render(
            "apply_done.html",
            command=join_command(site, request, draft.texts["member"], token),
            member=draft.texts["member"],
            valid_days=site.settings.forms.valid_days,
        )

    return pages


def join_command(site: Site, request: Request, member: str, token: str) -> str:
    """The command with which the node applies, to be run in the node's directory."""
    http = site.settings.http
    host = request.url.hostname if request.url.hostname in http.names else http.names[0]
    shown = f"[{host}]" if ":" in str(host) else host
    port = request.url.port or HTTPS_PORT
    url = f"https://{shown}" if port == HTTPS_PORT else f"https://{shown}:{port}"
    system_ca = " --system-ca" if http.certificate_file else ""
    told = fingerprint(site.consortium.authority.certificate)
    return f"minervas join {url} --ca-fingerprint {told} --member {member} --token {token}{system_ca}"


def _form_page(visit: Visit, draft: Draft, *, status: int = 200) -> Response:
    return visit.render(
        "apply.html",
        status=status,
        draft=draft,
        can_add_site=len(draft.sites) < MAX_SITES,
        can_add_panel=len(draft.panels) < MAX_FORM_PANELS,
    )
