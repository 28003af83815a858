"""Keeping a terminal's lists up to date: in the background, a page at a time, behind the cashier.

Not here: what is held (`lists.py`), what is asked of it (`listed_card.py`, `bill_file.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from msgspec import Struct

from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import ListPage, ListVersion, MessageType
from terminals.answer import Answer, ClientError
from terminals.lists import ListName, Lists, ListsError

SIZE_MAX: Final = 200_000
_ENVELOPE_SIZE: Final = 4_096
PAGES_MAX: Final = 20_000
"""Of one update: a list of five million rows."""
PAUSE_S: Final = 5.0
"""After a download that failed, before the next one is tried."""


class Requester(Protocol):
    """What is needed of `TerminalClient`."""

    @property
    def sign_on_state(self) -> object | None:
        """The sign-on in use; None without one."""

    def exchange(self, type_: MessageType, body: Struct, /) -> Awaitable[Answer]:
        """Send a request once and give its answer."""


class ListUpdates:
    """Downloads what lists are behind; also the client's ear for news of them.

    Args:
        lists: Where they are kept.
        frame_size_max: The largest frame that this terminal takes, in bytes.
        now_ms: The terminal's wall clock.
        names: Which lists to keep up to date.
    """

    def __init__(
        self,
        lists: Lists,
        *,
        frame_size_max: int,
        now_ms: Callable[[], int],
        names: tuple[ListName, ...] = tuple(ListName),
    ) -> None:
        self._lists = lists
        self._names = names
        self._size_max = min(SIZE_MAX, frame_size_max - _ENVELOPE_SIZE)
        self._now_ms = now_ms
        self._news = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._task: asyncio.Task[None] | None = None
        self._revocations = lists.held(ListName.REVOCATIONS).version

    # --- what the client tells and asks ---------------------------------------------------------

    @property
    def list_version(self) -> int:
        """The version of the revocation list that is held: goes into every request."""
        return self._revocations

    def hear_reply(self, list_version: int) -> None:
        """Note the version that a reply names."""
        if list_version > self._revocations:
            self.hear((ListVersion(ListName.REVOCATIONS.value, list_version),))

    def hear(self, lists: tuple[ListVersion, ...]) -> None:
        """Note the newest versions, and have the background look after them."""
        try:
            self._lists.hear(lists)
            is_behind = bool(self.behind())
        except ListsError:
            return  # nothing depends on a list: the next reply says it again
        if is_behind:
            self._is_idle.clear()
            self._news.set()

    def behind(self) -> list[ListName]:
        """Name the lists that are not up to date, the most urgent first."""
        return [name for name in self._names if self._lists.held(name).is_behind]

    # --- in the background ----------------------------------------------------------------------

    def start(self, client: Requester) -> None:
        """Begin to look after the lists, until `stop`."""
        if self._task is None:
            self._task = asyncio.create_task(self._look_after(client))

    async def settle(self, time_max_s: float) -> None:
        """Wait until nothing is behind, at most so long."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(time_max_s):
                await self._is_idle.wait()
        except TimeoutError:
            return

    async def stop(self) -> None:
        """End; what was begun goes on another time."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _look_after(self, client: Requester) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            is_done = await self._try(client)
            self._is_idle.set()
            if not is_done:
                await asyncio.sleep(PAUSE_S)
                self._news.set()  # what was heard once is not said again where nothing is asked

    async def _try(self, client: Requester) -> bool:
        if client.sign_on_state is None:
            return True  # its reply says again what there is
        try:
            for name in self.behind():
                answer = await self.update(client, name)
                if not answer.is_approved:
                    return False
        except (ClientError, ListsError):
            return False
        return True

    # --- one list -------------------------------------------------------------------------------

    async def update(
        self,
        client: Requester,
        name: ListName,
        on_page: Callable[[ListPage], None] = lambda _page: None,
    ) -> Answer:
        """Download what a list lacks; the last answer says how it ended.

        Raises:
            ClientError: The centre cannot be reached or did not answer; pages before stand.
            ListsError: The file cannot be written.
        """
        pages = 0
        while True:
            pages += 1
            asked = self._lists.request(name, self._size_max)
            answer = await client.exchange(MessageType.LIST_DOWNLOAD, asked)
            page = answer.body
            if not isinstance(page, ListPage):
                if answer.code == ResponseCode.INVALID_FIELD and asked.after:
                    self._lists.forget_position(name)  # another centre's: begin anew
                    continue
                return answer
            taken = self._lists.take(asked, page, now_ms=self._now_ms())
            if name is ListName.REVOCATIONS:
                self._revocations = self._lists.held(name).version
            on_page(page)
            if (taken and page.is_last) or pages == PAGES_MAX:
                return answer
