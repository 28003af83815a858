"""The holder's PIN of a German health card, verified or changed where the holder types it.

The PIN never comes here: the batch carries a template, and only a status word comes back. Whatever
comes of it, the card stays opened: nothing that is read here hangs on it.
"""

from cardserver.cards.egk import PIN_STATES
from cardserver.cards.medical import MedicalVisit, PINAction, PINResult
from cardserver.cards.refusals import CardRefusal, CardRefusalReason
from cardserver.cards.visit import BatchRunner
from protocol.card.profiles import egk
from protocol.card.profiles.egk import PINStatus, pin_status
from protocol.card.profiles.social_security_card import PINState
from protocol.card.status_word import StatusWord
from terminals.readers.channel import BatchOutcome

_STATUS_WORD_SIZE = 2


async def visit_egk_pin(
    runner: BatchRunner, *, pin_state: PINState, pin_tries: int, action: PINAction
) -> MedicalVisit | CardRefusal:
    """Have the PIN verified or changed, in one round trip; a blocked one is never tried.

    Args:
        runner: Runs the batch, and has the holder asked for the PINs in it.
        pin_state: As the opening batch told.
        pin_tries: The same; -1 unknown.
        action: What the terminal is ready to ask for.
    """
    if action is PINAction.NONE or pin_state is not PINState.REQUIRED:
        return MedicalVisit(None, pin_state, pin_tries)
    script = egk.change_pin if action is PINAction.CHANGE else egk.verify_pin
    batch = next(script(pin_tries))
    ran = await runner.run(batch)
    if ran.outcome is BatchOutcome.CARD_REMOVED:
        return CardRefusal(CardRefusalReason.CARD_REMOVED)
    if ran.outcome is BatchOutcome.READER_FAULT:
        return CardRefusal(CardRefusalReason.CARD_READER_FAULT)
    if len(ran.answers) != len(batch) or len(ran.answers[0]) not in {0, _STATUS_WORD_SIZE}:
        return CardRefusal(
            CardRefusalReason.CARD_RELAY_VIOLATION,
            detail_en="something else than one status word came back from a PIN",
        )
    (answer,) = ran.answers
    if not answer:
        return MedicalVisit(None, pin_state, pin_tries, PINResult.NOT_GIVEN, 1, ran.card_time_us)
    word = int.from_bytes(answer, "big")
    status, tries = pin_status(word)
    result = PINResult.FAILED
    if word == StatusWord.OK:
        # What is left of the tries a card does not say after a PIN that was right.
        result = PINResult.CHANGED if action is PINAction.CHANGE else PINResult.RIGHT
        return MedicalVisit(None, pin_state, -1, result, 1, ran.card_time_us)
    if status is PINStatus.REQUIRED:
        result = PINResult.WRONG
    elif status is PINStatus.BLOCKED:
        result = PINResult.BLOCKED
    else:
        return MedicalVisit(None, pin_state, pin_tries, result, 1, ran.card_time_us)
    state = PINState(PIN_STATES[status])
    return MedicalVisit(None, state, tries, result, 1, ran.card_time_us)
