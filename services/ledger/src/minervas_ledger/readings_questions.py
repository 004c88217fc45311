"""Answers to questions about our node's readings."""

from __future__ import annotations

from minervas_core.node_market_messages import GetReadings, Readings
from minervas_ledger.store.reader import DatabaseReader
from minervas_ledger.store.readings_reads import newest_readings


class ReadingsQuestions:
    """Raises `TransientFault` ``database_away`` when it is.

    Args:
        member: whose node it is.
        reader: the database.
    """

    def __init__(self, member: str, reader: DatabaseReader) -> None:
        self._member = member
        self._reader = reader

    async def newest(self, question: GetReadings) -> Readings:
        """The newest readings of our channels, of one meter or channel if it is named."""
        return await self._reader.ask(lambda database: newest_readings(database, self._member, question))
