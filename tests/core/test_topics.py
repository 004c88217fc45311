"""Topics: what they take apart to, and filters after MQTT 5 section 4.7."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.errors import Code, InvalidFrame
from minervas_core.identifiers import Principal
from minervas_core.topics import (
    MAX_TOPIC_LENGTH,
    InboxTopic,
    MeshTopic,
    inbox,
    inbox_filter,
    matches,
    mesh,
    parse_topic,
)

members = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True).filter(lambda one: one != "consortium")
principals = st.builds(Principal, members, st.sampled_from(["peer", "miner", "ledger", "meter-gateway", "peer-2"]))
kinds = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
details = st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True), max_size=3)
level = st.text("ab$", max_size=2)


@given(principals, kinds, details)
def test_an_outbox_topic_takes_apart_to_what_it_was_made_of(owner: Principal, kind: str, rest: list[str]) -> None:
    assert parse_topic(mesh(owner, kind, *rest)) == MeshTopic(owner, kind, tuple(rest))


@given(principals, principals, kinds)
def test_an_inbox_topic_takes_apart_to_what_it_was_made_of(to: Principal, by: Principal, kind: str) -> None:
    topic = parse_topic(inbox(to, by, kind))
    assert topic == InboxTopic(to, by, kind)
    assert isinstance(topic, InboxTopic)
    assert topic.reply() == InboxTopic(by, to, "reply")
    assert matches(inbox_filter(to), str(topic))
    assert matches(inbox_filter(by), str(topic.reply()))


@given(st.text(max_size=60))
def test_any_text_is_a_topic_or_refused(text: str) -> None:
    with pytest.raises(InvalidFrame) as refused:
        parse_topic(text)
    assert refused.value.code is Code.BAD_TOPIC


@given(st.lists(st.sampled_from(["mesh", "inbox", "v1", "a", "peer", "ledger", "hello", "+", "#", "", "A", "x.y"])))
def test_a_topic_that_is_accepted_is_spelled_as_it_was(levels: list[str]) -> None:
    text = "/".join(levels)
    try:
        topic = parse_topic(text)
    except InvalidFrame:
        return
    assert str(topic) == text


def test_the_longest_topic_of_the_grammar_is_short_enough() -> None:
    longest = Principal("m" * 32, "meter-gateway-999")
    assert len(inbox(longest, longest, "k" * 32)) < MAX_TOPIC_LENGTH


def test_an_overlong_topic_is_refused() -> None:
    with pytest.raises(InvalidFrame) as refused:
        parse_topic(mesh(Principal("a", "meter-gateway"), "reading", *["m" * 64] * 4))
    assert refused.value.code is Code.BAD_TOPIC
    assert len(str(refused.value.values["topic"])) <= MAX_TOPIC_LENGTH


@given(st.lists(level, min_size=1, max_size=4), st.data())
def test_a_filter_matches_as_its_regular_expression(topic_levels: list[str], data: st.DataObject) -> None:
    """A second way to say what + and # mean."""
    filter_levels = data.draw(st.lists(level | st.just("+"), max_size=4))
    filter_levels += data.draw(st.sampled_from([[], ["#"]])) or ([] if filter_levels else ["+"])
    topic, pattern = "/".join(topic_levels), "/".join(filter_levels)
    expression = "/".join("[^/]*" if one == "+" else re.escape(one) for one in filter_levels)
    if filter_levels[-1] == "#":
        above = "/".join("[^/]*" if one == "+" else re.escape(one) for one in filter_levels[:-1])
        expression = f"{above}(/.*)?" if filter_levels[:-1] else ".*"
    wanted = re.fullmatch(expression, topic) is not None
    if topic.startswith("$") and filter_levels[0] in ("+", "#"):
        wanted = False
    assert matches(pattern, topic) == wanted


def test_a_topic_with_a_wildcard_is_matched_by_nothing() -> None:
    """Otherwise a client could publish to, or ask rights for, many topics at once."""
    for topic in ("mesh/v1/+/peer/tx", "mesh/v1/a/peer/#", "#"):
        assert not matches("#", topic)
        assert not matches("mesh/v1/+/+/tx", topic)
        assert not matches(topic, topic)
