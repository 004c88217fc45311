"""Names of members and processes; the cases themselves are in spec/vectors/topics.json."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.errors import Code, PeerFault
from minervas_core.identifiers import PRINTABLE, Principal, check_member_id, parse_principal

GRAMMAR = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"
member_ids = st.from_regex(GRAMMAR, fullmatch=True).filter(lambda name: name != "consortium")


@given(member_ids)
def test_an_id_of_the_grammar_is_accepted(member: str) -> None:
    assert check_member_id(member) == member
    assert parse_principal(f"{member}.peer") == Principal(member, "peer")


@given(st.text(max_size=40))
def test_any_text_is_a_member_id_or_refused(member: str) -> None:
    wanted = re.fullmatch(GRAMMAR, member) is not None and member != "consortium"
    if wanted:
        assert check_member_id(member) == member
        return
    with pytest.raises(PeerFault) as refused:
        check_member_id(member)
    assert refused.value.code is Code.BAD_MEMBER_ID


@given(member_ids, st.sampled_from(["peer", "miner", "ledger", "meter-gateway"]), st.integers(1, 999))
def test_a_principal_is_its_common_name(member: str, service: str, number: int) -> None:
    principal = parse_principal(f"{member}.{service}-{number}")
    assert str(principal) == f"{member}.{service}-{number}"
    assert principal.role == service


@pytest.mark.parametrize("name", ["a.admission", "a.broker", "consortium.peer", "consortium.ledger"])
def test_services_of_members_and_of_the_consortium_do_not_mix(name: str) -> None:
    with pytest.raises(PeerFault):
        parse_principal(name)


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\x7f", "\x85", "\u202e", "\u2066", "\u2028"], ids=ascii)
def test_text_for_people_has_no_control_characters(text: str) -> None:
    assert re.search(PRINTABLE, text) is None


def test_text_for_people_may_be_korean() -> None:
    assert re.search(PRINTABLE, "목포대학교 태양광 (주) - 1") is not None
