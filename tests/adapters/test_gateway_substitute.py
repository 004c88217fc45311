"""A register read by hand: what it may be, and that it goes the way of every reading, marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, LocalFault
from minervas_core.metering import Reading
from minervas_meter_gateway.__main__ import main
from minervas_meter_gateway.channel_state import ChannelState, Point, advance, close, continued_from
from minervas_meter_gateway.settings import GatewaySettings
from minervas_meter_gateway.spool import Spool, open_spool
from minervas_meter_gateway.substitute import Substitution, substitute
from minervas_runtime.clock import ManualClock
from tests.support.gateway import NETWORK, NOW_MS, PV1, load, make_genesis, reading, write_settings

HOUR_MS = 3_600_000
LAST_WH = 1_000
READ = Substitution(PV1.id, PV1.input, LAST_WH + 50, "timeout")
"""An hour of a panel of 120 W reaches 132 Wh and two steps of the register."""


class Roof:
    """A gateway that is switched off; it measured its only channel until an hour ago."""

    def __init__(self, directory: Path) -> None:
        self.file = write_settings(directory, {"roof": "/dev/none"}, [PV1])
        self.settings: GatewaySettings
        self.settings, self.ports = load(self.file)
        self.settings.paths.issued.mkdir()
        (self.settings.paths.issued / "genesis.json").write_bytes(make_genesis().raw)
        self.leave(continued_from(ChannelState(), Point(NOW_MS - HOUR_MS - 1_000, LAST_WH)))

    def spool(self) -> Spool:
        return open_spool(self.settings, NETWORK)

    def leave(self, state: ChannelState) -> None:
        """What the gateway has on its disk when it ends, after one more sample."""
        spool = self.spool()
        last = reading(spool.next_sequence, NOW_MS - HOUR_MS, LAST_WH * 1_000, meter=PV1.id, channel=PV1.input)
        after, _ = advance(state, last, usable=True, new_baseline=False, slot_ms=0)
        spool.append([encode(last)], {PV1.key: after}, ())
        spool.close()

    def substitute(self, wanted: Substitution, *, now_ms: int = NOW_MS) -> Reading:
        return substitute(self.settings, self.ports, wanted, ManualClock(now_ms))


@pytest.fixture
def roof(tmp_path: Path) -> Roof:
    return Roof(tmp_path)


def test_what_was_read_by_hand_waits_in_the_spool_and_is_stated_as_substituted(roof: Roof) -> None:
    made = roof.substitute(READ)
    spool = roof.spool()
    [_, stored] = [decode(each, Reading, max_bytes=10_000) for each in spool.read(0, 10, 10)]
    state = spool.states()[PV1.key]
    spool.close()
    assert stored == made
    assert (stored.quality, stored.fault, stored.sequence) == ("substituted", "timeout", 1)
    assert (stored.energy_mwh, stored.request, stored.reply) == (READ.energy_wh * 1_000, "", "")
    _, [draft] = close(state)
    assert (draft.energy_wh, draft.measured, draft.substituted, draft.missing) == (50, 1, 1, 0)


@pytest.mark.parametrize("energy_wh", [LAST_WH + 135, 10**9])
def test_what_the_register_cannot_show_is_refused(roof: Roof, energy_wh: int) -> None:
    with pytest.raises(LocalFault) as caught:
        roof.substitute(Substitution(PV1.id, PV1.input, energy_wh, "timeout"))
    assert caught.value.code == Code.BAD_SUBSTITUTION
    assert "cannot have got there" in str(caught.value)
    spool = roof.spool()
    assert spool.next_sequence == 1
    spool.close()


def test_below_what_the_chain_has_is_refused(roof: Roof) -> None:
    spool = roof.spool()
    ahead = continued_from(spool.states()[PV1.key], Point(NOW_MS - HOUR_MS, LAST_WH + 60))
    spool.save(states={PV1.key: ahead})
    spool.close()
    with pytest.raises(LocalFault, match="the chain has"):
        roof.substitute(READ)


def test_a_first_value_is_never_substituted(roof: Roof) -> None:
    roof.leave(ChannelState())
    with pytest.raises(LocalFault, match="a first value is never substituted"):
        roof.substitute(READ)


def test_a_clock_that_was_set_back_is_noticed(roof: Roof) -> None:
    with pytest.raises(LocalFault, match="the last sample is not older"):
        roof.substitute(READ, now_ms=NOW_MS - HOUR_MS)


def test_a_channel_that_is_not_in_the_settings_is_named_with_those_that_are(roof: Roof) -> None:
    with pytest.raises(LocalFault, match="pv1 dc"):
        roof.substitute(Substitution(PV1.id, "ac", LAST_WH, "timeout"))


def test_while_the_gateway_runs_or_before_it_is_approved_nothing_is_substituted(roof: Roof) -> None:
    spool = roof.spool()
    with pytest.raises(LocalFault, match="another gateway running"):
        roof.substitute(READ)
    spool.close()
    (roof.settings.paths.issued / "genesis.json").unlink()
    with pytest.raises(LocalFault) as caught:
        roof.substitute(READ)
    assert caught.value.code == Code.BAD_ENROLMENT


def test_the_verb_says_what_it_recorded_or_why_not(
    roof: Roof, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["gateway", "substitute", "--config", str(roof.file), "--meter", "pv1", "--channel", "dc", "--energy-wh"]
    monkeypatch.setattr("minervas_meter_gateway.__main__.SystemClock", lambda: ManualClock(NOW_MS))
    monkeypatch.setattr("sys.argv", [*command, str(LAST_WH), "--because", "port"])
    assert main() == 0
    assert "1000 Wh stands as reading 1, marked as substituted" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", [*command, "999"])
    assert main() == 1
    assert Code.BAD_SUBSTITUTION in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*command, "-1"])
    with pytest.raises(SystemExit):
        main()
