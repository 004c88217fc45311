"""What every image and every service of docker-compose.yml must keep to; the compose test looks at running ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted(file for folder in ("services", "infra", "devnet") for file in (ROOT / folder).rglob("Dockerfile"))
WITH_PYTHON = [file for file in DOCKERFILES if "FROM ${PYTHON_IMAGE}" in file.read_text("utf-8")]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLES = (".env.example", ".env.member.example")
PINNED = re.compile(r"[a-z0-9./-]+:[0-9]+(\.[0-9]+)*(-[a-z0-9.]+)*")
SECRET = re.compile(r"PASSWORD|PASSPHRASE|SECRET|PRIVATE|TOKEN", re.IGNORECASE)
OPERATOR_ONLY = {"broker", "admission", "grafana"}
TOOLS = ROOT / "infra" / "tools" / "Dockerfile"
"""Backup and restore: runs only when called, as root with the few capabilities that other users' files need."""
TOOLS_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]

dockerfiles = pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: str(file.parent.relative_to(ROOT)))
services = pytest.mark.parametrize("service", SERVICES)


def instructions(file: Path) -> Iterator[tuple[str, str]]:
    """Instructions of a Dockerfile with what follows them, continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", file.read_text("utf-8"))
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def last(file: Path, word: str) -> str:
    return [rest for found, rest in instructions(file) if found == word][-1]


def test_there_is_an_image_for_every_service_that_runs_on_its_own() -> None:
    folders = {str(file.parent.relative_to(ROOT)) for file in DOCKERFILES}
    assert folders >= {f"services/{name}" for name in ("peer", "ledger", "miner", "meter-gateway", "admission")}
    assert folders >= {"infra/mosquitto", "infra/postgres"}


@dockerfiles
def test_base_images_are_pinned_to_a_version(file: Path) -> None:
    defaults = dict(rest.split("=", 1) for word, rest in instructions(file) if word == "ARG" and "=" in rest)
    for word, rest in instructions(file):
        if word == "FROM":
            name = rest.split()[0]
            image = defaults[name.strip("${}")] if name.startswith("$") else name
            assert PINNED.fullmatch(image), image


@dockerfiles
def test_the_last_user_is_a_number_and_not_root(file: Path) -> None:
    assert last(file, "USER") == "0:0" if file == TOOLS else re.fullmatch(r"[1-9]\d*:[1-9]\d*", last(file, "USER"))


@dockerfiles
def test_an_image_has_a_health_check_labels_and_a_stop_signal(file: Path) -> None:
    assert file == TOOLS or "CMD [" in last(file, "HEALTHCHECK")
    labels = last(file, "LABEL")
    for label in ("title", "description", "version", "licenses"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert last(file, "STOPSIGNAL") in {"SIGTERM", "SIGINT"}


@dockerfiles
def test_no_secret_is_in_an_image(file: Path) -> None:
    for word, rest in instructions(file):
        if word in {"ENV", "ARG"}:
            names = re.findall(r"([A-Z0-9_]+)=(\S*)", rest)
            assert [name for name, value in names if SECRET.search(name) and not value.startswith("/")] == []
        assert word != "ADD"  # COPY says what it does


@dockerfiles
def test_packages_are_installed_by_hash_and_as_wheels(file: Path) -> None:
    text = " ".join(rest for word, rest in instructions(file) if word == "RUN")
    installs = re.findall(r"pip\S* (?:--python \S+ )?install [^&]*", text)
    assert all("--require-hashes" in each or "--no-index" in each for each in installs), installs
    if installs:
        assert "PIP_ONLY_BINARY=:all:" in last_env_of_build(file)
    assert ("postgresql-client-17" in text) if file == TOOLS else ("apt-get" not in text)


@pytest.mark.parametrize("file", WITH_PYTHON, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_what_an_image_runs_is_compiled_when_it_is_built(file: Path) -> None:
    text = file.read_text("utf-8")
    assert "RUN python -m compileall" in text.rpartition("\nFROM ")[2]  # the standard library
    assert "--no-compile" not in text  # pip compiles what it installs


def last_env_of_build(file: Path) -> str:
    return " ".join(rest for word, rest in instructions(file) if word == "ENV")


@services
def test_a_container_is_confined(service: str) -> None:
    found = SERVICES[service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found.get("cap_add", []) == (TOOLS_CAPABILITIES if service == "tools" else [])
    assert "privileged" not in found
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["mem_limit"]
    assert found["pids_limit"]
    assert found["stop_grace_period"] == "10s"
    assert found["logging"]["options"]["max-size"]
    assert found["init"] is True


@services
def test_images_are_pinned_and_no_secret_is_in_an_environment(service: str) -> None:
    found = SERVICES[service]
    assert re.fullmatch(r".*:(\$\{MINERVAS_VERSION:-[0-9.]+\}|v?[0-9]+\.[0-9]+.*)", found["image"])
    for name, value in found.get("environment", {}).items():
        assert not SECRET.search(name) or str(value).startswith("/"), name


@services
def test_only_the_peers_console_admission_broker_and_grafana_are_published(service: str) -> None:
    ports = SERVICES[service].get("ports", [])
    assert bool(ports) == (service in {"peer", "prometheus", *OPERATOR_ONLY} and service in SERVICES)
    if service == "peer":
        assert ports[0].startswith("${CONSOLE_BIND:-127.0.0.1}:")
    if service == "prometheus":
        assert ports[0].startswith("${PROMETHEUS_BIND:-127.0.0.1}:")


def test_the_tools_see_every_volume_with_secrets_and_no_network_and_run_only_when_called() -> None:
    found = SERVICES["tools"]
    assert (found["network_mode"], found["profiles"]) == ("none", ["tools"])
    mounted = {volume.partition(":")[0] for volume in found["volumes"]}
    made_anew = {"database-data", "database-secret", "database-logins", "broker-data", "prometheus-data"}
    assert set(COMPOSE["volumes"]) - mounted == made_anew


def test_databases_are_on_a_network_without_a_way_out() -> None:
    assert SERVICES["database"]["networks"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}


def test_services_of_a_node_have_no_profile_and_those_of_the_consortium_are_the_operators() -> None:
    for service in ("peer", "ledger", "miner", "meter-gateway", "join", "database", "database-setup"):
        assert "profiles" not in SERVICES[service]
    for service in OPERATOR_ONLY & set(SERVICES):
        assert SERVICES[service]["profiles"] == ["operator"]


def test_a_service_without_profile_does_not_insist_on_one_with() -> None:
    for name, found in SERVICES.items():
        for needed, how in found.get("depends_on", {}).items():
            if "profiles" in SERVICES[needed] and SERVICES[needed].get("profiles") != found.get("profiles"):
                assert how["required"] is False, (name, needed)


def test_every_variable_of_the_examples_is_used_by_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) | {"COMPOSE_PROFILES"}
    for example in EXAMPLES:
        lines = (ROOT / example).read_text("utf-8").splitlines()
        names = {match[1] for line in lines if (match := re.match(r"(?:# )?([A-Z_]+)=", line))}
        assert names <= used, (example, names - used)


def test_a_member_has_three_values_to_fill_in() -> None:
    head = (ROOT / ".env.member.example").read_text("utf-8").split("\n\n")[0]
    assert re.findall(r"(?m)^([A-Z_]+)=", head) == ["ADMISSION_URL", "CA_FINGERPRINT", "MEMBER"]
