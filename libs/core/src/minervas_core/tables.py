"""Tables of the chain state that can lie over each other.

A change of the state is first made in a layer over it. If any rule refuses, the layer is thrown away and nothing has
happened; otherwise it is merged down. That makes a block, and a whole reorganisation, happen completely or not at all.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Entry = tuple[int | str, ...]
"""What a sorted list holds of a row; it ends with the row's key, so that no two rows have the same."""


class Table(Generic[K, V]):
    """Rows by key. Over another table it holds only what differs from it; values are never None."""

    __slots__ = ("_base", "_rows")

    def __init__(self, rows: Iterable[tuple[K, V]] = (), *, base: Table[K, V] | None = None) -> None:
        self._base = base
        self._rows: dict[K, V | None] = dict(rows)
        """In a layer, None stands for a row of the base that is gone."""

    def get(self, key: K) -> V | None:
        """The row, or None."""
        table: Table[K, V] | None = self
        while table is not None:
            if key in table._rows:  # noqa: SLF001 - a loop down the layers: the rules' most frequent question
                return table._rows[key]  # noqa: SLF001 - as above
            table = table._base  # noqa: SLF001 - as above
        return None

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
        if self._base is None:
            raise ValueError("this table lies over nothing")
        if self._rows:
            self._base.absorb(self._rows)
            self._rows.clear()

    def absorb(self, changes: Mapping[K, V | None]) -> None:
        """Take over the `changes` of a layer over this table."""
        for key, row in changes.items():
            if row is not None:
                self._rows[key] = row
            elif key in self:
                Table.drop(self, key)


class SortedTable(Table[K, V]):
    """A table that also keeps sorted lists made from its rows, so that no rule has to look at all of them.

    The lists are made when somebody first asks, a layer's as copies of its base's, and kept up to date from then on.
    """

    __slots__ = ("_below", "_entries_of", "_lists")

    def __init__(
        self, entries_of: Callable[[K, V], dict[str, Entry]], *, base: SortedTable[K, V] | None = None
    ) -> None:
        """Make an empty table, or an empty layer.

        Args:
            entries_of: a row's entry in each list that it stands in, by the list's name.
            base: table under this layer.
        """
        super().__init__(base=base)
        self._below = base
        self._entries_of = entries_of
        self._lists: dict[str, list[Entry]] | None = None

    def over(self) -> SortedTable[K, V]:
        """An empty layer over this table."""
        return SortedTable(self._entries_of, base=self)

    def put(self, key: K, row: V) -> None:
        """Set a row."""
        before = self.get(key) if self._lists is not None else None
        super().put(key, row)
        self._relist(key, before, row)

    def drop(self, key: K) -> None:
        """Remove a row that exists."""
        before = self.get(key) if self._lists is not None else None
        super().drop(key)
        self._relist(key, before, None)

    def merge_down(self) -> None:
        """Carry this layer's changes into its base."""
        super().merge_down()
        self._lists = None

    def absorb(self, changes: Mapping[K, V | None]) -> None:
        """Take over the `changes` of a layer over this table."""
        if self._lists is None:
            super().absorb(changes)
            return
        for key, row in changes.items():
            if row is not None:
                self.put(key, row)
            elif key in self:
                self.drop(key)

    def listed(self, name: str) -> Sequence[Entry]:
        """A sorted list. It changes with the table: hold no position in it over a change of this list's rows."""
        if self._lists is None:
            self._lists = self._make_lists()
        return self._lists.setdefault(name, [])

    def listed_under(self, name: str, first: str) -> Sequence[Entry]:
        """The entries of a list that begin with a text."""
        found = self.listed(name)
        return found[bisect_left(found, (first,)) : bisect_left(found, (first + "\0",))]

    def _make_lists(self) -> dict[str, list[Entry]]:
        if self._below is not None:
            lists = {name: list(entries) for name, entries in self._below.all_lists().items()}
            for key, row in self._rows.items():
                self._exchange(lists, key, self._below.get(key), row)
            return lists
        lists = {}
        for key, row in self.items():
            for name, entry in self._entries_of(key, row).items():
                lists.setdefault(name, []).append(entry)
        for entries in lists.values():
            entries.sort()
        return lists

    def all_lists(self) -> Mapping[str, Sequence[Entry]]:
        """Every sorted list by name."""
        if self._lists is None:
            self._lists = self._make_lists()
        return self._lists

    def _relist(self, key: K, before: V | None, row: V | None) -> None:
        if self._lists is not None:
            self._exchange(self._lists, key, before, row)

    def _exchange(self, lists: dict[str, list[Entry]], key: K, before: V | None, row: V | None) -> None:
        old = {} if before is None else self._entries_of(key, before)
        new = {} if row is None else self._entries_of(key, row)
        for name, entry in old.items():
            if new.get(name) != entry:
                entries = lists[name]
                del entries[bisect_left(entries, entry)]
        for name, entry in new.items():
            if old.get(name) != entry:
                insort(lists.setdefault(name, []), entry)
