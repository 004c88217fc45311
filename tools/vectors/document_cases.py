"""Genesis, transactions, headers and blocks: as documents, apart from any chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from minervas_core.blocks import (
    MAX_BLOCK_BYTES,
    Block,
    block_signing_body,
    decode_block,
    decode_header,
    transactions_root,
)
from minervas_core.blocks import (
    PURPOSE as BLOCK_PURPOSE,
)
from minervas_core.encoding import encode
from minervas_core.genesis import PURPOSE as GENESIS_PURPOSE
from minervas_core.genesis import load_genesis
from minervas_core.keys import SigningKey, signing_bytes
from minervas_core.transactions import (
    MAX_TRANSACTION_BYTES,
    Transaction,
    check_signature,
    decode_transaction,
)
from minervas_core.transactions import (
    PURPOSE as TRANSACTION_PURPOSE,
)
from tools.vectors.ed25519_points import NEUTRAL, compress
from tools.vectors.fixtures import (
    ADMISSIONS,
    AUTHORITY,
    BLOCK_1,
    BLOCK_2,
    BLOCK_3,
    GENESIS,
    GENESIS_BODY,
    HAENAM,
    KIM,
    MEMBERS,
    MOKPO,
    NETWORK,
    OTHER_NETWORK,
    REVOCATION,
    seed,
)
from tools.vectors.format import Case, refused
from tools.vectors.governance_samples import AUTHORITY_CHANGE, AUTHORITY_RECOVERY, GOVERNANCE, PARAMETERS_CHANGE
from tools.vectors.market_fixtures import (
    BALCONY_OF_MOKPO,
    BID,
    CANCEL,
    CLAIM,
    CREDIT_NOTE,
    FIRST_STATEMENT,
    MERGE,
    OFFER,
    PAYMENT,
    RETIRE,
    offer,
)
from tools.vectors.membership_fixtures import (
    KEY_ROTATION,
    LEAVING,
    RECOVERY,
    RESUMPTION,
    SUSPENSION,
    VETO,
    WALLET_ROTATION,
)

Document = dict[str, Any]
Change = Callable[[Document], object]


def changed(raw: bytes, change: Change) -> bytes:
    """The canonical document with one change, in canonical form again."""
    document = json.loads(raw)
    change(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def put(*path: str | int, value: object) -> Change:
    """A change that sets a field."""

    def apply(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return apply


def drop(*path: str | int) -> Change:
    """A change that removes a field."""

    def apply(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return apply


# genesis


def genesis_cases() -> list[Case]:
    """The genesis of the vectors' consortium."""
    body = encode(GENESIS_BODY)
    return [
        {
            "name": GENESIS_BODY.name,
            "value": json.loads(GENESIS.raw),
            "canonical_hex": GENESIS.raw.hex(),
            "signed_bytes_hex": signing_bytes(GENESIS_PURPOSE, NETWORK, body).hex(),
            "authority_seed": seed("authority").hex(),
            "hash": GENESIS.hash,
        }
    ]


def refused_genesis_cases() -> list[Case]:
    """Genesis files that are refused, each with one fault."""
    raw = GENESIS.raw
    small = compress(NEUTRAL).hex()
    faults = {
        "parameter changed after signing": changed(raw, put("body", "parameters", "min_difficulty", value=5)),
        "signed by another key": _resigned(put("body", "name", value=GENESIS_BODY.name), MOKPO.wallet),
        "signature made for another purpose": _resigned(lambda _: None, AUTHORITY, purpose="transaction"),
        "authority key of small order": changed(raw, put("body", "authority", value=small)),
        "unknown field": _resigned(put("body", "extra", value=1)),
        "unknown parameter": _resigned(put("body", "parameters", "extra", value=1)),
        "parameter missing": _resigned(drop("body", "parameters", "lwma_window")),
        "other format": _resigned(put("body", "format", value=2)),
        "block interval 0": _resigned(put("body", "parameters", "block_interval_ms", value=0)),
        "diversity above 1,000 per mille": _resigned(put("body", "parameters", "diversity_per_mille", value=1_001)),
        "blocks above 1,000,000 bytes": _resigned(put("body", "parameters", "max_block_bytes", value=1_000_001)),
        "window of one block": _resigned(put("body", "parameters", "lwma_window", value=1)),
        "currency in lower case": _resigned(put("body", "currency", value="krw")),
        "time zone that leaves its folder": _resigned(put("body", "time_zone", value="../etc/passwd")),
        "name with an escape sequence": _resigned(put("body", "name", value="\x1b[2J")),
        "network id too short": _resigned(put("body", "network", value="00" * 15)),
        "boolean for a number": _resigned(put("body", "created_ms", value=True)),
        "blank in the file": raw.replace(b":", b": ", 1),
        "not JSON": b"{",
    }
    return refused(faults, load_genesis)


def _resigned(change: Change, key: SigningKey = AUTHORITY, *, purpose: str = GENESIS_PURPOSE) -> bytes:
    """The genesis with a change, signed again, so that the change is its only fault."""
    document = json.loads(changed(GENESIS.raw, change))
    body = json.dumps(document["body"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    document["signature"] = key.sign(purpose, document["body"]["network"], body)
    return changed(json.dumps(document).encode(), lambda _: None)


# transactions


def transaction_cases() -> list[Case]:
    """Transactions of every type with id and signature."""
    return [
        *(_transaction(f"admit {who.member}", tx) for who, tx in zip(MEMBERS, ADMISSIONS, strict=True)),
        _transaction(f"revoke {KIM.member}", REVOCATION),
        _transaction("register a meter", BALCONY_OF_MOKPO),
        _transaction(f"suspend {KIM.member}", SUSPENSION),
        _transaction(f"resume {KIM.member}", RESUMPTION),
        _transaction(f"leave {KIM.member}", LEAVING),
        _transaction("rotate wallet and box key", WALLET_ROTATION),
        _transaction("rotate block, vote and gateway keys", KEY_ROTATION),
        _transaction("recover a wallet", RECOVERY),
        _transaction("veto", VETO),
        _transaction("generation", FIRST_STATEMENT),
        _transaction("offer", OFFER),
        _transaction("offer for one buyer", offer(HAENAM, [FIRST_STATEMENT.id], 0, buyer=KIM.member)),
        _transaction("bid", BID),
        _transaction("cancel", CANCEL),
        _transaction("merge", MERGE),
        _transaction("retire", RETIRE),
        _transaction("retire with a claim", CLAIM),
        _transaction("payment", PAYMENT),
        _transaction("credit note", CREDIT_NOTE),
        *(_transaction(name, each) for name, each in GOVERNANCE.items()),
    ]


def _transaction(name: str, transaction: Transaction) -> Case:
    return {
        "name": name,
        "value": json.loads(transaction.raw),
        "canonical_hex": transaction.raw.hex(),
        "signed_bytes_hex": signing_bytes(TRANSACTION_PURPOSE, NETWORK, encode(transaction.body)).hex(),
        "id": transaction.id,
        "signature": transaction.signature,
    }


def _judge_transaction(raw: bytes) -> None:
    check_signature(decode_transaction(raw), NETWORK)


def refused_transaction_cases() -> list[Case]:
    """Transactions that are refused whatever the chain looks like."""
    raw, admit = REVOCATION.raw, ADMISSIONS[0].raw
    faults = {
        "body changed after signing": changed(raw, put("body", "change", "member", value="haenam-farm")),
        "signature by another key": changed(raw, put("signature", value=_foreign_signature())),
        "made for another network": changed(raw, put("body", "network", value=OTHER_NETWORK)),
        "unknown type": changed(raw, put("body", "type", value="loan")),
        "type missing": changed(raw, drop("body", "type")),
        "type is no string": changed(raw, put("body", "type", value=1)),
        "unknown action": changed(raw, put("body", "change", "action", value="forgive")),
        "action missing": changed(raw, drop("body", "change", "action")),
        "admission without keys": changed(admit, drop("body", "change", "keys")),
        "revocation with keys": changed(raw, put("body", "change", "keys", value={})),
        "unknown field": changed(raw, put("body", "note", value="x")),
        "salt too short": changed(raw, put("body", "salt", value="00" * 15)),
        "salt in upper case": changed(raw, put("body", "salt", value="AA" * 16)),
        "expiry is a float": raw.replace(b'"expires_height":50', b'"expires_height":50.0'),
        "expiry is negative": changed(raw, put("body", "expires_height", value=-1)),
        "expiry is 2^53": changed(raw, put("body", "expires_height", value=2**53)),
        "expiry is a string": changed(raw, put("body", "expires_height", value="50")),
        "expiry is a boolean": changed(raw, put("body", "expires_height", value=True)),
        "member id in upper case": changed(raw, put("body", "change", "member", value="Kim")),
        "member id ends with a line feed": changed(raw, put("body", "change", "member", value="kim\n")),
        "member id of 33 characters": changed(raw, put("body", "change", "member", value="a" * 33)),
        "box key one byte short": changed(admit, put("body", "change", "keys", "box", value="00" * 1_215)),
        "duplicate key": raw.replace(b'{"body":', b'{"body":{},"body":', 1),
        "signature missing": changed(raw, drop("signature")),
        "null signature": changed(raw, put("signature", value=None)),
        "blank before": b" " + raw,
        "keys not sorted": _unsorted(raw),
        "larger than a transaction may be": raw + b" " * MAX_TRANSACTION_BYTES,
        "a list": b"[]",
        "not JSON": raw[:-1],
        "no bytes": b"",
    }
    return refused(faults | _membership_faults() | _market_faults() | _governance_faults(), _judge_transaction)


def _governance_faults() -> dict[str, bytes]:
    """Forms that no transaction about the consortium has."""
    change, key, members = (each.raw for each in (PARAMETERS_CHANGE, AUTHORITY_CHANGE, AUTHORITY_RECOVERY))
    approval = json.loads(members)["body"]["approvals"][0]
    return {
        "parameters from height 0 on": changed(change, put("body", "activation_height", value=0)),
        "parameters with a negative value": changed(change, put("body", "changes", "slot_ms", value=-1)),
        "parameters with a boolean": changed(change, put("body", "changes", "slot_ms", value=True)),
        "parameters with a list": changed(change, put("body", "changes", "slot_ms", value=[7])),
        "parameters with an empty text": changed(change, put("body", "changes", "market_mode", value="")),
        "parameters under a name in upper case": changed(change, put("body", "changes", "Slot", value=7)),
        "33 parameters": changed(change, put("body", "changes", value={f"p{number}": 7 for number in range(33)})),
        "parameters without a rule version": changed(change, drop("body", "rule_version")),
        "parameters changed after signing": changed(change, put("body", "changes", "slot_ms", value=7)),
        "authority without the proof of the new key": changed(key, drop("body", "proof")),
        "authority that is no key": changed(key, put("body", "authority", value="00" * 31)),
        "authority changed after signing": changed(key, put("body", "authority", value=MOKPO.wallet.public)),
        "281 approvals": changed(members, put("body", "approvals", value=[approval] * 281)),
        "approval with a member's name": changed(members, put("body", "approvals", 0, "member", value="mokpo-univ")),
    }


def _membership_faults() -> dict[str, bytes]:
    """Forms that no change of a membership has."""
    wallet, others, change = WALLET_ROTATION.raw, KEY_ROTATION.raw, ("body", "change")
    meter = {"gateway": "aa" * 32, "meter": "roof"}
    return {
        "rotation of nothing": changed(
            changed(others, put(*change, "keys", value={})), put(*change, "meters", value=[])
        ),
        "rotation of a key that does not exist": changed(others, put(*change, "keys", "node", value="aa" * 32)),
        "rotation of a meter twice": changed(others, put(*change, "meters", value=[meter, meter])),
        "rotation of 65 meters": changed(
            others, put(*change, "meters", value=[{**meter, "meter": f"m{number}"} for number in range(65)])
        ),
        "rotation without a list of meters": changed(others, drop(*change, "meters")),
        "new wallet without consent": changed(wallet, drop(*change, "consent")),
        "consent without a new wallet": changed(others, put(*change, "consent", value="00" * 64)),
        "recovery of a box key": changed(RECOVERY.raw, put(*change, "box", value="00" * 1_216)),
        "veto of nothing": changed(VETO.raw, drop("body", "recovery")),
    }


def _market_faults() -> dict[str, bytes]:
    """Forms that no metering or market transaction has."""
    meter, stated, offered, wanted = (each.raw for each in (BALCONY_OF_MOKPO, FIRST_STATEMENT, OFFER, BID))
    channel = {"name": "x", "rated_w": 1}
    return {
        "meter without channels": changed(meter, put("body", "change", "meter", "channels", value=[])),
        "meter with 33 channels": changed(meter, put("body", "change", "meter", "channels", value=[channel] * 33)),
        "channel of 0 W": changed(meter, put("body", "change", "meter", "channels", 0, "rated_w", value=0)),
        "register step of 0": changed(meter, put("body", "change", "meter", "register_step_wh", value=0)),
        "meter id with a slash": changed(meter, put("body", "change", "meter", "meter", value="a/b")),
        "negative register": changed(stated, put("body", "start", "register_wh", value=-1)),
        "statement without its start": changed(stated, drop("body", "start")),
        "statement with its energy": changed(stated, put("body", "energy_wh", value=900)),
        "offer of no lots": changed(offered, put("body", "lots", value=[])),
        "offer of 101 lots": changed(offered, put("body", "lots", value=["00" * 32] * 101)),
        "offer at a negative price": changed(offered, put("body", "price_micro", value=-1)),
        "offer with a smallest fill of 0": changed(offered, put("body", "smallest_wh", value=0)),
        "offer for a buyer that cannot be": changed(offered, put("body", "buyer", value="Kim")),
        "offer without a buyer field": changed(offered, drop("body", "buyer")),
        "bid for 0 Wh": changed(wanted, put("body", "energy_wh", value=0)),
        "bid for -10 Wh": changed(wanted, put("body", "energy_wh", value=-10)),
        "bid for 2^53 Wh": changed(wanted, put("body", "energy_wh", value=2**53)),
        "bid for half a Wh": wanted.replace(b'"energy_wh":300', b'"energy_wh":300.5'),
        "bid changed after signing": changed(wanted, put("body", "price_micro", value=1)),
        "merge of one lot": changed(MERGE.raw, put("body", "lots", value=["00" * 32])),
        "merge of 101 lots": changed(MERGE.raw, put("body", "lots", value=["00" * 32] * 101)),
        "merge with an energy": changed(MERGE.raw, put("body", "energy_wh", value=1_400)),
        "retirement of no lots": changed(RETIRE.raw, put("body", "lots", value=[])),
        "retirement of 101 lots": changed(RETIRE.raw, put("body", "lots", value=["00" * 32] * 101)),
        "retirement of a name that is no id": changed(RETIRE.raw, put("body", "lots", value=["00" * 31])),
        "retirement with a claim that is no hash": changed(CLAIM.raw, put("body", "origins_root", value="00" * 31)),
        "payment of nothing": changed(PAYMENT.raw, put("body", "amount_micro", value=0)),
        "payment of 2^53": changed(PAYMENT.raw, put("body", "amount_micro", value=2**53)),
        "payment for a month that cannot be": changed(PAYMENT.raw, put("body", "month", value="2026-13")),
        "payment without a buyer": changed(PAYMENT.raw, drop("body", "buyer")),
        "credit note without a reason": changed(CREDIT_NOTE.raw, drop("body", "reason")),
        "credit note for an unknown reason": changed(CREDIT_NOTE.raw, put("body", "reason", value="mercy")),
        "bid with a seller": changed(wanted, put("body", "member", value="haenam-farm")),
    }


def _foreign_signature() -> str:
    return MOKPO.wallet.sign(TRANSACTION_PURPOSE, NETWORK, encode(REVOCATION.body))


def _unsorted(raw: bytes) -> bytes:
    document = json.loads(raw)
    return json.dumps(dict(reversed(document.items())), separators=(",", ":")).encode()


# headers and blocks


def header_cases() -> list[Case]:
    """Headers with seal and hash."""
    return [
        {
            "name": f"block {block.header.height}",
            "value": json.loads(encode(block.header)),
            "canonical_hex": encode(block.header).hex(),
            "draft_hex": encode(block.header.draft()).hex(),
            "seal": block.header.seal().hex(),
            "hash": block.hash,
        }
        for block in (BLOCK_1, BLOCK_2, BLOCK_3)
    ]


def block_cases() -> list[Case]:
    """Whole blocks with the miner's signature."""
    return [_block(block) for block in (BLOCK_1, BLOCK_2, BLOCK_3)]


def _block(block: Block) -> Case:
    body = block_signing_body(block.hash)
    return {
        "name": f"block {block.header.height}",
        "canonical_hex": block.raw.hex(),
        "hash": block.hash,
        "transactions": [transaction.id for transaction in block.transactions],
        "tx_root": transactions_root(block.transactions),
        "signed_bytes_hex": signing_bytes(BLOCK_PURPOSE, NETWORK, body).hex(),
        "signature": block.signature,
    }


def refused_header_cases() -> list[Case]:
    """Headers that are refused by their form."""
    raw = encode(BLOCK_1.header)
    faults = {
        "height 0": changed(raw, put("height", value=0)),
        "difficulty 0": changed(raw, put("difficulty", value=0)),
        "nonce of 15 digits": changed(raw, put("nonce", value="0" * 15)),
        "nonce in upper case": changed(raw, put("nonce", value="A" * 16)),
        "nonce missing": changed(raw, drop("nonce")),
        "unknown field": changed(raw, put("extra", value=1)),
        "time is a float": raw.replace(b'"time_ms":', b'"time_ms":0.'),
        "difficulty is 2^53": changed(raw, put("difficulty", value=2**53)),
        "miner is no member id": changed(raw, put("miner", value="-a")),
        "prev in upper case": changed(raw, put("prev", value="A" * 64)),
        "blank after": raw + b" ",
    }
    return refused(faults, decode_header)


def refused_block_cases() -> list[Case]:
    """Blocks that are refused by their form."""
    raw = BLOCK_3.raw
    one = json.loads(REVOCATION.raw)
    faults = {
        "carries a vote": changed(raw, put("votes", value=[{}])),
        "votes missing": changed(raw, drop("votes")),
        "unknown field": changed(raw, put("extra", value=1)),
        "transaction of unknown type": changed(raw, put("transactions", 0, "body", "type", value="payment")),
        "transaction with an unknown field": changed(raw, put("transactions", 0, "body", "extra", value=1)),
        "blank inside a transaction": raw.replace(b'"change":', b'"change": ', 1),
        "blank between transactions": raw.replace(b'"votes":[]', b'"votes":[ ]'),
        "transaction is null": changed(raw, put("transactions", value=[None])),
        "1,501 transactions": changed(raw, put("transactions", value=[0] * 1_501)),
        "signature too short": changed(raw, put("signature", value="00" * 63)),
        "header missing": changed(raw, drop("header")),
        "transactions as an object": changed(raw, put("transactions", value={"a": one})),
        "cut short": raw[:-1],
        "larger than a block may be": raw + b" " * MAX_BLOCK_BYTES,
    }
    return refused(faults, decode_block)
