"""Tables of the chain state that can lie over each other.

A change of the state is first made in a layer over it. If any rule refuses, the layer is thrown away and nothing has
happened; otherwise it is merged down. That makes a block, and a whole reorganisation, happen completely or not at all.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Table(Generic[K, V]):
    """Rows by key. Over another table it holds only what differs from it; values are never None."""

    __slots__ = ("_base", "_rows")

    def __init__(self, rows: Iterable[tuple[K, V]] = (), *, base: Table[K, V] | None = None) -> None:
        self._base = base
        self._rows: dict[K, V | None] = dict(rows)
        """In a layer, None stands for a row of the base that is gone."""

    def get(self, key: K) -> V | None:
        """The row, or None."""
        if self._base is None or key in self._rows:
            return self._rows.get(key)
        return self._base.get(key)

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def put(self, key: K, row: V) -> None:
        """Set a row."""
        self._rows[key] = row

    def drop(self, key: K) -> None:
        """Remove a row that exists."""
        if self._base is None:
            del self._rows[key]
        else:
            self._rows[key] = None

    def items(self) -> Iterator[tuple[K, V]]:
        """All rows, in no particular order."""
        for key, row in self._rows.items():
            if row is not None:
                yield key, row
        if self._base is not None:
            yield from (item for item in self._base.items() if item[0] not in self._rows)

    def over(self) -> Table[K, V]:
        """An empty layer over this table."""
        return Table(base=self)

    def changes(self) -> Mapping[K, V | None]:
        """What this layer has in place of its base's rows; None where a row is gone."""
        return self._rows

    def before(self, key: K) -> V | None:
        """The row as it is below this layer."""
        return None if self._base is None else self._base.get(key)

    def merge_down(self) -> None:
        """Carry this layer's changes into its base."""
        base = self._base
        if base is None:
            raise ValueError("this table lies over nothing")
        for key, row in self._rows.items():
            if row is not None:
                base.put(key, row)
            elif key in base:
                base.drop(key)
        self._rows.clear()
