"""Cashiers at work on a running centre, and the audit of all that they were told.

The same before and after: trial balance, every person, and in the end STATUS of every msgid. Not
here: what the cashiers do (`counter.py`), what is compared (`auditor.py`).
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Self

import msgspec

from protocol.terminal.messages import Person, StatusFound
from simulators.auditor import Auditor, Books, Given
from simulators.centre_process import City, command
from simulators.counter import Cashier, Desk, Patient, read_payers
from simulators.journal import Attempt, AttemptKey, Journal


class AuditedRun:
    """A run from a seed. Enter it once the centre runs, and ask for `findings` at the end.

    Attributes:
        journal: What was asked and answered so far.
        patients: Who may come, by number.
        given: What the fund gave to personal accounts meanwhile, as whoever had it done says.
    """

    def __init__(self, city: City, desks: Sequence[Desk], *, seed: int) -> None:
        """Prepare one cashier for each desk."""
        assert desks
        self._city = city
        self._desks = desks
        self._seed = seed
        self.patients: Mapping[str, Patient] = {
            patient.psn_no: patient for desk in desks for patient in desk.patients
        }
        self.journal = Journal()
        self.given: list[Given] = []
        self._books_before: Books | None = None
        self._persons_before: Mapping[str, Person] = {}

    @asynccontextmanager
    async def cashiers(self) -> AsyncIterator[None]:
        """Have the cashiers work for as long as the context lasts, and a little longer."""
        if self._books_before is None:
            self._books_before = await read_books(self._city)
        async with AsyncExitStack() as stack:
            cashiers = [
                await stack.enter_async_context(
                    Cashier(desk, self.journal, Random(f"{self._seed} {number}"))
                )
                for number, desk in enumerate(self._desks)
            ]
            if not self._persons_before:
                self._persons_before = await cashiers[0].members(self.patients.values())
            closing = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for cashier in cashiers:
                    tasks.create_task(cashier.work(closing))
                try:
                    yield
                finally:
                    closing.set()

    def at_port(self, port: int) -> Self:
        """Go on at another port: past the network that was between."""
        self._desks = [desk.at_port(port) for desk in self._desks]
        return self

    async def findings(self) -> list[str]:
        """Ask the centre for all that it knows of this run, and compare."""
        assert self._books_before is not None, "nobody has worked yet"
        statuses: dict[AttemptKey, StatusFound] = {}
        persons_after: Mapping[str, Person] = {}
        by_institution: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in self.journal.attempts:
            by_institution[attempt.institution].append(attempt)
        desk_of = {desk.config.terminal.institution: desk for desk in self._desks}
        for institution, desk in desk_of.items():
            async with Cashier(desk, self.journal, Random(self._seed)) as cashier:
                statuses |= await cashier.statuses(by_institution[institution])
                if not persons_after:
                    persons_after = await cashier.members(self.patients.values())
        books_after = await read_books(self._city)
        auditor = Auditor(self.journal, read_payers(self._city.population), self.given)
        return [
            *auditor.check_journal(),
            *auditor.check_books(self._books_before, books_after),
            *auditor.check_statuses(statuses),
            *auditor.check_persons(self._persons_before, persons_after),
        ]


async def read_books(city: City) -> Books:
    """Have the centre's own command sum up its ledger."""
    printed = await command(
        "cardserver", "trial-balance", "--config", str(city.config_file), "--json",
        check=False, within=city.within,
    )  # fmt: skip
    return msgspec.json.decode(printed.output, type=Books)
