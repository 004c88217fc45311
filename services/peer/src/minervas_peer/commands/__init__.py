"""Commands of `minervas`, one per file: each asks the peer's API and shows the answer."""
