"""What operators may do: every role, where it belongs, and what needs it.

The table that people read is in `README.md`; here is what the code checks.
"""

from enum import StrEnum, unique


@unique
class Role(StrEnum):
    """What an operator may do."""

    CASHIER = "cashier"
    SUPERVISOR = "supervisor"
    RESOLVER = "resolver"
    REGISTRAR = "registrar"
    CUSTODIAN = "custodian"
    CATALOGUER = "cataloguer"
    ACCEPTANCE = "acceptance"
    CALCULATION = "calculation"
    AUDIT = "audit"
    FUNDING_OFFICER = "funding_officer"
    RECONCILER = "reconciler"
    CLEARING_OFFICER = "clearing_officer"
    SIGNATORY = "signatory"


AT_INSTITUTIONS = frozenset({Role.CASHIER, Role.SUPERVISOR})
AT_THE_FUND = frozenset(Role) - AT_INSTITUTIONS
