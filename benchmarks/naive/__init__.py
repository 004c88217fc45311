"""A naive node, to measure against: what one writes first, and what most such projects stay with.

JSON through the standard library and pydantic; every signature verified with pycryptodome when a block comes, whether
or not it was verified before, with its key imported as the library's documentation shows it; one SQL statement for
each row, one commit for each block. It follows the same rules as the project, as far as the benchmarks' blocks meet
them (`benchmarks.world`): it reads the same bytes, refuses other spellings, checks every header, signature, transaction
and miner, matches orders the same way, and ends with the same lots, trades and debts, which a test compares.

Left out, all in the baseline's favour: undo data, side branches, the stored queue, revocations and cancellations,
reading anything back from the database. Its state stays in memory, and it keeps no more copies of what it has read
than the project.
"""
