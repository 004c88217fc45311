"""Settings: strict, and every fault says which file, which key, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from minervas_core.errors import Code
from minervas_runtime.settings import NodeSettings, SettingsError, load_settings

GOOD = """
member = "mokpo-univ"
[paths]
data = "peer"
enrol = "enrol"
issued = "/abs/issued"
secrets = "secrets"
"""


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 8080
    verbose: bool = False
    names: list[str] = []


class PeerSettings(NodeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    api: ApiSettings = ApiSettings()
    seed: int = 0


def load(tmp_path: Path, text: str, **environment: str) -> PeerSettings:
    file = tmp_path / "peer.toml"
    file.write_text(text)
    return load_settings(file, PeerSettings, environment=environment)


def refusal(tmp_path: Path, text: str, **environment: str) -> SettingsError:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text, **environment)
    assert refused.value.code == Code.BAD_SETTINGS
    return refused.value


def test_paths_are_relative_to_the_settings_file_and_defaults_apply(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD)
    assert settings.member == "mokpo-univ"
    assert settings.paths.data == tmp_path / "peer"
    assert settings.paths.issued == Path("/abs/issued")
    assert (settings.health.port, settings.log.level, settings.broker) == (0, "info", None)


def test_the_environment_replaces_a_key_with_the_type_of_its_field(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        GOOD + '[broker]\nhost = "a"\n',
        MINERVAS_BROKER__PORT="9999",
        MINERVAS_BROKER__HOST="2024",
        MINERVAS_API__VERBOSE="true",
        MINERVAS_PATHS__DATA="other",
        MINERVAS_BROKER_LIVE="not a setting: one underscore",
        PATH="/bin",
    )
    assert settings.broker is not None
    assert (settings.broker.host, settings.broker.port) == ("2024", 9999)
    assert settings.api.verbose is True
    assert settings.paths.data == tmp_path / "other"


def test_the_environment_can_make_a_section_that_the_file_lacks(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, MINERVAS_BROKER__HOST="broker.example")
    assert settings.broker is not None
    assert (settings.broker.host, settings.broker.port) == ("broker.example", 8883)


def test_the_environment_gives_words_above_the_sections_and_lists(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, MINERVAS_MEMBER="haenam-farm", MINERVAS_API__NAMES="peer, localhost")
    assert settings.member == "haenam-farm"
    assert settings.api.names == ["peer", "localhost"]


def test_a_setting_above_the_sections_that_is_no_word_stays_out_of_the_environment(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, MINERVAS_SEED="7", MINERVAS_API="http://127.0.0.1:1", MINERVAS_KEEP="1")
    assert (settings.seed, settings.api) == (0, ApiSettings())


def test_an_empty_variable_counts_as_none(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, MINERVAS_BROKER__HOST="", MINERVAS_API__PORT="", MINERVAS_MEMBER="")
    assert (settings.broker, settings.api.port, settings.member) == (None, 8080, "mokpo-univ")


@pytest.mark.parametrize(
    ("text", "key", "problem", "advice"),
    [
        pytest.param(GOOD + "[api]\nprot = 1\n", "api.prot", "no such setting", "did you mean port?", id="unknown key"),
        pytest.param(GOOD + "[apy]\n", "apy", "no such setting", "did you mean api?", id="unknown section"),
        pytest.param("extra = 1\n" + GOOD, "extra", "no such setting", "known are:", id="unknown top-level key"),
        pytest.param(GOOD + "[broker]\n", "broker.host", "missing", "add it", id="missing key"),
        pytest.param(GOOD + '[api]\nport = "80"\n', "api.port", "Expected `int`, got `str`", "correct it", id="type"),
        pytest.param(GOOD + "[health]\nport = 70000\n", "health.port", "<= 65535", "correct it", id="range"),
        pytest.param(GOOD + '[log]\nlevel = "loud"\n', "log.level", "enum value 'loud'", "correct it", id="choice"),
        pytest.param(GOOD.replace('"peer"', "7"), "paths.data", "Expected a path", "correct it", id="path"),
    ],
)
def test_a_wrong_key_is_named_with_what_was_expected_and_what_to_do(
    tmp_path: Path, text: str, key: str, problem: str, advice: str
) -> None:
    refused = refusal(tmp_path, text)
    assert (refused.file, refused.key) == (str(tmp_path / "peer.toml"), key)
    assert problem in str(refused)
    assert advice in str(refused)
    assert "\n" not in str(refused)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        pytest.param("MINERVAS_API__PROT", "1", "did you mean port?", id="unknown key"),
        pytest.param("MINERVAS_APY__PORT", "1", "did you mean api?", id="unknown section"),
        pytest.param("MINERVAS_API__PORT", "many", "api.port", id="wrong type"),
        pytest.param("MINERVAS_DATABASE__PASSWORD", "x", "no setting database.password", id="secrets have no place"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str, said: str) -> None:
    refused = refusal(tmp_path, GOOD, **{variable: value})
    assert refused.file == variable
    assert said in str(refused)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file; make it or name another with --config"):
        load_settings(tmp_path / "nowhere.toml", PeerSettings)


def test_broken_toml_is_named_with_its_line(tmp_path: Path) -> None:
    assert "line 2" in str(refusal(tmp_path, 'member = "a"\nmember = \n'))


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path, PeerSettings)
