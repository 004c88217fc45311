"""`minervas export` and `minervas certificate`: documents for people, and files that others can check."""

from __future__ import annotations

from pathlib import Path

from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault
from minervas_core.evidence.certificate import Certificate
from minervas_peer.api_client import ApiClient
from minervas_peer.commands.bills import as_record, find_bill, genesis_of, member_statement, whole_bill
from minervas_peer.commands.evidence import collect, write_evidence
from minervas_peer.commands.output import Output
from minervas_peer.documents.csv_files import bill_csv, statement_csv
from minervas_peer.documents.parties import load_parties
from minervas_peer.documents.pdf import bill_pdf, certificate_pdf, find_fonts, statement_pdf


class Printing:
    """How a document is written.

    Args:
        path: the file; what its name ends with says which kind.
        language: ``en`` or ``ko``.
        parties: file of names and registration numbers, if there is one.
        fonts: folder of the fonts; None to look where they usually are.
    """

    def __init__(self, path: Path, language: str, parties: Path | None, fonts: Path | None) -> None:
        self.path = path
        self.language = language
        self.parties = parties
        self.fonts = fonts

    def kind(self, *allowed: str) -> str:
        """What to write, by the end of the name.

        Raises:
            LocalFault: ``bad_settings`` for another ending.
        """
        ending = self.path.suffix.lower()
        if ending not in allowed:
            raise LocalFault(
                Code.BAD_SETTINGS, f"The file's name says what it becomes: {', '.join(allowed)}", file=str(self.path)
            )
        return ending

    def write(self, content: bytes, output: Output) -> None:
        """Write the file and say so.

        Raises:
            LocalFault: ``not_found`` if it cannot be written.
        """
        try:
            self.path.write_bytes(content)
        except OSError as error:
            raise LocalFault(
                Code.NOT_FOUND, "The file cannot be written", file=str(self.path), reason=str(error)
            ) from error
        _say(output, self.path, len(content))


def export_bill(client: ApiClient, output: Output, reference: str, printing: Printing, lines: frozenset[int]) -> None:
    """A bill as CSV, PDF, or (``.jsonl``) with the evidence for its lines."""
    kind = printing.kind(".csv", ".pdf", ".jsonl")
    found = whole_bill(client, find_bill(client, reference))
    if kind == ".jsonl":
        count = write_evidence(printing.path, collect(client, found, lines))
        _say(output, printing.path, printing.path.stat().st_size, parts=count)
    elif kind == ".csv":
        text = bill_csv(found.bill, found.lines, found.settled, printing.language)
        printing.write(text.encode(), output)
    else:
        content = bill_pdf(
            genesis_of(client),
            found.bill,
            found.lines,
            found.settled,
            load_parties(printing.parties),
            language=printing.language,
            fonts=find_fonts(printing.fonts),
        )
        printing.write(content, output)


def export_statement(client: ApiClient, output: Output, month: str, member: str, printing: Printing) -> None:
    """A member's month as CSV or PDF."""
    kind = printing.kind(".csv", ".pdf")
    found = member_statement(client, month, member)
    if kind == ".csv":
        printing.write(statement_csv(found, printing.language).encode(), output)
        return
    fonts = find_fonts(printing.fonts)
    printing.write(statement_pdf(genesis_of(client), found, language=printing.language, fonts=fonts), output)


def export_certificate(client: ApiClient, output: Output, retirement: str, printing: Printing) -> None:
    """A certificate of origin as the file that proves it (``.json``), or as PDF."""
    kind = printing.kind(".json", ".pdf")
    found = as_record(client.get(f"/v1/certificates/{retirement}")["part"], Certificate)
    if kind == ".json":
        printing.write(encode(found), output)
        return
    content = certificate_pdf(
        genesis_of(client),
        found,
        load_parties(printing.parties),
        language=printing.language,
        fonts=find_fonts(printing.fonts),
    )
    printing.write(content, output)


def _say(output: Output, path: Path, size: int, **more: int) -> None:
    if output.as_json:
        output.json({"file": str(path), "bytes": size, **more})
    else:
        output.say(f"wrote {path}: {size:,} bytes")
