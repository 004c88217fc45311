"""What ends a page early."""

from __future__ import annotations


class PageFault(Exception):
    """The page can not be shown; an error page says why and what to do.

    Attributes:
        status: of HTTP.
        why: key of the texts ``errors.why``.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status} {why}")
        self.status = status
        self.why = why


class Detour(Exception):
    """The browser has to go to another page first.

    Attributes:
        location: path of that page.
    """

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location
