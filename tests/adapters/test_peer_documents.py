"""Documents about bills, and verifying files on the command line, without any node."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from minervas_core.billing.records import Bill
from minervas_core.encoding import encode
from minervas_core.errors import LocalFault
from minervas_core.evidence.records import ShownReadings
from minervas_core.market.settlement_records import Settlement
from minervas_peer import cli
from minervas_peer.documents.csv_files import bill_csv
from minervas_peer.documents.numbers import exact_money, kilowatt_hours, moment, money, price_per_kwh
from minervas_peer.documents.parties import Party, load_parties
from minervas_peer.documents.pdf import bill_pdf, certificate_pdf, find_fonts
from minervas_peer.documents.texts import LANGUAGES, TEXTS
from minervas_runtime.chain_file import write_chain
from tests.support.evidence import EvidenceWorld, replaced, with_part

UNSETTLED = Settlement(paid_micro=0, credited_micro=0)


@dataclass
class Files:
    """What an auditor gets."""

    world: EvidenceWorld
    folder: Path

    def verify(self, name: str, *more: str) -> int:
        genesis = str(self.folder / "genesis.json")
        return cli.run(["verify", str(self.folder / name), "--genesis", genesis, *more])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    world, folder = EvidenceWorld(), tmp_path_factory.mktemp("evidence")
    (folder / "genesis.json").write_bytes(world.line.genesis.raw)
    (folder / "certificate.json").write_bytes(encode(world.certificate()))
    (folder / "evidence.jsonl").write_bytes(b"".join(encode(part) + b"\n" for part in world.parts()))
    with (folder / "chain").open("wb") as file:
        write_chain(file, world.line.genesis.hash, world.raws)
    return Files(world, folder)


# verify


def test_a_certificate_and_a_bill_are_verified_from_files_alone(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert files.verify("certificate.json") == 0
    assert "11 Wh of 1 statements" in capsys.readouterr().out
    assert files.verify("evidence.jsonl", "--chain", str(files.folder / "chain")) == 0
    told = capsys.readouterr().out
    assert "9 frames with good checksums" in told
    assert "not checked" not in told
    assert files.verify("evidence.jsonl") == 0
    assert "3 steps could not be checked" in capsys.readouterr().out


def test_json_tells_every_step(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.verify("certificate.json", "--json") == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["status"] for step in steps] == ["ok"] * 7


def test_an_altered_file_fails_with_the_step_and_the_status_1(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    raw = (files.folder / "certificate.json").read_bytes()
    (files.folder / "forged.json").write_bytes(raw.replace(b'"energy_wh":11', b'"energy_wh":12'))
    assert files.verify("forged.json") == 1
    told = capsys.readouterr()
    assert "FAILED  origins" in told.out
    assert "lot_wrong" in told.err

    def change(part: ShownReadings) -> ShownReadings:
        return replaced(part, readings=[replaced(part.readings[0], power_mw=1), *part.readings[1:]])

    parts = with_part(files.world.parts(), ShownReadings, change)
    (files.folder / "forged.jsonl").write_bytes(b"".join(encode(part) + b"\n" for part in parts))
    assert files.verify("forged.jsonl") == 1
    assert "FAILED  readings" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"{}", b'{"bill":{}}\n', b"\x1f\x8b\x00", b"[1]"])
def test_what_is_no_evidence_is_refused_with_a_message(
    files: Files, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (files.folder / "rubbish").write_bytes(content)
    assert files.verify("rubbish") == 1
    assert "error:" in capsys.readouterr().err


def test_a_file_needs_the_genesis(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["verify", str(files.folder / "certificate.json")]) == 1
    assert "--genesis" in capsys.readouterr().err


# numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (money(42_780_000_000, "KRW"), "₩ 42,780"),
        (money(3_100_000, "EUR"), "€ 3.10"),
        (money(-500_000, "KRW"), "₩ -0.5"),
        (exact_money(42_780_125, "KRW"), "₩ 42.780125"),
        (exact_money(7, "CHF"), "CHF 0.000007"),
        (kilowatt_hours(1_234_567), "1,234.567"),
        (price_per_kwh(142_600), "142.6"),
        (price_per_kwh(100_000), "100.0"),
        (moment(1_774_746_000_000, "Europe/Berlin"), "2026-03-29 03:00:00 +0200"),
    ],
)
def test_numbers_for_people_are_exact(text: str, expected: str) -> None:
    assert text == expected


def test_every_text_is_there_in_both_languages() -> None:
    assert {frozenset(texts) for texts in TEXTS.values()} == {frozenset(LANGUAGES)}


# documents


def test_a_csv_of_a_bill_has_every_line_and_the_sums(files: Files) -> None:
    bill, lines = files.world.bill(), files.world.lines()
    for language in LANGUAGES:
        rows = list(csv.reader(io.StringIO(bill_csv(bill, lines, UNSETTLED, language).removeprefix("\ufeff"))))
        assert len(rows) == 1 + len(lines) + 7
        assert {len(row) for row in rows} == {11}
        assert sum(int(row[9].replace(".", "")) for row in rows[1 : 1 + len(lines)]) == bill.net_micro


@pytest.mark.parametrize("language", LANGUAGES)
def test_pdfs_show_what_the_bill_says(files: Files, language: str, tmp_path: Path) -> None:
    world, fonts = files.world, find_fonts(None)
    parties = {"farm": Party(name="해남태양광", registration="123-45-67890")}
    genesis, bill = world.line.genesis, world.bill()
    printed = bill_pdf(genesis, bill, world.lines(), UNSETTLED, parties, language=language, fonts=fonts)
    text = _text(printed, tmp_path / "bill.pdf")
    for expected in (bill.number, "123-45-67890", "해남태양광", "₩", "0.011"):
        assert expected in text
    assert ("세금계산서가 아닙니다" if language == "ko" else "not a tax invoice") in text
    preview = msgspec.structs.replace(bill, number="", period=msgspec.structs.replace(bill.period, is_final=False))
    text = _text(_preview(files, preview, language, fonts), tmp_path / "preview.pdf")
    assert TEXTS["preview"][language] in text
    text = _text(
        certificate_pdf(genesis, world.certificate(), parties, language=language, fonts=fonts), tmp_path / "c.pdf"
    )
    assert world.retirement.id in text.replace("\n", "")


def _preview(files: Files, bill: Bill, language: str, fonts: Path) -> bytes:
    genesis = files.world.line.genesis
    return bill_pdf(genesis, bill, files.world.lines(), UNSETTLED, {}, language=language, fonts=fonts)


def _text(pdf: bytes, path: Path) -> str:
    """The text of a PDF, by poppler, which `make browser` installs."""
    assert pdf.startswith(b"%PDF-")
    path.write_bytes(pdf)
    program = shutil.which("pdftotext")
    assert program, "install poppler-utils"
    done = subprocess.run([program, "-layout", str(path), "-"], check=True, capture_output=True, text=True)
    return done.stdout


def test_missing_fonts_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="fonts-nanum"):
        find_fonts(tmp_path)


def test_parties_are_read_from_a_file_of_the_member_itself(tmp_path: Path) -> None:
    assert load_parties(None) == {}
    file = tmp_path / "parties.toml"
    file.write_text('[farm]\nname = "해남"\nregistration = "1"\n', "utf-8")
    assert load_parties(file) == {"farm": Party(name="해남", registration="1")}
    file.write_text("[farm]\nphone = '1'\n", "utf-8")
    with pytest.raises(LocalFault, match="parties"):
        load_parties(file)
