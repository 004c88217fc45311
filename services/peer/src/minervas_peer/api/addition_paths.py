"""The path on which the peer's wallet signs that gateways or meters are added to its member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from minervas_core.addition import AdditionBody, check_addition_body, sign_addition
from minervas_core.errors import Code, InvalidEncoding, LocalFault
from minervas_core.keys import SigningKey
from minervas_peer.api import models
from minervas_peer.api.access_token import TokenCheck
from minervas_peer.api.errors import READ_ERRORS

_ERRORS: dict[int | str, dict[str, Any]] = {
    **READ_ERRORS,
    401: {"model": models.Error, "description": "The token of the peer's data directory is missing or wrong."},
}


class NewAddition(BaseModel):
    """An `AdditionBody` of our own member (spec/schemas.json)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    addition: dict[str, Any]


class Signed(BaseModel):
    """The wallet's signature."""

    signature: Annotated[str, Field(description="Ed25519, 128 hex digits, over purpose addition.")]


class Notary:
    """Signs additions with the wallet of one member."""

    def __init__(self, member: str, wallet: Callable[[], SigningKey], network: str) -> None:
        self._member = member
        self._wallet = wallet
        self._network = network

    def sign(self, document: dict[str, Any]) -> str:
        """Check an addition and sign it.

        Raises:
            InvalidEncoding: ``wrong_shape`` if it is none.
            LocalFault: ``bad_enrolment`` if it is another member's.
            PeerFault: as `check_addition_body`.
        """
        try:
            body = msgspec.convert(document, AdditionBody)
        except msgspec.ValidationError as error:
            raise InvalidEncoding(Code.WRONG_SHAPE, "Not an addition", reason=str(error)[:200]) from error
        if body.member != self._member:
            raise LocalFault(Code.BAD_ENROLMENT, "This is the peer of another member", peer=self._member)
        check_addition_body(body)
        return sign_addition(body, self._wallet(), self._network).signature


def add_addition_path(app: FastAPI, notary: Notary, token: str) -> None:
    """Add the path to an application; it asks for `token`."""

    @app.post("/v1/additions", responses=_ERRORS, dependencies=[Depends(TokenCheck(token))], summary="Sign an addition")
    async def sign_addition_of_ours(wanted: NewAddition) -> Signed:
        return Signed(signature=notary.sign(wanted.addition))
