"""The peer renews for all services of its node: one signed request, checked answers, patience, and `minervas renew`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography import x509
from fastapi import FastAPI

from minervas_core.encoding import decode
from minervas_core.renewal import MAX_RENEWAL_BYTES, Renewal, RenewalAnswer
from minervas_peer import cli
from minervas_peer.api.renewal_paths import add_renewal_paths
from minervas_peer.api.server import ApiServer
from minervas_peer.renewal import collector as collector_module
from minervas_peer.settings import ApiSettings
from minervas_runtime import certificate_keeper
from minervas_runtime.renewal_files import RenewalRequest, read_requests, request_file
from tests.support.fake_renewal import MEMBER, SERVICES, RenewingAdmission, RenewingNode, other_authority
from tests.support.wait import wait_until_async

HOUR_MS = 3_600_000


@pytest.fixture
def admission(tmp_path: Path) -> Iterator[RenewingAdmission]:
    standing_in = RenewingAdmission(tmp_path / "admission")
    with standing_in.serve():
        yield standing_in


@pytest.fixture
def node(tmp_path: Path, admission: RenewingAdmission) -> RenewingNode:
    return RenewingNode(tmp_path / "node", admission)


def sent(admission: RenewingAdmission) -> list[Renewal]:
    return [decode(raw, Renewal, max_bytes=MAX_RENEWAL_BYTES) for raw in admission.renewals]


def certified(node: RenewingNode) -> set[str]:
    """Services whose installed certificate is for the key that they ask for."""
    return {
        name
        for name, service in node.services.items()
        if x509.load_pem_x509_certificate(service.file.read_bytes()).public_key() == service.requested()
    }


async def test_all_services_are_renewed_with_one_request_and_take_it_up(
    node: RenewingNode, admission: RenewingAdmission
) -> None:
    node.ask()
    await node.collector._look()
    [renewal] = sent(admission)
    assert [each.service for each in renewal.body.requests] == sorted(SERVICES)
    assert certified(node) == set(SERVICES)
    node.ask()
    assert node.asked() == set()
    assert {each.state for each in node.collector.certificates()} == {"valid"}
    assert node.collector.report().code == ""
    assert json.loads(node.installed()["membership.json"]) == [json.loads(admission.member.admit.raw)]
    await node.collector._look()
    assert len(admission.renewals) == 1, "there is nothing to ask any more"
    assert not (node.paths.data / "renewal.json").exists()


async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_bytes(
    node: RenewingNode, admission: RenewingAdmission
) -> None:
    node.ask()
    admission.drop_answer_to.add("/v1/renewals")
    await node.collector._look()
    assert node.collector.report().code == "peer_unreachable"
    admission.drop_answer_to.clear()
    restarted = node.make_collector()  # as after a crash
    await restarted._look()
    first, second = admission.renewals
    assert first == second
    assert certified(node) == set(SERVICES)


async def test_a_renewal_that_was_made_too_long_ago_is_made_anew(
    node: RenewingNode, admission: RenewingAdmission
) -> None:
    node.ask()
    with_nobody = node.make_collector(url="https://localhost:9")
    await with_nobody._look()
    assert admission.renewals == []
    node.clock.advance(HOUR_MS)
    admission.refuse_old_ms = node.clock.now_ms()
    await node.make_collector()._look()
    assert [each.body.sent_at_ms for each in sent(admission)] == [node.clock.now_ms() - HOUR_MS, node.clock.now_ms()]
    assert certified(node) == set(SERVICES)


async def test_new_requests_make_a_new_renewal(node: RenewingNode, admission: RenewingAdmission) -> None:
    node.ask("peer")
    admission.drop_answer_to.add("/v1/renewals")
    await node.collector._look()
    node.ask("miner")
    admission.drop_answer_to.clear()
    await node.make_collector()._look()
    assert [len(each.body.requests) for each in sent(admission)] == [1, 2]
    assert certified(node) == {"peer", "miner"}


async def test_keys_that_are_used_up_are_replaced_by_the_services(
    node: RenewingNode, admission: RenewingAdmission
) -> None:
    node.ask()
    before = {name: service.requested() for name, service in node.services.items()}
    admission.refusal = (409, "key_reused", "This key is or was in use")
    await node.collector._look()
    assert node.asked() == set()
    admission.refusal = None
    node.ask()
    assert all(service.requested() != before[name] for name, service in node.services.items())
    node.collector.renew_now(force=False)
    await node.collector._look()
    assert certified(node) == set(SERVICES)


async def test_failures_are_retried_with_growing_pauses_and_shorter_ones_once_expired(
    node: RenewingNode, admission: RenewingAdmission
) -> None:
    node.ask()
    admission.refusal = (503, "database_away", "Try again later")
    pauses: list[int] = []
    for _ in range(12):
        await node.collector._look()
        report = node.collector.report()
        pauses.append(report.next_ms - node.clock.now_ms())
        tries = len(admission.renewals)
        await node.collector._look()
        assert len(admission.renewals) == tries, "not before its time"
        node.clock.set(report.next_ms)
    assert pauses[0] <= 15_000 < pauses[2] < pauses[5]
    assert 3 * HOUR_MS // 4 <= pauses[-1] <= HOUR_MS
    node.clock.advance(30 * 24 * HOUR_MS)
    await node.collector._look()
    report = node.collector.report()
    assert report.next_ms - node.clock.now_ms() <= 300_000
    assert report.code == "database_away"


async def test_a_revoked_member_is_told_so_and_seldom_asks_again(
    node: RenewingNode, admission: RenewingAdmission, caplog: pytest.LogCaptureFixture
) -> None:
    node.ask()
    admission.refusal = (422, "member_revoked", "The membership has ended; ask the operator")
    await node.collector._look()
    report = node.collector.report()
    assert (report.code, report.next_ms) == ("member_revoked", node.clock.now_ms() + 6 * HOUR_MS)
    assert "ask the operator" in report.message
    assert "renewal_refused" in caplog.messages
    node.clock.advance(6 * HOUR_MS - 1)
    await node.collector._look()
    assert len(admission.renewals) == 1
    node.keepers["miner"]._show()
    assert "ask the operator" in node.services["miner"].service_status["certificate"]["trouble"]
    node.clock.advance(1)
    await node.collector._look()
    assert len(admission.renewals) == 2
    node.collector.renew_now(force=False)
    await node.collector._look()
    assert len(admission.renewals) == 3, "whoever wants it now gets an answer now"


def wrong_answers() -> dict[str, Callable[[RenewalAnswer], RenewalAnswer]]:
    replace = msgspec.structs.replace

    def exchanged(answer: RenewalAnswer) -> RenewalAnswer:
        first, second, *rest = answer.certificates
        crossed = [replace(first, certificate=second.certificate), replace(second, certificate=first.certificate)]
        return replace(answer, certificates=[*crossed, *rest])

    return {
        "a certificate too few": lambda answer: replace(answer, certificates=answer.certificates[1:]),
        "a certificate twice": lambda answer: replace(answer, certificates=answer.certificates * 2),
        "certificates exchanged": exchanged,
        "no certificate": lambda answer: replace(
            answer, certificates=[replace(each, certificate="x") for each in answer.certificates]
        ),
        "damaged CA": lambda answer: replace(answer, ca_pem="x"),
    }


@pytest.mark.parametrize("wrong", wrong_answers())
async def test_of_a_wrong_answer_nothing_is_installed(
    node: RenewingNode, admission: RenewingAdmission, wrong: str
) -> None:
    node.ask()
    before = node.installed()
    admission.change_answer = wrong_answers()[wrong]
    await node.collector._look()
    assert len(admission.renewals) == 1
    assert node.installed() == before
    assert node.collector.report().code == "bad_enrolment"


async def test_certificates_of_another_ca_are_not_installed(
    node: RenewingNode, admission: RenewingAdmission, tmp_path: Path
) -> None:
    node.ask()
    before = node.installed()
    admission.issuer = other_authority(tmp_path)
    await node.collector._look()
    assert node.installed() == before


async def test_a_new_ca_is_believed_only_once_the_signed_bundle_has_it(
    node: RenewingNode, admission: RenewingAdmission, tmp_path: Path
) -> None:
    node.ask()
    before = node.installed()
    admission.issuer = new = other_authority(tmp_path)
    both = admission.authority.ca_pem + new.ca_pem
    admission.change_answer = lambda answer: msgspec.structs.replace(answer, ca_pem=both.decode())
    await node.collector._look()
    assert node.installed() == before, "an answer is no reason to trust a CA"

    async def refresh_cas() -> None:
        (node.paths.issued / "ca.crt").write_bytes(both)

    await node.make_collector(refresh_cas=refresh_cas)._look()
    assert certified(node) == set(SERVICES)


async def test_a_server_that_our_ca_does_not_know_gets_no_renewal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    admission = RenewingAdmission(tmp_path / "admission")
    with admission.serve(authority=other_authority(tmp_path)):
        node = RenewingNode(tmp_path / "node", admission)
        node.ask()
        await node.collector._look()
        assert admission.renewals == []
        assert node.collector.report().code == "tls_intercepted"
        settings = node.make_collector(ca_file=tmp_path / "other-ca" / "ca.crt")
        await settings._look()
        assert certified(node) == set(SERVICES), "the operator's own HTTPS certificate can be named in the settings"


async def test_one_service_gets_no_certificate_of_another(node: RenewingNode, admission: RenewingAdmission) -> None:
    node.ask("miner")
    request = read_requests(node.paths.enrol)["miner"]
    forged = request_file(node.paths, "peer")
    forged.write_bytes(msgspec.json.encode(request, order="sorted"))
    request_file(node.paths, "ledger").write_bytes(b"{}")
    request_file(node.paths, "meter-gateway").write_bytes(msgspec.json.encode(request, order="sorted"))
    assert isinstance(request, RenewalRequest)
    await node.collector._look()
    [renewal] = sent(admission)
    assert [each.service for each in renewal.body.requests] == ["miner"]


async def test_without_an_address_the_advice_is_in_the_report(node: RenewingNode, admission: RenewingAdmission) -> None:
    node.ask()
    (node.paths.issued / "admission.json").unlink()
    await node.collector._look()
    assert "[admission] url" in node.collector.report().message
    named = node.make_collector(url=admission.url)
    await named._look()
    assert certified(node) == set(SERVICES)


# by hand


@pytest.fixture
async def living(
    tmp_path: Path, admission: RenewingAdmission, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RenewingNode]:
    """A node with fresh certificates, all of whose parts run."""
    monkeypatch.setattr(certificate_keeper, "POLL_S", 0.02)
    monkeypatch.setattr(collector_module, "POLL_S", 0.02)
    node = RenewingNode(tmp_path / "node", admission, age_days=0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(node.collector.run())]
        tasks += [group.create_task(service.keeper()._run()) for service in node.services.values()]
        yield node
        for task in tasks:
            task.cancel()


@pytest.fixture
async def command(living: RenewingNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Any]:
    """Runs a command against the node's API; returns status, output and error output."""
    app = FastAPI()
    add_renewal_paths(app, living.collector, "secret")
    server = ApiServer(ApiSettings(port=0))
    task = asyncio.create_task(server.run(app))
    token = tmp_path / "api.token"
    token.write_text("secret")
    url = f"http://127.0.0.1:{server.port}"

    async def run(*arguments: str) -> tuple[int, str, str]:
        status = await asyncio.to_thread(cli.run, [*arguments, "--api", url, "--token-file", str(token)])
        return status, *capsys.readouterr()

    yield run
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/v1/renewal")).status_code == 200
        assert (await client.post("/v1/renewal", json={"force": True})).status_code >= 400
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_renew_shows_certificates_and_with_force_replaces_them_once(
    living: RenewingNode, command: Any, admission: RenewingAdmission
) -> None:
    before = living.installed()
    status, out, _ = await command("renew")
    assert (status, admission.renewals) == (0, [])
    assert all(f"{service}" in out for service in SERVICES)
    status, out, _ = await command("renew", "--force", "--json")
    assert status == 0
    assert {each["state"] for each in json.loads(out)["certificates"]} == {"valid"}
    after = living.installed()
    assert all(before[f"certs/{name}.crt"] != after[f"certs/{name}.crt"] for name in SERVICES)
    assert MEMBER in sent(admission)[0].body.member
    await wait_until_async(lambda: living.collector.report().replace == ())
    assert living.installed() == after


async def test_renew_says_why_admission_does_not_want_to(
    living: RenewingNode, command: Any, admission: RenewingAdmission
) -> None:
    admission.refusal = (422, "member_revoked", "The membership has ended; ask the operator")
    status, _, err = await command("renew", "--force")
    assert status == 1
    assert "member_revoked" in err
    assert "ask the operator" in err
    assert len(err.splitlines()) == 1
