"""Seal the sample sender keys again: only needed when the keys of `tools.vectors.fixtures` change.

HPKE draws fresh randomness, so the result differs on every run; that is why it is kept as a file.
"""

from __future__ import annotations

import json

from minervas_core.box import SUITE, load_box_public
from minervas_core.messages import sender_key_info
from tools.vectors.fixtures import HAENAM, MOKPO, MemberKeys, sender_key
from tools.vectors.samples import SEALED_FILE, sender_key_body


def sealed(sender: MemberKeys, recipient: MemberKeys) -> str:
    """A member's sender key, sealed to another member's box key, in hex."""
    info = sender_key_info(sender_key_body(sender, recipient, ""))
    return SUITE.encrypt(sender_key(sender).secret, load_box_public(recipient.box.public), info=info).hex()


def main() -> None:
    """Write `SEALED_FILE`."""
    samples = {"mokpo-univ to haenam-farm": sealed(MOKPO, HAENAM), "haenam-farm to mokpo-univ": sealed(HAENAM, MOKPO)}
    SEALED_FILE.write_text(json.dumps(samples, indent=1) + "\n", "ascii")


if __name__ == "__main__":
    main()
