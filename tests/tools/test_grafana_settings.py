"""infra/grafana/grafana.ini keeps each rule of its hardening (infra/grafana/README.md, ADR 0040)."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "infra" / "grafana"

RULES = {
    "served over HTTPS only": ("server", "protocol", "https"),
    "with no TLS older than 1.2": ("server", "min_tls_version", "TLS1.2"),
    "under its own name only": ("server", "enforce_domain", "true"),
    "on a database of its own": ("database", "name", "grafana"),
    "under a role of its own": ("database", "user", "grafana"),
    "which proves who it is": ("database", "ssl_mode", "verify-full"),
    "nobody signs up": ("users", "allow_sign_up", "false"),
    "nobody makes organisations": ("users", "allow_org_create", "false"),
    "a new account is no admin": ("users", "auto_assign_org_role", "Viewer"),
    "and lands in an organisation that exists": ("users", "auto_assign_org", "true"),
    "the empty one": ("users", "auto_assign_org_id", "1"),
    "viewers edit nothing": ("users", "viewers_can_edit", "false"),
    "editors grant nothing": ("users", "editors_can_admin", "false"),
    "people read Korean": ("users", "default_language", "ko-KR"),
    "on Korean time": ("date_formats", "default_timezone", "Asia/Seoul"),
    "every second": ("dashboards", "min_refresh_interval", "1s"),
    "they log in with a password": ("auth", "disable_login_form", "false"),
    "admission too": ("auth.basic", "enabled", "true"),
    "not without one": ("auth.anonymous", "enabled", "false"),
    "not by a header": ("auth.proxy", "enabled", "false"),
    "not by a token of somebody's": ("auth.jwt", "enabled", "false"),
    "nobody guesses for long": ("security", "disable_brute_force_login_protection", "false"),
    "cookies travel encrypted": ("security", "cookie_secure", "true"),
    "from our own pages": ("security", "cookie_samesite", "strict"),
    "requests too": ("security", "csrf_always_check", "true"),
    "from no other site": ("security", "csrf_trusted_origins", ""),
    "in no other page": ("security", "allow_embedding", "false"),
    "browsers remember HTTPS": ("security", "strict_transport_security", "true"),
    "and run what is ours": ("security", "content_security_policy", "true"),
    "no picture services are told addresses": ("security", "disable_gravatar", "true"),
    "no free queries are offered": ("explore", "enabled", "false"),
    "no copies of dashboards": ("snapshots", "enabled", "false"),
    "least of all elsewhere": ("snapshots", "external_enabled", "false"),
    "none for everybody": ("public_dashboards", "enabled", "false"),
    "no streams that viewers may write to": ("live", "max_connections", "0"),
    "no plugins from the catalogue": ("plugins", "plugin_admin_enabled", "false"),
    "nor by themselves": ("plugins", "preinstall_disabled", "true"),
    "nothing is reported": ("analytics", "reporting_enabled", "false"),
    "nor looked up": ("analytics", "check_for_updates", "false"),
    "for plugins either": ("analytics", "check_for_plugin_updates", "false"),
    "no news from outside": ("news", "news_feed_enabled", "false"),
    "data sources are not told who asks": ("dataproxy", "send_user_header", "false"),
    "metrics are not open": ("metrics", "enabled", "false"),
}

SECRETS = {("security", "admin_password"), ("security", "secret_key"), ("database", "password")}
_SECRET_NAME = re.compile(r"password|secret|token$|private")
_PUBLIC = {"token_rotation_interval_minutes", "cert_key"}


@pytest.fixture(scope="module")
def settings() -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=True, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep capitals
    parser.read_string("[DEFAULT]\n" + (FOLDER / "grafana.ini").read_text())
    return parser


@pytest.mark.parametrize("rule", RULES)
def test_hardening_rule_is_kept(settings: ConfigParser, rule: str) -> None:
    section, key, value = RULES[rule]
    assert settings[section][key] == value


def test_every_secret_is_a_file_and_nothing_else_looks_like_one(settings: ConfigParser) -> None:
    found = {
        (section, key)
        for section in settings.sections()
        for key in settings[section]
        if _SECRET_NAME.search(key) and key not in _PUBLIC
    }
    assert found == SECRETS
    for section, key in SECRETS:
        assert re.fullmatch(r"\$__file\{/run/secrets/grafana/[a-z-]+\}", settings[section][key])


def test_key_and_certificate_are_files(settings: ConfigParser) -> None:
    assert settings["server"]["cert_key"].startswith("/run/certificates/")
    assert settings["server"]["cert_file"].startswith("/run/certificates/")


def test_pages_load_nothing_from_other_hosts(settings: ConfigParser) -> None:
    policy = settings["security"]["content_security_policy_template"].strip('"')
    rules = dict(rule.split(" ", 1) for rule in policy.strip(";").split(";"))
    allowed = {"'self'", "'none'", "'unsafe-eval'", "'unsafe-inline'", "'strict-dynamic'", "$NONCE", "data:", "blob:"}
    allowed.add("wss://$ROOT_PATH")
    assert {source for rule in rules.values() for source in rule.split()} <= allowed
    assert rules["frame-ancestors"] == "'none'"
    assert rules["object-src"] == "'none'"


def test_one_member_cannot_take_every_connection_or_all_memory(settings: ConfigParser) -> None:
    assert int(settings["sql_datasources"]["max_open_conns_default"]) <= 4
    assert int(settings["dataproxy"]["row_limit"]) <= 100_000


def test_image_is_the_official_one_of_one_version() -> None:
    readme = (FOLDER / "README.md").read_text()
    tags = set(re.findall(r"grafana/grafana:([0-9][^\s`@]*)", readme))
    assert len(tags) == 1
    assert re.fullmatch(r"13\.\d+\.\d+", tags.pop())
    assert "@sha256:" in readme


def test_readme_names_every_setting_from_outside(settings: ConfigParser) -> None:
    text = (FOLDER / "grafana.ini").read_text()
    readme = (FOLDER / "README.md").read_text()
    for name in re.findall(r"\$__env\{(\w+)\}", text):
        assert f"`{name}`" in readme
    for path in re.findall(r"\$__file\{(/[^}]+)\}", text):
        assert path in readme
