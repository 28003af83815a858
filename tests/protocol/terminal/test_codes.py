"""Response codes: permanent, told apart, each with its advice and words."""

import pytest

from protocol.terminal.codes import ResponseCode, Retry, Stage


@pytest.mark.parametrize("code", ResponseCode)
def test_a_code_has_stage_advice_and_both_texts(code: ResponseCode) -> None:
    assert code.stage.value == code.value // 100
    assert isinstance(code.retry, Retry)
    assert 1 <= len(code.text_zh) <= 40
    assert any("\u4e00" <= letter <= "\u9fff" for letter in code.text_zh)
    assert 1 <= len(code.text_en) <= 80
    assert code.text_en.isascii()


def test_numbers_and_texts_are_unique_and_ordered() -> None:
    codes = list(ResponseCode)
    assert len(ResponseCode.__members__) == len(codes)
    assert [code.value for code in codes] == sorted({code.value for code in codes})
    assert len({code.text_en for code in codes}) == len(codes)
    assert len({code.text_zh for code in codes}) == len(codes)


def test_only_approval_ends_well() -> None:
    assert ResponseCode.APPROVED.retry is Retry.NONE
    assert [code for code in ResponseCode if code.result_class == 0] == [ResponseCode.APPROVED]


def test_stored_are_acceptances_and_refusals_of_stages_4_to_6() -> None:
    kept = {Stage.APPROVED, Stage.ELIGIBILITY, Stage.ADJUDICATION, Stage.LEDGER}
    for code in ResponseCode:
        assert code.is_stored == (code.stage in kept)


def test_a_stored_refusal_never_advises_the_same_msgid() -> None:
    # Its repetition would only repeat the refusal.
    for code in ResponseCode:
        if code.is_stored:
            assert code.retry in {Retry.NONE, Retry.CORRECT}


def test_only_an_unknown_outcome_advises_to_ask() -> None:
    assert [code for code in ResponseCode if code.retry is Retry.ASK_STATUS] == [
        ResponseCode.SYSTEM_ERROR
    ]
