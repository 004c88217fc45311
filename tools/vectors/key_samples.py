"""Samples of the exchange of sender keys."""

from __future__ import annotations

import json
from pathlib import Path

from minervas_core import messages
from minervas_core.encoding import encode
from tools.vectors.fixtures import HAENAM, MOKPO, NETWORK, START_MS, MemberKeys, hello, sender_key

SEALED_FILE = Path(__file__).with_name("sealed_samples.json")
"""Sealed sender keys: made once, for HPKE draws randomness inside the library (see `tools.vectors.reseal`)."""
NOW_MS = START_MS + 10_000


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
