"""The path of the API that signs for new keys of the member."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from minervas_core.encoding import decode, encode
from minervas_core.rekeying import MAX_NEW_KEYS, MAX_ROTATION_BYTES, NewKeyClaim
from minervas_peer.api import models
from minervas_peer.api.access_token import TokenCheck
from minervas_peer.api.errors import READ_ERRORS
from minervas_peer.rekey.signer import RotationSigner

_ERRORS: dict[int | str, dict[str, Any]] = {
    **READ_ERRORS,
    401: {"model": models.Error, "description": "The token of the peer's data directory is missing or wrong."},
    409: {"model": models.Error, "description": "Our wallet is not the member's on our chain (yet)."},
}


class NewRotation(BaseModel):
    """Keys that are to be replaced."""

    model_config = ConfigDict(extra="forbid", strict=True)

    wish: str = Field(pattern=r"^[0-9a-f]{32}$", description="Random; the same again gives the same new keys.")
    own: list[Literal["wallet", "box"]] = Field(max_length=2, description="Keys of the peer.")
    claims: list[Annotated[str, Field(max_length=MAX_ROTATION_BYTES)]] = Field(
        max_length=MAX_NEW_KEYS, description="What other services handed in, in canonical JSON."
    )


class Rotation(BaseModel):
    """A request that the wallet signed, to be sent to admission."""

    signed: str = Field(description="Canonical JSON.")


def add_rotation_path(app: FastAPI, signer: RotationSigner, token: str) -> None:
    """Add the path to an application."""

    @app.post(
        "/v1/rotations", responses=_ERRORS, dependencies=[Depends(TokenCheck(token))], summary="Sign for new keys"
    )
    async def rotate(wanted: NewRotation) -> Rotation:
        claims = [decode(text.encode(), NewKeyClaim, max_bytes=MAX_ROTATION_BYTES) for text in wanted.claims]
        return Rotation(signed=encode(signer.sign(wanted.wish, wanted.own, claims)).decode())
