"""Write docs/examples: a bill, a statement, a certificate of origin and evidence of a made-up consortium.

Run it as ``.venv/bin/python -m tools.examples`` and look at the PDFs: ``pdftoppm -r 80 -png FILE PREFIX``.
"""

from __future__ import annotations

from pathlib import Path

from minervas_core.billing.bills import BilledTrade, bill_lines, make_bill
from minervas_core.billing.statements import MonthOfMember, make_statement
from minervas_core.encoding import encode
from minervas_core.market.settlement_records import Settlement
from minervas_peer.documents.csv_files import bill_csv, statement_csv
from minervas_peer.documents.parties import Party
from minervas_peer.documents.pdf import bill_pdf, certificate_pdf, find_fonts, statement_pdf
from tests.support.evidence import BUYER, SELLER, EvidenceWorld

FOLDER = Path(__file__).parent.parent / "docs" / "examples"
PARTIES = {
    SELLER: Party(name="해남태양광 농업회사법인", registration="123-45-67890"),
    BUYER: Party(name="Kim's house / 김씨네"),
}


def main() -> None:
    """Write all examples."""
    world = EvidenceWorld()
    genesis, fonts = world.line.genesis, find_fonts(None)
    trade, bill = world.trades[0], world.bill()
    many = [
        BilledTrade(
            trade.__class__(**{name: getattr(trade, name) for name in trade.__struct_fields__} | each),
            bill.period.from_ms + 900_000 * number,
            1_800,
            1 if number == 11 else 0,
            3 if number == 7 else 0,
        )
        for number in range(40)
        for energy_wh, price in [(375 + 61 * number % 997, 142_600 + 1_250 * (number % 9))]
        for each in [
            {
                "height": 61 + 60 * number,
                "energy_wh": energy_wh,
                "price_micro": price,
                "amount_micro": energy_wh * price,
            }
        ]
    ]
    lines = bill_lines(many)
    long_bill = make_bill(genesis, SELLER, BUYER, bill.period, lines, place=1)
    settled = Settlement(paid_micro=2_000_000_000, credited_micro=0)
    sums = MonthOfMember(412_730, 24_210, 3_587_112_350, 1_300, 184_600_000, 90_400, 88_100, 300_420, 2_678_400, 0, 41)
    statement = make_statement(genesis, SELLER, bill.period, sums, mined={SELLER: 61}, members=[SELLER, BUYER])
    FOLDER.mkdir(parents=True, exist_ok=True)
    for language in ("en", "ko"):
        printed = bill_pdf(genesis, long_bill, lines, settled, PARTIES, language=language, fonts=fonts)
        (FOLDER / f"bill-{language}.pdf").write_bytes(printed)
        (FOLDER / f"bill-{language}.csv").write_text(bill_csv(long_bill, lines, settled, language), newline="")
        printed = statement_pdf(genesis, statement, language=language, fonts=fonts)
        (FOLDER / f"statement-{language}.pdf").write_bytes(printed)
        (FOLDER / f"statement-{language}.csv").write_text(statement_csv(statement, language), newline="")
        printed = certificate_pdf(genesis, world.certificate(), PARTIES, language=language, fonts=fonts)
        (FOLDER / f"certificate-{language}.pdf").write_bytes(printed)
    (FOLDER / "certificate.json").write_bytes(encode(world.certificate()))
    (FOLDER / "evidence.jsonl").write_bytes(b"".join(encode(part) + b"\n" for part in world.parts()))
    (FOLDER / "genesis.json").write_bytes(genesis.raw)


if __name__ == "__main__":
    main()
