"""What a profile's verification gives."""

from dataclasses import dataclass, field

from cardserver.registry.values import Card

PROOF_UNVERIFIED_CARD = 1
"""The wire's `ProofLevel.UNVERIFIED_CARD`: the card was read, and can't prove itself."""

PROOF_GENUINE_CARD = 2
"""The wire's `ProofLevel.GENUINE_CARD`: the card proved its key to the centre's own challenge."""

PIN_NOT_REQUIRED = 0
"""The wire's `PINState.NOT_REQUIRED`."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A card that passed its profile's checks.

    Attributes:
        card: As the registry has it.
        proof: A `ProofLevel` of the wire.
        pin_state: A `PINState` of the wire.
        pin_tries: -1 unknown.
        holder_name: As the card says; empty where it was not read.
        holder_id: The holder's number, likewise.
        birth_date: YYYYMMDD as an unverified card claims it, month and day 00 where not known,
            to be compared with the person's; 0 where it was not read.
        id_number: The holder's number where it is the one by which the registry knows persons, to
            be compared with the person's; empty where it is another, or was not read.
    """

    card: Card
    proof: int
    pin_state: int = PIN_NOT_REQUIRED
    pin_tries: int = -1
    holder_name: str = field(repr=False, default="")
    holder_id: str = field(repr=False, default="")
    birth_date: int = field(repr=False, default=0)
    id_number: str = field(repr=False, default="")
