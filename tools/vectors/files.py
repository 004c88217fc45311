"""Which file holds which cases."""

from __future__ import annotations

from collections.abc import Mapping

from tools.vectors import (
    addition_cases,
    bill_cases,
    bus_cases,
    ca_bundle_cases,
    catalogue,
    chain_cases,
    document_cases,
    encoding_cases,
    finality_cases,
    frame_cases,
    governance_cases,
    market_cases,
    membership_cases,
    merkle_cases,
    message_cases,
    metering_cases,
    proof_cases,
    renewal_cases,
    schemas,
    signature_cases,
    work_cases,
)
from tools.vectors.auction_histories import AUCTION_GENESIS
from tools.vectors.enrolment_samples import enrolment_samples, renewal_samples
from tools.vectors.fixtures import GENESIS, NETWORK
from tools.vectors.format import Plain, render
from tools.vectors.market_samples import reading_samples
from tools.vectors.samples import all_node_samples, gossip_samples


def vector_files() -> dict[str, str]:
    """Text of every generated file, by its path below spec/."""
    files = {f"vectors/{name}.json": render(content) for name, content in _contents().items()}
    return files | {
        "rights.json": render(bus_cases.rights_table()),
        "schemas.json": render(schemas.schema_file()),
        "asyncapi.yaml": catalogue.catalogue_text(),
    }


def _contents() -> dict[str, Mapping[str, Plain]]:
    return {
        "encoding": {
            "about": "Canonical bytes of plain values; bytes that are refused (spec/encoding.md).",
            "accepted": encoding_cases.accepted_cases(),
            "refused": encoding_cases.refused_cases(),
        },
        "keys": {
            "about": "Ed25519 keys and signatures with their edge cases (spec/keys.md).",
            "seeds": signature_cases.seed_cases(),
            "public_keys": signature_cases.key_cases(),
            "signatures": signature_cases.signature_cases(),
        },
        "merkle": {
            "about": "Merkle roots and audit paths (spec/blocks.md).",
            "roots": merkle_cases.root_cases(),
            "paths": merkle_cases.path_cases(),
        },
        "proof_of_work": {
            "about": "Targets, tries and hashes at the limit (spec/blocks.md).",
            "targets": work_cases.target_cases(),
            "tries": work_cases.try_cases(),
            "limits": work_cases.boundary_cases(),
        },
        "difficulty": {
            "about": "Difficulty of the block that follows a history of [time_ms, difficulty] (spec/blocks.md).",
            "single": work_cases.difficulty_cases(),
            "sequences": work_cases.sequence_cases(),
        },
        **_documents(),
        **_bus(),
        "chain": _chain(),
        "governance": _governance(),
        "market": _market(),
        "auctions": _auctions(),
        "finality": _finality(),
        "proofs": {
            "about": "Proofs for outsiders, line by line, and what they show (spec/proofs.md).",
            "genesis_hex": GENESIS.raw.hex(),
            "accepted": proof_cases.proof_cases(),
            "refused": proof_cases.refused_proof_cases(),
        },
        "membership": _membership(),
        "bills": {
            "about": "Months in time zones; bills with their lines, tax and rounding (spec/bills.md).",
            "months": bill_cases.month_cases(),
            "bills": bill_cases.bill_cases(),
        },
    }


def _chain() -> Mapping[str, Plain]:
    blocks, histories = chain_cases.history_cases()
    return {
        "about": "Blocks handed to a node in turn, what becomes of each, and its tip then (spec/blocks.md).",
        "genesis_hex": GENESIS.raw.hex(),
        "blocks": blocks,
        "histories": histories,
    }


def _governance() -> Mapping[str, Plain]:
    blocks, histories = governance_cases.governance_history_cases()
    return {
        "about": (
            "Blocks that change parameters and the authority's key, handed to a node in turn, and what its state says "
            "of both then (spec/governance.md)."
        ),
        "genesis_hex": GENESIS.raw.hex(),
        "blocks": blocks,
        "histories": histories,
    }


def _membership() -> Mapping[str, Plain]:
    blocks, histories = membership_cases.membership_history_cases()
    return {
        "about": "Blocks that change memberships, and the roster then; its keys are cut short (spec/membership.md).",
        "genesis_hex": GENESIS.raw.hex(),
        "blocks": blocks,
        "consents": membership_cases.consent_cases(),
        "histories": histories,
    }


def _market() -> Mapping[str, Plain]:
    blocks, histories = market_cases.market_history_cases()
    return {
        "about": "Blocks that meter and trade, handed to a node in turn, and its market then (spec/market.md).",
        "genesis_hex": GENESIS.raw.hex(),
        "blocks": blocks,
        "derived_lots": market_cases.derived_lot_cases(),
        "histories": histories,
    }


def _auctions() -> Mapping[str, Plain]:
    blocks, histories = market_cases.auction_history_cases()
    return {
        "about": "Blocks of a consortium with auctions, handed to a node in turn, and its market (spec/market.md).",
        "genesis_hex": AUCTION_GENESIS.raw.hex(),
        "blocks": blocks,
        "histories": histories,
    }


def _finality() -> Mapping[str, Plain]:
    blocks, histories = finality_cases.history_cases()
    return {
        "about": "Votes; blocks that carry votes, handed to a node in turn, and what is final then (spec/finality.md).",
        "genesis_hex": GENESIS.raw.hex(),
        "accepted": finality_cases.vote_cases(),
        "refused": finality_cases.refused_vote_cases(),
        "blocks": blocks,
        "histories": histories,
    }


def _documents() -> dict[str, Mapping[str, Plain]]:
    return {
        "genesis": {
            "about": "Genesis files (spec/genesis.md).",
            "accepted": document_cases.genesis_cases(),
            "refused": document_cases.refused_genesis_cases(),
        },
        "transactions": {
            "about": "Transactions of every type: form, id and signature (spec/transactions.md).",
            "network": NETWORK,
            "accepted": document_cases.transaction_cases(),
            "refused": document_cases.refused_transaction_cases(),
        },
        "blocks": {
            "about": "Headers and blocks: form, seal, hash and signature (spec/blocks.md).",
            "headers": document_cases.header_cases(),
            "refused_headers": document_cases.refused_header_cases(),
            "blocks": document_cases.block_cases(),
            "refused_blocks": document_cases.refused_block_cases(),
        },
        "enrolment": {
            "about": "Applying for membership (spec/membership.md).",
            "documents": message_cases.sample_cases(enrolment_samples()),
            "claims": message_cases.claim_cases(),
            "ca_bundles": ca_bundle_cases.ca_bundle_cases(),
            "refused_ca_bundles": ca_bundle_cases.refused_ca_bundle_cases(),
            "applications": message_cases.application_cases(),
            "refused_applications": message_cases.refused_application_cases(),
            "network": NETWORK,
            "additions": addition_cases.addition_cases(),
            "refused_additions": addition_cases.refused_addition_cases(),
        },
        "renewal": {
            "about": "Renewing certificates (spec/membership.md).",
            "documents": message_cases.sample_cases(renewal_samples()),
            "accepted": renewal_cases.renewal_cases(),
            "refused": renewal_cases.refused_renewal_cases(),
        },
    }


def _bus() -> dict[str, Mapping[str, Plain]]:
    return {
        "frames": {
            "about": "Sealed frames (spec/frames.md).",
            "network": NETWORK,
            "accepted": frame_cases.frame_cases(),
            "refused": frame_cases.refused_frame_cases(),
            "oversize_frame": frame_cases.oversize_frame_case(),
        },
        "sender_keys": {
            "about": "Sealed sender keys: opening only, for sealing draws randomness (spec/frames.md).",
            "accepted": message_cases.sender_key_cases(),
            "refused": message_cases.refused_sender_key_cases(),
        },
        "messages": {
            "about": "Messages between peers, and between peers and admission (spec/asyncapi.yaml).",
            "samples": message_cases.sample_cases(gossip_samples()),
            "signed": message_cases.signed_cases(),
            "refused": message_cases.refused_message_cases(),
            "refused_hellos": message_cases.refused_signed_cases(),
        },
        "node_messages": {
            "about": "Messages between the services of one node (spec/asyncapi.yaml).",
            "samples": message_cases.sample_cases(all_node_samples()),
        },
        "metering": {
            "about": "Readings in batches, and their roots (spec/metering.md).",
            "samples": message_cases.sample_cases(reading_samples()),
            "batches": metering_cases.batch_cases(),
            "refused_batches": metering_cases.refused_batch_cases(),
            "roots": metering_cases.root_cases(),
        },
        "topics": {
            "about": "Names, topics and filters (spec/topics.md).",
            "names": bus_cases.name_cases(),
            "topics": bus_cases.topic_cases(),
            "filters": bus_cases.filter_cases(),
        },
        "rights": {
            "about": "Who may write and read where (spec/rights.json, spec/topics.md).",
            "operator_member": bus_cases.OPERATOR,
            "tries": bus_cases.rights_cases(),
        },
    }
