"""JSON Schemas of all documents and messages, made from the types of the code: spec/schemas.json."""

from __future__ import annotations

from typing import Any

import msgspec

from minervas_core.encoding import Record
from tools.vectors.samples import all_samples

TEMPLATE = "#/$defs/{name}"

EMBEDDED = {
    ("HelloBody", "membership"): "TransactionForm",
    ("TransactionBatch", "transactions"): "TransactionForm",
    ("MembershipBatch", "transactions"): "TransactionForm",
    ("Submit", "transactions"): "TransactionForm",
    ("Statement", "transaction"): "TransactionForm",
    ("Relay", "transactions"): "TransactionForm",
    ("TransactionDetail", "transaction"): "TransactionForm",
    ("BlockForm", "transactions"): "TransactionForm",
    ("BlockAnnouncement", "block"): "BlockForm",
    ("DeliverBlock", "block"): "BlockForm",
    ("Announce", "block"): "BlockForm",
    ("BlockDetail", "block"): "BlockForm",
    ("Bodies", "blocks"): "BlockForm",
    ("Headers", "headers"): "Header",
    ("Grant", "genesis"): "GenesisFile",
    ("Grant", "membership"): "TransactionForm",
    ("RenewalAnswer", "membership"): "TransactionForm",
    ("SignedCaBundle", "changes"): "TransactionForm",
    ("CarriedTransaction", "transaction"): "TransactionForm",
    ("MemberHistory", "transactions"): "TransactionForm",
    ("ShownFinality", "members"): "TransactionForm",
    ("ShownFinality", "votes"): "VoteForm",
    ("FinalityProof", "votes"): "VoteForm",
    ("ShownTrade", "block"): "BlockForm",
    ("ShownTrade", "offer"): "TransactionForm",
    ("ShownTrade", "bid"): "TransactionForm",
    ("ShownStatement", "statement"): "TransactionForm",
    ("Certificate", "statements"): "TransactionForm",
}
"""What the embedded documents (`msgspec.Raw`) are: they are judged by decoders of their own, so the types say nothing.
A reply's body is whatever the request's kind implies (spec/asyncapi.yaml)."""


def schema_definitions() -> dict[str, dict[str, Any]]:
    """A schema for every record type, by name."""
    kinds = sorted({type(sample) for sample in all_samples().values()}, key=lambda kind: kind.__name__)
    _, found = msgspec.json.schema_components(kinds, ref_template=TEMPLATE)
    by_name = {kind.__name__: kind for kind in _all_records()}
    return {name: _wire_form(name, found[name], by_name[name]) for name in sorted(found)}


def _all_records() -> set[type[Record]]:
    found: set[type[Record]] = set()
    waiting: list[type[Record]] = [Record]
    while waiting:
        subclasses = waiting.pop().__subclasses__()
        found.update(subclasses)
        waiting += subclasses
    return found


def _wire_form(name: str, schema: dict[str, Any], kind: type[Record]) -> dict[str, Any]:
    """A schema as it is on the wire: defaults are always written out, only unset fields are left out."""
    unset = {field.encode_name for field in msgspec.structs.fields(kind) if field.default is msgspec.UNSET}
    properties: dict[str, Any] = schema["properties"]
    for field, form in properties.items():
        form.pop("default", None)
        embedded = EMBEDDED.get((name, field))
        if embedded is not None:
            reference = {"$ref": TEMPLATE.format(name=embedded)}
            if form.get("type") == "array":
                form["items"] = reference
            else:
                properties[field] = reference
    schema["required"] = sorted(set(properties) - unset)
    schema["properties"] = dict(sorted(properties.items()))
    described = schema.pop("description", "").split("\n\n")[0]
    plain: dict[str, Any] = _plain(schema)
    return {"description": " ".join(described.split()), **plain}


def _plain(value: Any) -> Any:
    r"""Patterns as every language reads them: the end of the text is ``$`` in JSON Schema, ``\Z`` in Python."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.replace("\\Z", "$") if isinstance(value, str) else value


def schema_file() -> dict[str, Any]:
    """Content of spec/schemas.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Minervas documents and messages",
        "description": (
            "Generated from the code. A document must also be canonical (encoding.md), and a schema can not say what "
            "needs keys, signatures or the chain. Integers are never written with a fraction or an exponent."
        ),
        "$defs": schema_definitions(),
    }
