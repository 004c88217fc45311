"""One sample of every message and document of the protocol."""

from __future__ import annotations

import json
from pathlib import Path

from msgspec import Raw

from minervas_core import frames, genesis, messages, node_messages
from minervas_core.blocks import BlockForm
from minervas_core.encoding import Record, encode, sha256_hex
from minervas_core.transactions import TransactionForm
from tools.vectors.bill_cases import bill_samples, evidence_samples
from tools.vectors.enrolment_samples import enrolment_samples, renewal_samples
from tools.vectors.fixtures import (
    ADMISSIONS,
    AUTHORITY,
    BLOCK_1,
    BLOCK_2,
    BLOCK_3,
    GENESIS_BODY,
    HAENAM,
    KIM,
    MOKPO,
    NETWORK,
    PARAMETERS,
    REVOCATION,
    START_MS,
    MemberKeys,
    hello,
    seed,
    sender_key,
)
from tools.vectors.governance_samples import NEW_AUTHORITY, governance_samples
from tools.vectors.market_samples import ledger_samples, metering_samples, node_market_samples
from tools.vectors.membership_samples import membership_samples, roster_entries
from tools.vectors.proof_cases import proof_samples
from tools.vectors.vote_samples import FIRST, GENESIS_CHECKPOINT, node_vote_samples, vote_samples

SEALED_FILE = Path(__file__).with_name("sealed_samples.json")
"""Sealed sender keys: made once, for HPKE draws randomness inside the library (see `tools.vectors.reseal`)."""

NOW_MS = START_MS + 10_000
ROSTER_HASH = sha256_hex(b"a roster")


def sender_key_body(sender: MemberKeys, recipient: MemberKeys, sealed: str) -> messages.SenderKeyBody:
    """A sender key on its way to one recipient."""
    key = sender_key(sender)
    return messages.SenderKeyBody(
        network=NETWORK,
        sender=sender.member,
        recipient=recipient.member,
        epoch=key.epoch,
        key_id=key.key_id,
        sealed=sealed,
    )


def sender_key_message() -> messages.SenderKeyMessage:
    """Mokpo hands its sender key to Haenam."""
    sealed: str = json.loads(SEALED_FILE.read_text("ascii"))["mokpo-univ to haenam-farm"]
    body = sender_key_body(MOKPO, HAENAM, sealed)
    signature = MOKPO.wallet.sign(messages.SENDER_KEY_PURPOSE, NETWORK, encode(body))
    return messages.SenderKeyMessage(body=body, signature=signature, hello=hello(MOKPO))


def key_request() -> messages.KeyRequest:
    """Haenam asks Mokpo for its sender key."""
    body = messages.KeyRequestBody(
        network=NETWORK,
        sender=HAENAM.member,
        recipient=MOKPO.member,
        key_id=sender_key(MOKPO).key_id,
        sent_at_ms=NOW_MS,
    )
    signature = HAENAM.wallet.sign(messages.KEY_REQUEST_PURPOSE, NETWORK, encode(body))
    return messages.KeyRequest(body=body, signature=signature, hello=hello(HAENAM))


def _tip() -> messages.ChainTip:
    return messages.ChainTip(height=3, hash=BLOCK_3.hash, work="30")


def _progress() -> node_messages.SearchProgress:
    return node_messages.SearchProgress(
        height=4,
        difficulty=16,
        tries=9,
        elapsed_ms=1_000,
        tries_per_second=9,
        lowest_hash=BLOCK_3.hash,
        nonce=BLOCK_3.header.nonce,
    )


def _abandoned() -> node_messages.AbandonedSearch:
    return node_messages.AbandonedSearch(
        header=BLOCK_2.header, tries=400, elapsed_ms=8_000, lowest_hash=BLOCK_2.hash, stored_at_ms=NOW_MS
    )


def gossip_samples() -> dict[str, Record]:
    """Messages between peers, and between peers and admission, by name of the sample."""
    raw_admissions = [Raw(transaction.raw) for transaction in ADMISSIONS]
    ids = [transaction.id for transaction in ADMISSIONS]
    return {
        "Hello": hello(MOKPO),
        "SenderKeyMessage": sender_key_message(),
        "KeyRequest": key_request(),
        "TransactionBatch": messages.TransactionBatch(transactions=raw_admissions[:2]),
        "BlockAnnouncement": messages.BlockAnnouncement(block=Raw(BLOCK_2.raw)),
        "GetHeaders": messages.GetHeaders(locator=[BLOCK_2.hash, BLOCK_1.hash], limit=500),
        "GetHeaders from genesis": messages.GetHeaders(locator=[], limit=1),
        "Headers": messages.Headers(headers=[Raw(encode(BLOCK_2.header)), Raw(encode(BLOCK_3.header))]),
        "Headers, none left": messages.Headers(headers=[]),
        "GetBodies": messages.GetBodies(hashes=[BLOCK_2.hash]),
        "Bodies": messages.Bodies(blocks=[Raw(BLOCK_2.raw)]),
        "Reply with a body": messages.Reply(body=Raw(encode(messages.Headers(headers=[])))),
        "Reply with a failure": messages.Reply(failure=messages.Failure(code="not_ready", message="No chain yet")),
        "GetMembership": messages.GetMembership(after=0),
        "MembershipBatch": messages.MembershipBatch(transactions=raw_admissions[:1], first=0, total=3),
        "GetTransactionStatus": messages.GetTransactionStatus(ids=ids),
        "TransactionStatuses": messages.TransactionStatuses(
            statuses=[
                messages.TransactionStatus(id=ids[0], state="in_block", height=1, depth=3),
                messages.TransactionStatus(id=ids[1], state="queued"),
                messages.TransactionStatus(id=ids[2], state="unknown"),
            ],
            tip_height=3,
            final_height=0,
        ),
        "Presence": messages.Presence(
            state="online", version="0.1.0", sent_at_ms=NOW_MS, certificate_expires_ms=NOW_MS + 86_400_000, tip=_tip()
        ),
        "Presence of a gateway": messages.Presence(
            state="online",
            version="0.1.0",
            sent_at_ms=NOW_MS,
            certificate_expires_ms=NOW_MS + 1,
            clock_synchronised=True,
            clock_offset_ms=-3,
            disk_use_per_mille=420,
            spool_use_per_mille=15,
            spool_readings=1_800,
        ),
        "Presence of a ledger": messages.Presence(
            state="online", version="0.1.0", sent_at_ms=NOW_MS, tip=_tip(), low_disk="readings"
        ),
        "Presence, offline": messages.Presence(state="offline", version="0.1.0", sent_at_ms=NOW_MS),
        **vote_samples(),
    }


def _ledger_samples() -> dict[str, Record]:
    return {
        "Submit": node_messages.Submit(transactions=[Raw(REVOCATION.raw)], origin="consortium"),
        "SubmitResults": node_messages.SubmitResults(
            results=[
                node_messages.SubmitResult(status="accepted", id=REVOCATION.id),
                node_messages.SubmitResult(status="refused", code="not_json", message="The bytes are not JSON"),
            ]
        ),
        "DeliverBlock": node_messages.DeliverBlock(block=Raw(BLOCK_2.raw), origin=HAENAM.member),
        "BlockResult": node_messages.BlockResult(status="connected", hash=BLOCK_2.hash),
        "BlockResult, refused": node_messages.BlockResult(
            status="refused", hash=BLOCK_2.hash, code="block_work", message="The hash is not below the target"
        ),
        "PeerTip": node_messages.PeerTip(member=HAENAM.member, tip=_tip()),
        "GetRoster": node_messages.GetRoster(),
        "Roster": node_messages.Roster(members=roster_entries(), height=2, roster_hash=ROSTER_HASH),
        "GetStatus": node_messages.GetStatus(),
        "LedgerStatus": node_messages.LedgerStatus(
            member=MOKPO.member,
            tip=_tip(),
            tip_time_ms=BLOCK_3.header.time_ms,
            difficulty=16,
            roster_hash=ROSTER_HASH,
            active_members=2,
            mempool_transactions=0,
            mempool_bytes=0,
            abandoned_searches=1,
            reorganisations=0,
            side_branches=0,
            justified=FIRST,
            final=GENESIS_CHECKPOINT,
            missing_voters=[KIM.member],
            parameters=PARAMETERS,
            unknown_rules_height=0,
            authority=NEW_AUTHORITY.public,
            syncing=False,
            refusals={"bad_signature": 2, "not_json": 1},
            search=_progress(),
        ),
    }


def _chain_samples() -> dict[str, Record]:
    return {
        "GetBlocks": node_messages.GetBlocks(below_height=0, limit=20),
        "BlockSummaries": node_messages.BlockSummaries(
            blocks=[
                node_messages.BlockSummary(
                    header=BLOCK_2.header,
                    hash=BLOCK_2.hash,
                    transactions=0,
                    size_bytes=len(BLOCK_2.raw),
                    best_chain=True,
                    final=False,
                )
            ]
        ),
        "GetBlock": node_messages.GetBlock(block="2"),
        "BlockDetail": node_messages.BlockDetail(
            block=Raw(BLOCK_2.raw), hash=BLOCK_2.hash, best_chain=True, depth=2, final=False, work="20"
        ),
        "GetTransaction": node_messages.GetTransaction(id=REVOCATION.id),
        "TransactionDetail": node_messages.TransactionDetail(
            transaction=Raw(REVOCATION.raw), id=REVOCATION.id, state="in_block", height=3, depth=1, block=BLOCK_3.hash
        ),
        "GetAbandoned": node_messages.GetAbandoned(limit=20),
        "AbandonedSearches": node_messages.AbandonedSearches(searches=[_abandoned()]),
        "GetSideBranches": node_messages.GetSideBranches(limit=20),
        "SideBranches": node_messages.SideBranches(
            branches=[
                node_messages.SideBranchEntry(
                    hash=BLOCK_2.hash, height=2, length=1, fork_height=1, work="20", status="valid-fork"
                )
            ],
            total=1,
        ),
    }


def node_samples() -> dict[str, Record]:
    """Messages between the services of one node, by name of the sample."""
    template_id = seed("template", 16).hex()
    return (
        _ledger_samples()
        | _chain_samples()
        | {
            "TipChanged": node_messages.TipChanged(tip=_tip(), roster_hash=ROSTER_HASH, syncing=False),
            "Announce": node_messages.Announce(block=Raw(BLOCK_2.raw)),
            "FetchHeaders": node_messages.FetchHeaders(member=HAENAM.member, locator=[BLOCK_1.hash], limit=500),
            "FetchBodies": node_messages.FetchBodies(member=HAENAM.member, hashes=[BLOCK_2.hash]),
            "GetTemplate": node_messages.GetTemplate(),
            "Template": node_messages.Template(
                block_key=HAENAM.public.block,
                template_id=template_id,
                draft=BLOCK_3.header.draft(),
                give_up_ms=8_000,
                retime_ms=1_000,
            ),
            "Pause": node_messages.Pause(reason="not admitted yet"),
            "SearchProgress": _progress(),
            "Found": node_messages.Found(template_id=template_id, header=BLOCK_3.header, signature=BLOCK_3.signature),
            "Abandoned": node_messages.Abandoned(template_id=template_id, search=_abandoned()),
            "Stored": node_messages.Stored(),
        }
    )


def _frame_samples() -> dict[str, Record]:
    signed = frames.FrameHeader(
        version=1,
        network=NETWORK,
        sender=MOKPO.member,
        key_id=sender_key(MOKPO).key_id,
        nonce=seed("nonce", 24).hex(),
        sent_at_ms=NOW_MS,
        signature="00" * 64,
    )
    topic = "mesh/v1/mokpo-univ/peer/tx"
    return {
        "FrameHeader": signed,
        "FrameBinding": frames.FrameBinding(
            version=1,
            network=NETWORK,
            topic=topic,
            correlation="",
            key_id=signed.key_id,
            sender=MOKPO.member,
            sent_at_ms=NOW_MS,
        ),
        "FrameSignature": frames.FrameSignature(
            topic=topic,
            correlation="",
            key_id=signed.key_id,
            nonce=signed.nonce,
            sender=MOKPO.member,
            sent_at_ms=NOW_MS,
            digest=sha256_hex(b"ciphertext"),
        ),
        "SenderKeyInfo": messages.SenderKeyInfo(
            network=NETWORK, sender=MOKPO.member, recipient=KIM.member, epoch=1, key_id=sender_key(MOKPO).key_id
        ),
    }


def document_samples() -> dict[str, Record]:
    """Documents of the chain and of frames, by name of the sample."""
    admission, block = ADMISSIONS[0], BLOCK_1
    return (
        _frame_samples()
        | proof_samples()
        | {
            "GenesisFile": genesis.GenesisFile(
                body=GENESIS_BODY, signature=AUTHORITY.sign(genesis.PURPOSE, NETWORK, encode(GENESIS_BODY))
            ),
            "Parameters": PARAMETERS,
            "TransactionForm, admit": TransactionForm(body=admission.body, signature=admission.signature),
            "TransactionForm, revoke": TransactionForm(body=REVOCATION.body, signature=REVOCATION.signature),
            "Draft": block.header.draft(),
            "Header": block.header,
            "BlockForm": BlockForm(
                header=block.header,
                signature=block.signature,
                transactions=[Raw(transaction.raw) for transaction in block.transactions],
                votes=[],
            ),
        }
    )


def all_node_samples() -> dict[str, Record]:
    """Every message between the services of one node."""
    return node_samples() | node_market_samples() | node_vote_samples() | bill_samples()


def all_samples() -> dict[str, Record]:
    """Every sample."""
    parts = (
        gossip_samples,
        all_node_samples,
        enrolment_samples,
        renewal_samples,
        document_samples,
        metering_samples,
        evidence_samples,
        ledger_samples,
        membership_samples,
        governance_samples,
    )
    return {name: sample for part in parts for name, sample in part().items()}
