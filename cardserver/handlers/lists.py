"""LIST_DOWNLOAD: what changed in a list since the version that a terminal holds."""

import datetime as dt
import hashlib

import msgspec

from cardserver.benefits.policy_words import value_words
from cardserver.catalogue.catalogue_store import MAPPING
from cardserver.catalogue.pages_store import (
    BODY_SIZE_MAX,
    PositionError,
    item_page,
    mapping_page,
    revocation_page,
)
from cardserver.centre import Answer, Centre, Exchange
from cardserver.claims.values import Rules
from cardserver.registry.values import Institution
from ledger.calendar import day_number
from protocol.telemetry.messages import ListNews, NewestList, NewestParameters
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode

REVOCATIONS = "revocations"
CATALOGUE = "catalogue"
MAPPINGS = "mapping"
PARAMETERS = "parameters"

_ENVELOPE_SIZE = 4_096  # with stage times, challenges and details at their longest
_LEVELS = range(4)  # of institutions; 0 for pharmacies
_ENCODER = msgspec.msgpack.Encoder()


async def list_download(exchange: Exchange, body: messages.ListDownload) -> Answer:
    """LIST_DOWNLOAD (1301 to 1319): a page of what changed."""
    centre, institution = exchange.centre, exchange.session.institution
    size_max = min(
        body.size_max or BODY_SIZE_MAX,
        centre.config.listener.frame_size_max - _ENVELOPE_SIZE,
    )
    try:
        match body.name:
            case "revocations":
                page = await revocation_page(centre.database, body, size_max)
            case "catalogue":
                page = await item_page(centre.database, body, size_max)
            case "mapping":
                page = await mapping_page(
                    centre.database, body, size_max, institution.institution_no
                )
            case "parameters":
                page = _parameter_page(body, parameters_of(centre, institution.level))
            case _:
                return _refused("没有这个名单", "there is no list of this name")
    except PositionError:
        return _refused("续传位置无效", "`after` is none that this centre gave")
    return Answer(ResponseCode.APPROVED, page)


async def newest_lists(
    centre: Centre, institution: Institution
) -> tuple[messages.ListVersion, ...]:
    """Name the newest version of each list, for SIGN_ON's reply."""
    return (
        messages.ListVersion(REVOCATIONS, centre.revocations.version),
        messages.ListVersion(CATALOGUE, centre.rules.catalogue.version),
        messages.ListVersion(MAPPINGS, await MAPPING.newest(centre.database)),
        messages.ListVersion(PARAMETERS, _version_of(parameters_of(centre, institution.level))),
    )


class NewestLists:
    """Names the newest versions for terminals that only listen; each knows its own level."""

    def __init__(self, centre: Centre) -> None:
        """Look at this worker's lists."""
        self._centre = centre
        self._seen: tuple[Rules, dt.date] | None = None
        self._parameters: tuple[NewestParameters, ...] = ()

    async def __call__(self, now_ms: int) -> ListNews:
        """Name them as they are at a moment.

        Raises:
            StoreError: As the family says.
        """
        centre = self._centre
        mapping = await MAPPING.newest(centre.database)
        seen = centre.rules, centre.today()
        if self._seen is None or self._seen[0] is not seen[0] or self._seen[1] != seen[1]:
            self._seen = seen
            self._parameters = tuple(
                NewestParameters(level, _version_of(parameters_of(centre, level)))
                for level in _LEVELS
            )
        return ListNews(
            time_ms=now_ms,
            lists=(
                NewestList(REVOCATIONS, centre.revocations.version),
                NewestList(CATALOGUE, centre.rules.catalogue.version),
                NewestList(MAPPINGS, mapping),
            ),
            parameters=self._parameters,
        )


def parameters_of(centre: Centre, level: int) -> messages.Parameters:
    """Gather what a terminal of an institution of a level should know."""
    kinds = centre.rules.policies.kinds()
    config = centre.config
    return messages.Parameters(
        institution_level=level,
        card_session_life_ms=config.cards.session_life_ms,
        fresh_card_above_fen=config.cards.fresh_card_above_fen,
        exceptions=tuple(
            messages.AllowedException(one.name, one.med_types, one.total_max_fen)
            for one in config.exceptions
        ),
        med_types=_named("med_types", {med_type for _, med_type in kinds}),
        insutypes=_named("insutypes", {insutype for insutype, _ in kinds}),
        codes=tuple(
            messages.CodeText(code.value, code.retry.name, code.text_zh, code.text_en)
            for code in ResponseCode
        ),
        checks=tuple(
            messages.NamedCode(rule.name, rule.reason_zh, rule.reason_en)
            for rule in centre.rules.checks.book.of_day(day_number(centre.today())).rules
        ),
    )


def _parameter_page(
    asked: messages.ListDownload, parameters: messages.Parameters
) -> messages.ListPage:
    version = _version_of(parameters)
    is_news = version != asked.version
    return messages.ListPage(
        name=asked.name,
        version=version,
        based_on=0 if is_news else version,
        is_last=True,
        next=b"",
        revocations=(),
        items=(),
        mappings=(),
        parameters=parameters if is_news else None,
    )


def _version_of(parameters: messages.Parameters) -> int:
    """Number what they say, the same at every worker; never 0, which is none."""
    digest = hashlib.sha256(_ENCODER.encode(parameters)).digest()
    return int.from_bytes(digest[:4], "big") or 1


def _named(key: str, codes: set[str]) -> tuple[messages.NamedCode, ...]:
    named = [(code, value_words(key, code)) for code in sorted(codes)]
    return tuple(messages.NamedCode(code, words.zh, words.en) for code, words in named)


def _refused(detail_zh: str, detail_en: str) -> Answer:
    return Answer(ResponseCode.INVALID_FIELD, detail_zh=detail_zh, detail_en=detail_en)
