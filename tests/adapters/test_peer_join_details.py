"""Details for the operator from a file and from options: exact numbers, and every mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from minervas_core.applicant import About, Panel, Site
from minervas_core.errors import Code, LocalFault
from minervas_peer.join.details import read_details, scaled

FILE = """
name = "Mokpo National University"
contact = "061"
registration = "123-45-67890"

[[sites]]
name = "library"
latitude = 34.912300
longitude = -126.4372
address = "roof"

[[panels]]
site = "library"
rated_w = 120
tilt = 30.5
azimuth = 180
meter = "balcony"
channel = "ch2"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "about.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_a_file_says_everything_exactly(file: Path) -> None:
    details = read_details(file, [], [])
    assert (details.name, details.contact) == ("Mokpo National University", "061")
    assert details.about == About(
        registration="123-45-67890",
        sites=[Site(name="library", latitude_e6=34_912_300, longitude_e6=-126_437_200, address="roof")],
        panels=[
            Panel(site="library", rated_w=120, tilt_tenths=305, azimuth_tenths=1_800, meter="balcony", channel="ch2")
        ],
    )


def test_options_say_the_same_and_add_to_a_file(file: Path) -> None:
    said = read_details(None, ["library,34.912300,-126.4372,roof"], ["library,120,30.5,180,balcony/ch2"]).about
    from_file = read_details(file, [], []).about
    assert isinstance(said, About)
    assert isinstance(from_file, About)
    assert (said.sites, said.panels) == (from_file.sites, from_file.panels)
    both = read_details(file, ["barn,0,0"], ["barn,1,0,0"]).about
    assert isinstance(both, About)
    assert isinstance(both.sites, list)
    assert [site.name for site in both.sites] == ["library", "barn"]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("34.912300", "34.9123001", "at most 6 decimals"),
        ("34.912300", "90.1", "<= 90000000"),
        ("34.912300", "true", "latitude"),
        ("34.912300", '"north"', "latitude"),
        ("34.912300", "nan", "latitude"),
        ("tilt = 30.5", "tilt = 30.55", "at most 1 decimals"),
        ("azimuth = 180", "azimuth = 360", "<= 3599"),
        ("rated_w = 120", "rated_w = 120.5", "rated_w"),
        ('site = "library"', 'site = "barn"', "not described"),
        ('channel = "ch2"', "", "both a meter and its channel"),
        ("registration", "registraton", "there is no 'registraton'"),
        ("longitude", "lon", "there is no 'lon'"),
        ("[[sites]]", "[sites]", "[[sites]]"),
        ('name = "library"', 'name = "Bibliothek"', "regex"),
        ("[[panels]]", "[[panels", "not TOML"),
    ],
)
def test_every_mistake_in_a_file_is_named(file: Path, old: str, new: str, text: str) -> None:
    file.write_text(FILE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(LocalFault) as refused:
        read_details(file, [], [])
    assert refused.value.code is Code.BAD_SETTINGS
    assert text in str(refused.value)
    assert refused.value.values["file"] == str(file)


@pytest.mark.parametrize(
    ("sites", "panels"),
    [
        (["barn"], []),
        (["barn,1"], []),
        (["barn,x,1"], []),
        (["b,0,0"], ["b,1,0"]),
        (["b,0,0"], ["b,x,0,0"]),
        (["b,0,0"], ["b,1,0,0,m"]),
    ],
)
def test_every_mistake_in_options_is_named(sites: list[str], panels: list[str]) -> None:
    with pytest.raises(LocalFault) as refused:
        read_details(None, sites, panels)
    assert refused.value.code is Code.BAD_SETTINGS


def test_nothing_said_is_nothing() -> None:
    details = read_details(None, [], [])
    assert (details.name, details.contact) == ("", "")
    assert not isinstance(details.about, About)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="can not be read"):
        read_details(tmp_path / "nothing.toml", [], [])


@pytest.mark.parametrize("value", ["1e400", "inf", "-inf", "9" * 20, "", None, [1]])
def test_what_is_no_number_of_degrees_is_refused(value: object) -> None:
    with pytest.raises(LocalFault):
        scaled(value, 10, "tilt")
