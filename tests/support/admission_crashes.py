"""Sagas of admission that die in the middle, and the service that then finishes what they left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minervas_admission.sagas.steps import Saga, Step
from minervas_admission.store.decisions import Decision
from tests.support.admission import AdmissionHome, SagaBench
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async


class Crash(BaseException):
    """The process is gone: nothing after it happens, nothing catches it."""


def crashing(sagas: list[Saga], kind: str, step: str, *, after_effect: bool) -> list[Saga]:
    """The same sagas, but the process dies in one step: before it does anything, or when all is done but recorded."""

    def die(original: Step) -> Step:
        async def run(decision: Decision) -> str:
            if after_effect:
                await original.run(decision)
            raise Crash

        return replace(original, run=run)

    return [
        replace(
            saga, steps=tuple(die(item) if saga.kind == kind and item.name == step else item for item in saga.steps)
        )
        for saga in sagas
    ]


async def crash_in(setting: AdmissionWithBroker, kind: str, step: str, *, after_effect: bool) -> None:
    """Carry the only queued decision out without the service, up to a crash in one step."""
    async with SagaBench(setting.home) as bench:
        [decision] = await bench.queued()
        with pytest.raises(Crash):
            await bench.runner(crashing(bench.sagas, kind, step, after_effect=after_effect)).attempt(decision)


async def finish(home: AdmissionHome) -> None:
    """Start the service and let it carry out what is left."""
    async with home.running():
        await wait_until_async(lambda: not home.as_owner("SELECT 1 FROM decisions WHERE state = 'queued'"))


def transactions(home: AdmissionHome) -> list[tuple[int, str]]:
    """Number and action of everything that was signed."""
    return [(number, action) for number, action in home.as_owner(
        "SELECT number, action FROM membership_transactions ORDER BY number"
    )]  # fmt: skip
