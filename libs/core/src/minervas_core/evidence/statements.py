"""Metering statements as evidence: signed by the registered gateway of a meter that could have made the energy."""

from __future__ import annotations

from minervas_core.errors import Code, InvalidProof
from minervas_core.evidence.known_keys import KnownKeys, KnownMeter
from minervas_core.genesis import Genesis
from minervas_core.market.generation import check_statement_alone, most_energy_wh
from minervas_core.market.records import Origin
from minervas_core.metering import Generation
from minervas_core.transactions import Transaction, check_signature, decode_transaction


def statement_of(raw: bytes) -> tuple[str, Generation]:
    """A shown statement's id and content.

    Raises:
        InvalidEncoding: if it is malformed.
        InvalidProof: ``statement_wrong`` if it is another kind of transaction.
    """
    transaction = decode_transaction(raw)
    return transaction.id, _content(transaction)


def check_stated(genesis: Genesis, raw: bytes, origin: Origin, keys: KnownKeys) -> Generation:
    """Check that a statement is the one that an origin names, and can have minted its energy.

    Raises:
        InvalidEncoding: if it is malformed.
        InvalidTransaction: ``bad_signature``, ``wrong_network`` or ``statement_order``.
        InvalidProof: ``statement_wrong`` with what is wrong.
    """
    transaction = decode_transaction(raw)
    content = _content(transaction)
    if transaction.id != origin.statement:
        raise _wrong("Another statement than the lot's origin names", statement=origin.statement, shown=transaction.id)
    check_signature(transaction, genesis.network)
    check_statement_alone(transaction.id, content)
    meter = keys.meters.get((content.member, content.meter))
    if meter is None or content.sender not in meter.gateways:
        raise _wrong("Not signed by a registered gateway of the meter", statement=transaction.id, meter=content.meter)
    stated_wh = content.end.register_wh - content.start.register_wh
    if origin.energy_wh > stated_wh:
        raise _wrong("Less energy than the lot has of it", stated_wh=stated_wh, energy_wh=origin.energy_wh)
    if stated_wh > _most_wh(content, meter):
        raise _wrong("More energy than the rated power can produce", stated_wh=stated_wh)
    return content


def _most_wh(content: Generation, meter: KnownMeter) -> int:
    for channel in meter.declaration.channels:
        if channel.name == content.channel:
            elapsed_ms = content.end.time_ms - content.start.time_ms
            return most_energy_wh(channel.rated_w, elapsed_ms, meter.declaration.register_step_wh)
    raise _wrong("The meter has no such channel", meter=content.meter, channel=content.channel)


def _content(transaction: Transaction) -> Generation:
    if not isinstance(transaction.body, Generation):
        raise _wrong("Not a metering statement", kind=transaction.kind)
    return transaction.body


def _wrong(message: str, **values: str | int) -> InvalidProof:
    return InvalidProof(Code.STATEMENT_WRONG, message, **values)
