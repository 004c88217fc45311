"""Templates that were given to the miner, so that what it finds can be put together again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from minervas_core.blocks import Draft
from minervas_core.finality.votes import Vote
from minervas_core.transactions import Transaction

MAX_TEMPLATES = 64
"""More than are given out in the time that a found block can take to come back."""


@dataclass(frozen=True, slots=True)
class GivenTemplate:
    """A template with what its roots stand for."""

    template_id: str
    draft: Draft
    transactions: tuple[Transaction, ...]
    votes: tuple[Vote, ...] = ()
    block_key: str = ""


class TemplateBook:
    """The last templates, by id."""

    def __init__(self, limit: int = MAX_TEMPLATES) -> None:
        self._limit = limit
        self._given: OrderedDict[str, GivenTemplate] = OrderedDict()

    def remember(self, given: GivenTemplate) -> None:
        """Keep a template; the oldest one beyond the limit is forgotten."""
        self._given[given.template_id] = given
        if len(self._given) > self._limit:
            self._given.popitem(last=False)

    def get(self, template_id: str) -> GivenTemplate | None:
        """A template that was given out, unless that was too long ago."""
        return self._given.get(template_id)
