"""The peer's wallet signs additions of its own member, for whoever has the token."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
from fastapi import FastAPI

from minervas_core.addition import Addition, check_addition
from minervas_core.errors import Code
from minervas_peer.api.addition_paths import Notary, add_addition_path
from minervas_peer.api.errors import add_error_handlers
from tools.vectors.enrolment_samples import added
from tools.vectors.fixtures import HAENAM, KIM, NETWORK

TOKEN = "ab" * 32
BODY = added(HAENAM).body


def peer() -> FastAPI:
    app = FastAPI()
    add_error_handlers(app)
    add_addition_path(app, Notary(HAENAM.member, lambda: HAENAM.wallet, NETWORK), TOKEN)
    return app


async def ask(body: object, token: str = TOKEN) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=peer()), base_url="http://localhost") as client:
        return await client.post("/v1/additions", json={"addition": body}, headers={"Authorization": f"Bearer {token}"})


def builtins(**changes: Any) -> object:
    return msgspec.to_builtins(msgspec.structs.replace(BODY, **changes))


async def test_the_wallet_signs_what_its_member_adds() -> None:
    answer = await ask(builtins())
    assert answer.status_code == 200, answer.text
    check_addition(Addition(body=BODY, signature=answer.json()["signature"]), HAENAM.public.wallet, NETWORK)


async def test_without_the_token_nothing_is_signed() -> None:
    answer = await ask(builtins(), token="cd" * 32)
    assert (answer.status_code, answer.json()["code"]) == (401, Code.NOT_AUTHORISED)


async def test_only_additions_of_the_own_member_are_signed() -> None:
    refusals = [
        (msgspec.to_builtins(added(KIM).body), Code.BAD_ENROLMENT),
        (builtins(services=added(KIM).services), Code.BAD_ENROLMENT),
        (builtins(services=BODY.services * 2), Code.BAD_ENROLMENT),
        ({"member": HAENAM.member}, Code.WRONG_SHAPE),
        ({**BODY_BUILTINS, "extra": 1}, Code.WRONG_SHAPE),
    ]
    for body, code in refusals:
        answer = await ask(body)
        assert answer.status_code >= 400
        assert answer.json()["code"] == code


BODY_BUILTINS: dict[str, Any] = msgspec.to_builtins(BODY)
