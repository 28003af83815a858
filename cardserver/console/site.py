"""All pages of the console."""

from cardserver.console.desk import ConsoleDesk
from cardserver.console.pages.audit import audit_page
from cardserver.console.pages.centre import centre_page
from cardserver.console.pages.clearing import clearing_page
from cardserver.console.pages.live import live_page
from cardserver.console.pages.reconciliation import reconciliation_page
from cardserver.console.pages.refusals import refusals_page
from cardserver.console.pages.registry import registry_page
from cardserver.console.pages.request import request_page
from cardserver.console.pages.review import review_page
from cardserver.console.pages.revocations import revocations_page
from cardserver.console.pages.terminals import terminals_page
from cardserver.console.pages.workload import workload_page

_PAGES = (
    live_page,
    refusals_page,
    request_page,
    terminals_page,
    centre_page,
    registry_page,
    review_page,
    reconciliation_page,
    clearing_page,
    workload_page,
    revocations_page,
    audit_page,
)


def register_pages(desk: ConsoleDesk) -> None:
    """Let each page be opened."""
    for register in _PAGES:
        register(desk)
