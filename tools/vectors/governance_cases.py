"""Blocks that change parameters, the rule version and the authority's key, and what becomes of each."""

from __future__ import annotations

import json

import msgspec

from minervas_core.blocks import Block
from minervas_core.chain import Chain
from minervas_core.governance.authority import sign_statement
from minervas_core.governance.parameters import MAX_SCHEDULED
from minervas_core.keys import SigningKey
from minervas_core.state import BlockUndo
from minervas_core.transactions import Admit, Membership, Transaction, sign_transaction
from tools.vectors.chain_blocks import revoke, upon
from tools.vectors.chain_cases import Blocks, Step
from tools.vectors.fixtures import (
    AUTHORITY,
    BLOCK_1,
    BLOCK_2,
    GENESIS,
    HAENAM,
    INTERVAL_MS,
    KIM,
    MEMBERS,
    MOKPO,
    NETWORK,
    OUTSIDER,
    PARAMETERS,
    MemberKeys,
    member_keys,
    ordered,
    seed,
)
from tools.vectors.format import Case, Plain
from tools.vectors.governance_samples import (
    AUTHORITY_CHANGE,
    AUTHORITY_RECOVERY,
    EARLIEST,
    NEW_AUTHORITY,
    PARAMETERS_CHANGE,
    VERSION_CHANGE,
    authority,
    authority_body,
    parameters,
    recovered_authority,
)

Faults = dict[str, tuple[tuple[Transaction, ...], str]]

STRANGERS = tuple(member_keys(f"stranger-{number}") for number in range(3))


def governance_histories() -> dict[str, list[Step]]:
    """Every history by name."""
    faults = {
        f"refused: {name}": [
            Step(BLOCK_1, "connected"),
            Step(upon(BLOCK_1, HAENAM, *transactions), "refused", code),
            Step(BLOCK_2, "connected"),
        ]
        for name, (transactions, code) in {**_parameter_faults(), **_authority_faults()}.items()
    }
    return {**_parameters(), **_authorities(), **faults}


def governance_history_cases() -> tuple[dict[str, Plain], list[Case]]:
    """The blocks by label, and the histories that name them."""
    blocks = Blocks()
    cases = [play(name, steps, blocks) for name, steps in governance_histories().items()]
    return {label: raw for raw, label in blocks.labels.items()}, cases


def play(name: str, steps: list[Step], blocks: Blocks) -> Case:
    """Hand the blocks to a fresh node and write down what becomes of each, and what the tip's state says.

    Raises:
        AssertionError: if that is not what the history is there to show.
    """
    raws: dict[str, bytes] = {}
    undo: dict[str, BlockUndo] = {}
    chain = Chain.fresh(GENESIS, raws.__getitem__, undo.__getitem__)
    told: list[Case] = []
    for step in steps:
        outcome = chain.receive_block(step.block, step.now_ms)
        raws |= {stored.block.hash: stored.block.raw for stored in outcome.stored}
        undo |= {each.block.hash: each.undo for each in (outcome.change.connected if outcome.change else ())}
        code = str(outcome.error.code) if outcome.error is not None else None
        if (outcome.status, code) != (step.status, step.code):
            raise AssertionError(f"{name}: {outcome}")
        told.append(
            {
                "block": blocks.label(step.block),
                "now_ms": step.now_ms,
                "status": step.status,
                "code": step.code,
                "tip": chain.tip.hash,
                "governance": governance_of(chain),
            }
        )
    return {"name": name, "steps": told}


def governance_of(chain: Chain) -> dict[str, Plain]:
    """Every row of governance by table and key, without empty tables."""
    tables: dict[str, dict[str, Plain]] = {}
    for row in chain.state.governance.rows():
        if not isinstance(row.row, msgspec.UnsetType):
            tables.setdefault(row.table, {})[row.key] = json.loads(bytes(row.row))
    return dict(tables)


def by_key(key: SigningKey, who: MemberKeys) -> Transaction:
    """An admission signed by any key in the authority's place."""
    body = Membership(
        network=NETWORK,
        sender=key.public,
        salt=seed(f"salt admit {who.member}", 16).hex(),
        expires_height=50,
        change=Admit(member=who.member, keys=who.public),
    )
    return sign_transaction(body, key)


def _grown(first: Block, height: int) -> list[Block]:
    """Empty blocks upon one, up to a height, by the members in turn."""
    blocks = [first]
    while blocks[-1].header.height < height:
        last = blocks[-1].header.miner
        names = [who.member for who in MEMBERS]
        blocks.append(upon(blocks[-1], MEMBERS[(names.index(last) + 1) % len(MEMBERS)]))
    return blocks


def _connected(blocks: list[Block]) -> list[Step]:
    return [Step(block, "connected") for block in [BLOCK_1, *blocks]]


def _parameters() -> dict[str, list[Step]]:
    changed = _grown(upon(BLOCK_1, HAENAM, PARAMETERS_CHANGE), EARLIEST - 1)
    three = _late(changed[-1], *(by_key(AUTHORITY, who) for who in STRANGERS))
    two = _late(changed[-1], *(by_key(AUTHORITY, who) for who in STRANGERS[:2]))
    early = _late(changed[-2], *(by_key(AUTHORITY, who) for who in STRANGERS))
    taken_back = [upon(BLOCK_1, HAENAM, PARAMETERS_CHANGE)]
    taken_back.append(upon(taken_back[0], KIM, parameters(EARLIEST + 2, {"slot_ms": 7}, name="another")))
    taken_back.append(upon(taken_back[1], MOKPO, parameters(EARLIEST + 2, {}, name="back")))
    unknown = _grown(upon(BLOCK_1, HAENAM, VERSION_CHANGE), EARLIEST - 1)
    beyond = _grown(unknown[-1], EARLIEST + 1)[1:]
    return {
        "fewer transactions from a height on": [
            *_connected(changed),
            Step(three, "refused", "block_tx_count"),
            Step(two, "connected"),
        ],
        "as many as before, one block earlier": [*_connected(changed[:-1]), Step(early, "connected")],
        "a change is taken back": _connected(taken_back),
        "a block under rules that version 1 does not have": [
            *_connected(unknown),
            *(Step(block, "side_branch") for block in beyond),
        ],
        "more changes wait than may": _too_many(),
    }


def _too_many() -> list[Step]:
    heights = [100 + number for number in range(MAX_SCHEDULED + 1)]
    changes = [parameters(each, {"slot_ms": 7}, name=str(each)) for each in heights]
    first = upon(BLOCK_1, HAENAM, *ordered(*changes[:9]))
    second = upon(first, KIM, *ordered(*changes[9:-1]))
    third = upon(second, MOKPO, changes[-1])
    return [*_connected([first, second]), Step(third, "refused", "parameters_limit")]


def _late(parent: Block, *transactions: Transaction) -> Block:
    """A block so late after its predecessor that any member may mine it."""
    time_ms = parent.header.time_ms + PARAMETERS.idle_intervals * INTERVAL_MS
    return upon(parent, MOKPO, *transactions, time_ms=time_ms)


def _authorities() -> dict[str, list[Step]]:
    replaced = upon(BLOCK_1, HAENAM, AUTHORITY_CHANGE)
    recovered = upon(BLOCK_1, HAENAM, AUTHORITY_RECOVERY)
    side = upon(BLOCK_1, KIM)
    longer = upon(side, MOKPO)
    return {
        "a new authority": [
            *_connected([replaced]),
            Step(upon(replaced, KIM, by_key(AUTHORITY, OUTSIDER)), "refused", "tx_wrong_sender"),
            Step(upon(replaced, KIM, by_key(NEW_AUTHORITY, OUTSIDER)), "connected"),
        ],
        "a new authority signs in its first block": _connected(
            [upon(BLOCK_1, HAENAM, *ordered(AUTHORITY_CHANGE, by_key(NEW_AUTHORITY, OUTSIDER)))]
        ),
        "the members replace a lost authority": [
            *_connected([recovered]),
            Step(upon(recovered, KIM, by_key(NEW_AUTHORITY, OUTSIDER)), "connected"),
        ],
        "an authority that was replaced comes back": [
            *_connected([replaced]),
            Step(upon(replaced, KIM, authority(AUTHORITY, previous=NEW_AUTHORITY)), "refused", "key_reused"),
        ],
        "a reorganisation undoes a new authority": [
            *_connected([replaced]),
            Step(side, "side_branch"),
            Step(longer, "connected"),
            Step(upon(longer, HAENAM, by_key(AUTHORITY, OUTSIDER)), "connected"),
        ],
    }


def _parameter_faults() -> Faults:
    return {
        "parameters by a member": (
            (parameters(EARLIEST, {"slot_ms": 7}, key=MOKPO.wallet),),
            "tx_wrong_sender",
        ),
        "a parameter that does not exist": ((parameters(EARLIEST, {"colour": 7}),), "parameter_unknown"),
        "a parameter that stays": ((parameters(EARLIEST, {"block_interval_ms": 7}),), "parameter_fixed"),
        "a parameter out of bounds": ((parameters(EARLIEST, {"max_block_bytes": 9_999}),), "parameter_value"),
        "a parameter of the wrong type": ((parameters(EARLIEST, {"slot_ms": "7"}),), "parameter_value"),
        "parameters announced too late": ((parameters(EARLIEST - 1, {"slot_ms": 7}),), "parameters_notice"),
        "parameters without a change": ((parameters(EARLIEST, {}),), "parameters_empty"),
        "the rule version that is in force": ((parameters(EARLIEST, {}, rule_version=1),), "rule_version_order"),
    }


def _authority_faults() -> Faults:
    body = authority_body()
    foreign_proof = msgspec.structs.replace(body, proof=sign_statement(body, MOKPO.wallet))
    by_member = authority_body(sender=MOKPO.wallet)
    return {
        "authority not held by anybody": ((sign_transaction(foreign_proof, AUTHORITY),), "bad_signature"),
        "authority replaced by a member": ((sign_transaction(by_member, MOKPO.wallet),), "tx_wrong_sender"),
        "authority that is a member's key": ((authority(MOKPO.wallet),), "key_reused"),
        "authority replaced by itself": ((authority(AUTHORITY),), "key_reused"),
        "authority of nobody replaced": (
            (authority(previous=OUTSIDER.wallet),),
            "authority_not_current",
        ),
        "authority by two thirds of the members": ((recovered_authority((MOKPO, HAENAM)),), "authority_approvals"),
        "authority by a stranger, too": ((recovered_authority((MOKPO, HAENAM, OUTSIDER)),), "authority_approvals"),
        "authority by members out of order": (
            (recovered_authority((MOKPO, HAENAM, KIM), ordered=False),),
            "authority_approvals",
        ),
        "authority by nobody": ((recovered_authority(()),), "authority_approvals"),
        "old and new authority sign for different things": (
            (authority(), revoke(KIM, "by the old one")),
            "tx_wrong_sender",
        ),
    }
