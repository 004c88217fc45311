"""Bills, statements and certificates as PDF: A4, black on white, one look for all."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from minervas_core.billing.bills import bill_hash
from minervas_core.billing.records import Bill, BillLine, MemberStatement
from minervas_core.errors import Code, LocalFault
from minervas_core.evidence.certificate import Certificate
from minervas_core.evidence.statements import statement_of
from minervas_core.finality.votes import decode_vote
from minervas_core.genesis import Genesis
from minervas_core.market.settlement_records import Settlement
from minervas_core.transactions import decode_transaction
from minervas_peer.documents.csv_files import rate_text, statement_amounts
from minervas_peer.documents.numbers import day, exact_money, kilowatt_hours, moment, money, price_per_kwh
from minervas_peer.documents.parties import Party
from minervas_peer.documents.texts import quality, say

FONT_FOLDERS = (Path("/usr/share/fonts/truetype/nanum"), Path("/usr/local/share/fonts/nanum"))
"""Where Debian's ``fonts-nanum`` is, which the image of the peer installs."""
REGULAR, BOLD = "NanumGothic.ttf", "NanumGothicBold.ttf"
logging.getLogger("fontTools.subset").setLevel(logging.ERROR)  # it tells of tables that no PDF needs

GREY = (90, 90, 90)
LINE_GREY = (190, 190, 190)
HEAD_FILL = (238, 241, 244)
MAX_CERTIFICATE_ROWS = 200
"""Statements on a printed certificate; its file has all."""


def find_fonts(folder: Path | None) -> Path:
    """A folder with the two fonts.

    Raises:
        LocalFault: ``not_found`` with what to install.
    """
    for each in (folder,) if folder is not None else FONT_FOLDERS:
        if (each / REGULAR).is_file() and (each / BOLD).is_file():
            return each
    raise LocalFault(
        Code.NOT_FOUND,
        "PDFs need the fonts NanumGothic and NanumGothicBold: install the package fonts-nanum, or name a folder",
        folder=str(folder or FONT_FOLDERS[0]),
    )


class _Page(FPDF):
    """A4 with a foot on every page."""

    def __init__(self, title: str, language: str, fonts: Path) -> None:
        super().__init__(format="A4")
        self._foot = title
        self._language = language
        self.add_font("nanum", "", fonts / REGULAR)
        self.add_font("nanum", "B", fonts / BOLD)
        self.set_title(title)
        self.set_creator("Minervas")
        self.set_margins(18, 18, 18)
        self.set_auto_page_break(auto=True, margin=20)
        self.add_page()

    def footer(self) -> None:
        """Title and page number."""
        self.set_y(-14)
        self.set_font("nanum", "", 7.5)
        self.set_text_color(*GREY)
        self.cell(self.epw / 2, 5, self._foot)
        pages = say("page", self._language, page=self.page_no(), pages="{nb}")
        self.cell(self.epw / 2, 5, pages, align="R")
        self.set_text_color(0)

    def heading(self, text: str, beside: str = "") -> None:
        """The title, with something to its right."""
        self.set_font("nanum", "B", 19)
        self.cell(self.epw * 0.62, 11, text)
        self.set_font("nanum", "", 11)
        self.set_text_color(*GREY)
        self.cell(self.epw * 0.38, 11, beside, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_text_color(0)
        self.set_draw_color(*LINE_GREY)
        self.line(self.l_margin, self.get_y() + 1, self.w - self.r_margin, self.get_y() + 1)
        self.ln(5)

    def pairs(self, pairs: Iterable[tuple[str, str]], *, width: float = 0, label: float = 34) -> None:
        """Labels with values beside them."""
        for name, value in pairs:
            x = self.get_x()
            self.set_font("nanum", "", 8.5)
            self.set_text_color(*GREY)
            self.cell(label, 5.4, name)
            self.set_text_color(0)
            self.set_font("nanum", "", 9)
            self.multi_cell((width or self.epw) - label, 5.4, value, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            self.set_x(x)
        self.set_x(self.l_margin)

    def note(self, text: str, *, bold: bool = False) -> None:
        """A paragraph of small print."""
        self.set_font("nanum", "B" if bold else "", 8)
        self.set_text_color(*((0, 0, 0) if bold else GREY))
        self.multi_cell(self.epw, 4.4, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_text_color(0)
        self.ln(1)

    def grid(self, heads: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int], align: str) -> None:
        """A table whose head comes again on every page."""
        self.set_font("nanum", "", 8)
        self.set_draw_color(*LINE_GREY)
        alignment = tuple({"L": "LEFT", "R": "RIGHT", "C": "CENTER"}[each] for each in align)
        style = FontFace(emphasis="BOLD", fill_color=HEAD_FILL)
        with self.table(
            col_widths=tuple(widths),
            text_align=alignment,
            headings_style=style,
            borders_layout="HORIZONTAL_LINES",
            line_height=5,
            padding=(0.6, 1),
        ) as table:
            for row in (heads, *rows):
                table.row(row)

    def sums(self, rows: Iterable[tuple[str, str, bool]]) -> None:
        """Sums at the right; bold ones are what counts."""
        self.ln(2)
        for name, value, bold in rows:
            self.set_x(self.l_margin + self.epw * 0.5)
            self.set_font("nanum", "B" if bold else "", 10.5 if bold else 9)
            self.cell(self.epw * 0.28, 6, name)
            self.cell(self.epw * 0.22, 6, value, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(3)


def bill_pdf(
    genesis: Genesis,
    bill: Bill,
    lines: Sequence[BillLine],
    settled: Settlement,
    parties: Mapping[str, Party],
    *,
    language: str,
    fonts: Path,
) -> bytes:
    """A bill as PDF."""
    zone, currency = bill.period.time_zone, bill.currency
    name = bill.number or say("preview", language)
    page = _Page(f"{say('bill', language)} {name}", language, fonts)
    page.heading(say("bill", language), name)
    _parties(page, bill, parties, language)
    page.pairs(
        [
            (say("consortium", language), genesis.body.name),
            (say("month", language), f"{bill.period.month} ({zone})"),
            (say("period", language), f"{day(bill.period.from_ms, zone)} - {day(bill.period.until_ms - 1, zone)}"),
            (say("blocks", language), f"{bill.period.first_height:,} - {bill.period.last_height:,}"),
        ]
    )
    page.ln(3)
    heads = [say(key, language) for key in ("line", "time", "trade", "energy", "price", "amount", "quality")]
    page.grid(heads, (_line(line, zone, currency, language) for line in lines), (8, 36, 18, 18, 18, 26, 20), "RLLRRRL")
    page.sums(_bill_sums(bill, settled, language))
    if not bill.period.is_final:
        page.note(say("preview_note", language), bold=True)
    page.note(say("not_tax_invoice", language), bold=True)
    page.note(_quality(bill, language))
    page.note(say("rounding_note", language))
    page.note(say("registration_note", language))
    page.note(f"{say('hash', language)}: {bill_hash(bill)}")
    return bytes(page.output())


def statement_pdf(genesis: Genesis, statement: MemberStatement, *, language: str, fonts: Path) -> bytes:
    """A member's month as PDF."""
    zone = statement.period.time_zone
    title = say("statement", language)
    page = _Page(f"{title} {statement.member} {statement.period.month}", language, fonts)
    page.heading(title, statement.period.month)
    page.pairs(
        [
            (say("member", language), statement.member),
            (say("consortium", language), genesis.body.name),
            (
                say("period", language),
                f"{day(statement.period.from_ms, zone)} - {day(statement.period.until_ms - 1, zone)} ({zone})",
            ),
            (say("blocks", language), f"{statement.period.first_height:,} - {statement.period.last_height:,}"),
        ]
    )
    page.ln(4)
    energy = [
        (say(key, language), f"{kilowatt_hours(getattr(statement, f'{key}_wh'))} kWh")
        for key in ("produced", "sold", "bought", "retired", "own_use", "unsold")
    ]
    amounts = [(name, exact_money(micro, statement.currency)) for name, micro in statement_amounts(statement, language)]
    page.grid((title, statement.period.month), [*energy, *amounts], (60, 40), "LR")
    page.ln(4)
    if not statement.period.is_final:
        page.note(say("preview_note", language), bold=True)
    page.note(say("not_tax_invoice", language), bold=True)
    page.note(_quality(statement, language))
    return bytes(page.output())


def certificate_pdf(
    genesis: Genesis, certificate: Certificate, parties: Mapping[str, Party], *, language: str, fonts: Path
) -> bytes:
    """A certificate of origin as PDF; the file is what proves it."""
    zone = genesis.body.time_zone
    retirement = decode_transaction(bytes(certificate.retirement.transaction))
    block, checkpoint = certificate.finality.headers[0], certificate.finality.headers[-1]
    total_wh = sum(origin.energy_wh for origin in certificate.origins)
    page = _Page(f"{say('certificate', language)} {retirement.id[:16]}", language, fonts)
    page.heading(say("certificate", language), f"{kilowatt_hours(total_wh)} kWh")
    voters = sorted({decode_vote(bytes(raw)).body.voter for raw in certificate.finality.votes})
    page.pairs(
        [
            (say("owner", language), _named(certificate.owner, parties)),
            (say("consortium", language), genesis.body.name),
            (say("retirement", language), retirement.id),
            (say("block", language), f"{block.height:,}, {moment(block.time_ms, zone)}\n{block.hash()}"),
            (say("path", language), "\n".join(certificate.retirement.path) or "-"),
            (say("final", language), f"{checkpoint.height:,}\n{checkpoint.hash()}"),
            (say("voters", language), ", ".join(voters)),
        ]
    )
    page.ln(3)
    shown = list(zip(certificate.origins, certificate.statements, strict=True))
    rows = []
    for origin, raw in shown[:MAX_CERTIFICATE_ROWS]:
        _, stated = statement_of(bytes(raw))
        rows.append(
            (
                f"{stated.member} / {stated.meter} / {stated.channel}",
                f"{moment(stated.start.time_ms, zone)}\n{moment(stated.end.time_ms, zone)}",
                kilowatt_hours(origin.energy_wh),
                f"{stated.missing} / {stated.measured + stated.substituted + stated.missing}",
            )
        )
    heads = [say(key, language) for key in ("meter", "metered", "energy", "readings_missing")]
    page.grid(heads, rows, (62, 50, 22, 20), "LLRR")
    if len(shown) > len(rows):
        page.note(say("more_lines", language, count=len(shown) - len(rows)))
    page.ln(3)
    page.note(say("certificate_note", language))
    return bytes(page.output())


def _parties(page: _Page, bill: Bill, parties: Mapping[str, Party], language: str) -> None:
    """Seller and buyer beside each other."""
    top, half = page.get_y(), page.epw / 2
    lowest = top
    for place, (role, member) in enumerate((("seller", bill.seller), ("buyer", bill.buyer))):
        party = parties.get(member, Party())
        page.set_xy(page.l_margin + place * half, top)
        page.set_font("nanum", "B", 10)
        page.cell(half - 4, 6, say(role, language))
        for name, value in (
            (say("member", language), member),
            (say("name", language), party.name),
            (say("registration", language), party.registration),
        ):
            page.set_xy(page.l_margin + place * half, page.get_y() + 5.6)
            page.set_font("nanum", "", 8.5)
            page.set_text_color(*GREY)
            page.cell(26, 5.4, name)
            page.set_text_color(0)
            page.set_font("nanum", "", 9)
            page.cell(half - 32, 5.4, value or "—")
        lowest = max(lowest, page.get_y())
    page.set_xy(page.l_margin, lowest + 9)


def _line(line: BillLine, zone: str, currency: str, language: str) -> Sequence[str]:
    return (
        str(line.line),
        moment(line.time_ms, zone),
        f"{line.height}/{line.position}",
        kilowatt_hours(line.energy_wh),
        price_per_kwh(line.price_micro),
        exact_money(line.amount_micro, currency),
        quality(line.substituted, line.missing, language),
    )


def _bill_sums(bill: Bill, settled: Settlement, language: str) -> list[tuple[str, str, bool]]:
    currency, net = bill.currency, say("net", language)
    rows = [
        (
            f"{net} ({kilowatt_hours(bill.energy_wh)} kWh)",
            exact_money(bill.net_micro, currency),
            False,
        ),
        (say("tax", language, rate=rate_text(bill.tax_per_mille)), exact_money(bill.tax_micro, currency), False),
        (say("rounding", language), exact_money(bill.rounding_micro, currency), False),
        (say("total", language), money(bill.total_micro, currency), True),
    ]
    if settled.paid_micro or settled.credited_micro:
        left = bill.total_micro - settled.paid_micro - settled.credited_micro
        rows += [
            (say("paid", language), money(settled.paid_micro, currency), False),
            (say("credited", language), money(settled.credited_micro, currency), False),
            (say("open", language), money(left, currency), True),
        ]
    return rows


def _quality(of: Bill | MemberStatement, language: str) -> str:
    key = "missing_note" if of.missing else "complete_note"
    text = say(key, language, missing=f"{of.missing:,}", all=f"{of.measured + of.substituted + of.missing:,}")
    if of.substituted:
        text += " " + say("substituted_note", language, count=f"{of.substituted:,}")
    return text


def _named(member: str, parties: Mapping[str, Party]) -> str:
    party = parties.get(member, Party())
    return " ".join(part for part in (member, party.name, party.registration) if part)
