"""The vectors of finality checked by a second verifier that shares no code with the protocol: from spec/finality.md.

It counts a whole chain anew for every step and keeps every checkpoint and vote for ever. Work, transactions' signatures
and difficulty are left to the other tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.test_vectors_independent import canonical, is_signature, root, sha256, signed

FILE = json.loads((Path(__file__).parents[2] / "spec" / "vectors" / "finality.json").read_text("ascii"))
GENESIS: dict[str, Any] = json.loads(bytes.fromhex(FILE["genesis_hex"]))["body"]
GENESIS_HASH = sha256(signed("genesis", GENESIS["network"], canonical(GENESIS)))
INTERVAL: int = GENESIS["parameters"]["vote_interval"]
Row = dict[str, Any]


class Refused(Exception):
    """With the code."""


def refuse_if(broken: bool, code: str) -> None:
    if broken:
        raise Refused(code)


def hash_of(header: Row) -> str:
    rest = dict(header)
    nonce = bytes.fromhex(rest.pop("nonce"))
    return sha256(bytes.fromhex(sha256(canonical(rest))) + nonce)


class Chain:
    """A chain of blocks, counted from genesis."""

    def __init__(self) -> None:
        self.hashes = [GENESIS_HASH]
        self.keys: dict[str, str] = {}
        """Vote keys of the active members."""
        self.members: dict[int, set[str]] = {0: set()}
        """Who has the vote in a checkpoint's state."""
        self.sets: dict[int, list[set[str]]] = {}
        """Current voters of a checkpoint, and previous ones if there are any."""
        self.vote_keys: dict[int, dict[str, str]] = {}
        self.votes: dict[int, dict[str, int]] = {}
        """Source by voter, by target."""
        self.justified = {0}
        self.final = [0]

    def apply(self, block: Row) -> None:
        header = block["header"]
        assert header["prev"] == self.hashes[-1]
        refuse_if(root([canonical(each) for each in block["votes"]]) != header["votes_root"], "block_votes_root")
        order = [(each["body"]["target"]["height"], each["body"]["voter"]) for each in block["votes"]]
        refuse_if(order != sorted(set(order)), "block_vote_order")
        for height in sorted({height for height, _ in order}):
            self.count(height, [each for each in block["votes"] if each["body"]["target"]["height"] == height])
        for transaction in block["transactions"]:
            change = transaction["body"]["change"]
            if change["action"] == "admit":
                self.keys[change["member"]] = change["keys"]["vote"]
            else:
                del self.keys[change["member"]]
        self.hashes.append(hash_of(header))
        if header["height"] % INTERVAL == 0:
            self.remember_checkpoint(header["height"])

    def remember_checkpoint(self, height: int) -> None:
        now = set(self.keys)
        self.members[height] = now
        last, before = self.final[-1], self.final[-2] if len(self.final) > 1 else 0
        self.sets[height] = [self.members[last] & now or now]
        if before:
            self.sets[height].append(self.members[before] & now)
        voters = set.union(*self.sets[height])
        self.vote_keys[height] = {member: self.keys[member] for member in voters}

    def count(self, height: int, votes: list[Row]) -> None:
        for vote in votes:
            self.check(vote)
            self.votes.setdefault(height, {})[vote["body"]["voter"]] = vote["body"]["source"]["height"]
        for source in sorted({vote["body"]["source"]["height"] for vote in votes}):
            voted = {voter for voter, its_source in self.votes[height].items() if its_source == source}
            founded = self.final[-1] > 0 or len(self.sets[height][0]) >= GENESIS["parameters"]["founding_voters"]
            if founded and all(3 * len(voted & voters) > 2 * len(voters) for voters in self.sets[height]):
                self.justified.add(height)
                if height == source + INTERVAL and source > self.final[-1]:
                    self.final.append(source)

    def check(self, vote: Row) -> None:
        body = vote["body"]
        source, target = body["source"], body["target"]
        refuse_if(not self.has(target) or target["height"] <= self.final[-1], "vote_target")
        is_source = self.has(source) and source["height"] in self.justified and source["height"] >= self.final[-1]
        refuse_if(not is_source, "vote_source")
        refuse_if(body["voter"] in self.votes.get(target["height"], {}), "vote_twice")
        key = self.vote_keys[target["height"]].get(body["voter"])
        refuse_if(key is None, "vote_not_voter")
        refuse_if(body["network"] != GENESIS["network"], "wrong_network")
        message = signed("vote", body["network"], canonical(body))
        refuse_if(not is_signature(str(key), message, vote["signature"]), "bad_signature")

    def has(self, checkpoint: Row) -> bool:
        """Whether it is a checkpoint of this chain."""
        height = int(checkpoint["height"])
        return height % INTERVAL == 0 and height < len(self.hashes) and self.hashes[height] == str(checkpoint["hash"])

    def landmark(self, height: int) -> Row:
        return {"height": height, "hash": self.hashes[height]}


class Node:
    """Blocks by hash, and the fork choice, by counting every branch from genesis."""

    def __init__(self) -> None:
        self.blocks: dict[str, Row] = {}
        self.tip = GENESIS_HASH
        self.justified, self.final = (0, GENESIS_HASH), (0, GENESIS_HASH)

    def path(self, block_hash: str) -> list[str]:
        path: list[str] = []
        while block_hash != GENESIS_HASH:
            path.insert(0, block_hash)
            block_hash = self.blocks[block_hash]["header"]["prev"]
        return path

    def chain(self, block_hash: str) -> Chain:
        chain = Chain()
        for each in self.path(block_hash):
            chain.apply(self.blocks[each])
        return chain

    def work(self, block_hash: str) -> int:
        return sum(int(self.blocks[each]["header"]["difficulty"]) for each in self.path(block_hash))

    def receive(self, block: Row) -> tuple[str, str | None]:
        """Take a block in; returns its status and the code of a refusal."""
        block_hash, prev = hash_of(block["header"]), block["header"]["prev"]
        if self.final[1] not in [GENESIS_HASH, *self.path(prev)]:
            return "refused", "block_before_final"
        chain = self.chain(prev)
        try:
            chain.apply(block)
        except Refused as refusal:
            return "refused", str(refusal)
        self.blocks[block_hash] = block
        self.justified = max(self.justified, self.reached(chain, max(chain.justified)))
        leading = [each for each in self.blocks if self.justified[1] in [GENESIS_HASH, *self.path(each)]]
        if self.tip not in leading:
            self.tip = leading[0]
        self.tip = max([self.tip, *leading], key=self.work)
        best = self.chain(self.tip)
        self.final = max(self.final, self.reached(best, best.final[-1]))
        return ("connected" if block_hash in self.path(self.tip) else "side_branch"), None

    @staticmethod
    def reached(chain: Chain, height: int) -> tuple[int, str]:
        return height, chain.hashes[height]


@pytest.mark.parametrize("case", FILE["accepted"], ids=lambda case: case["name"])
def test_votes_are_canonical_and_signed(case: Row) -> None:
    vote = case["value"]
    assert canonical(vote).hex() == case["canonical_hex"]
    message = signed("vote", vote["body"]["network"], canonical(vote["body"]))
    assert message.hex() == case["signed_bytes_hex"]
    assert is_signature(case["vote_key"], message, vote["signature"])
    assert vote["body"]["source"]["height"] < vote["body"]["target"]["height"]


@pytest.mark.parametrize("case", FILE["histories"], ids=lambda case: case["name"])
def test_second_verifier_justifies_finalises_and_refuses_the_same(case: Row) -> None:
    node = Node()
    for step in case["steps"]:
        block = json.loads(bytes.fromhex(FILE["blocks"][step["block"]]))
        assert node.receive(block) == (step["status"], step["code"])
        assert (node.tip, len(node.path(node.tip))) == (step["tip"], step["height"])
        chain = node.chain(node.tip)
        assert chain.landmark(max(chain.justified)) == step["justified"]
        assert chain.landmark(chain.final[-1]) == step["final"]


def test_histories_show_every_refusal_of_a_vote() -> None:
    codes = {step["code"] for case in FILE["histories"] for step in case["steps"]} - {None}
    assert codes == {
        "block_before_final",
        "block_vote_order",
        "block_votes_root",
        "vote_target",
        "vote_source",
        "vote_twice",
        "vote_not_voter",
        "wrong_network",
        "bad_signature",
    }
