"""Response codes: permanent numbers, grouped by the stage that refused, each with retry advice.

A number is never changed or used again. Where several refusals apply, the lowest number is the
one reported. Not here: which decision of the centre becomes which code; that is
`cardserver/outcomes.py`.
"""

from enum import IntEnum, unique
from typing import Self


@unique
class Retry(IntEnum):
    """What the terminal should do next with the attempt that was answered."""

    NONE = 0
    """The attempt has ended; nothing is to be repeated."""
    CORRECT = 1
    """The attempt has ended; mend what is named and send it under a new `msgid`."""
    SAME_MSGID = 2
    """Nothing is known to be recorded; repeat the same `msgid` after a pause."""
    SIGN_ON = 3
    """Sign on again, then repeat the same `msgid`."""
    OPEN_CARD = 4
    """Open the card again, then repeat the same `msgid` with the new card session."""
    ASK_STATUS = 5
    """The outcome is unknown: ask STATUS, or REVERSE. Never assume a refusal."""


@unique
class Stage(IntEnum):
    """The first digit of a code: where the request ended."""

    APPROVED = 0
    MESSAGE = 1
    SESSION = 2
    CARD = 3
    ELIGIBILITY = 4
    ADJUDICATION = 5
    LEDGER = 6
    SYSTEM = 9


@unique
class ResponseCode(IntEnum):
    """The outcome of one request, with its retry advice and its words for the cashier."""

    retry: Retry
    text_zh: str
    text_en: str

    def __new__(cls, number: int, retry: Retry, text_zh: str, text_en: str) -> Self:
        """Make a member that carries its advice and texts beside its number."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.retry = retry
        member.text_zh = text_zh
        member.text_en = text_en
        return member

    @property
    def stage(self) -> Stage:
        """The stage that refused, or APPROVED."""
        return Stage(self.value // 100)

    @property
    def is_stored(self) -> bool:
        """Whether the centre keeps this outcome for the second coming of its `msgid`.

        Kept are acceptances and refusals of stages 4 to 6. Refusals of stages 1 to 3 and 9 say
        nothing about an earlier attempt.
        """
        return self.stage in {
            Stage.APPROVED, Stage.ELIGIBILITY, Stage.ADJUDICATION, Stage.LEDGER,
        }  # fmt: skip

    @property
    def result_class(self) -> int:
        """The national interface's `infcode`: 0 accepted, -2 refused, -1 outcome unknown."""
        if self.stage is Stage.APPROVED:
            return 0
        return -1 if self.stage is Stage.SYSTEM else -2

    # fmt: off
    APPROVED = 0, Retry.NONE, "成功", "approved"

    MALFORMED_FRAME = 100, Retry.CORRECT, "报文格式错误", "the frame is malformed"
    FRAME_TOO_LARGE = 101, Retry.CORRECT, "报文超长", "the frame is larger than the limit"
    MALFORMED_MESSAGE = 102, Retry.CORRECT, "报文内容无法解析", "the message cannot be decoded"
    UNKNOWN_MESSAGE_TYPE = 103, Retry.CORRECT, "未知交易类型", "the message type is unknown"
    UNSUPPORTED_VERSION = 104, Retry.CORRECT, "协议版本不支持", "no protocol version in common"
    INVALID_FIELD = 105, Retry.CORRECT, "字段值无效", "a field's value is invalid"
    INVALID_MSGID = (
        106, Retry.CORRECT, "报文标识无效",
        "the msgid is not of this institution or not well-formed",
    )
    EXCHANGE_IN_USE = (
        107, Retry.CORRECT, "交换序号正在使用", "the exchange number is still in flight",
    )
    TOO_MANY_IN_FLIGHT = (
        108, Retry.SAME_MSGID, "并发请求过多", "too many requests in flight on this connection",
    )
    TOO_SLOW = 109, Retry.SAME_MSGID, "报文传输超时", "the frame did not arrive in time"
    UNEXPECTED_MESSAGE = (
        110, Retry.CORRECT, "报文次序错误", "the message is not allowed at this point",
    )

    TERMINAL_UNKNOWN = 200, Retry.NONE, "终端未登记", "the terminal is not registered"
    TERMINAL_DISABLED = 201, Retry.NONE, "终端已停用", "the terminal is disabled"
    INSTITUTION_SUSPENDED = 202, Retry.NONE, "机构已停用", "the institution is suspended"
    CERTIFICATE_REPLACED = (
        203, Retry.NONE, "终端证书已更换", "the certificate is not the terminal's present one",
    )
    TERMINAL_MISMATCH = (
        204, Retry.CORRECT, "终端与证书不符", "the terminal named is not the certificate's",
    )
    NOT_SIGNED_ON = 205, Retry.SIGN_ON, "尚未签到", "not signed on"
    SIGN_ON_EXPIRED = 206, Retry.SIGN_ON, "签到已失效", "the sign-on has expired"
    OPERATOR_REFUSED = 207, Retry.CORRECT, "操作员或密码错误", "operator unknown or password wrong"
    OPERATOR_LOCKED = 208, Retry.NONE, "操作员已锁定", "the operator is locked"
    OPERATOR_MISMATCH = (
        209, Retry.SIGN_ON, "操作员与签到不符", "the operator is not the one signed on",
    )
    OPERATOR_NOT_PERMITTED = 210, Retry.CORRECT, "操作员无此权限", "the operator may not do this"
    MSGID_REUSED = (
        211, Retry.CORRECT, "报文标识重复但内容不同",
        "the msgid was used before with other content",
    )

    CARD_READER_FAULT = 300, Retry.OPEN_CARD, "读卡器故障", "the card reader failed"
    CARD_REMOVED = 301, Retry.OPEN_CARD, "卡片中途拔出", "the card was removed"
    CARD_UNKNOWN = 302, Retry.NONE, "无法识别的卡片", "no profile knows this card"
    CARD_UNEXPECTED_STATUS = (
        303, Retry.OPEN_CARD, "卡片返回异常状态字", "the card answered an unexpected status word",
    )
    CARD_DATA_MALFORMED = 304, Retry.OPEN_CARD, "卡内数据格式错误", "the card's data is malformed"
    CARD_RELAY_VIOLATION = (
        305, Retry.OPEN_CARD, "读卡转发数据不符", "the relayed answers do not fit what was asked",
    )
    CHALLENGE_NOT_VALID = (
        306, Retry.OPEN_CARD, "随机数过期或已使用", "the challenge is unknown, used or too old",
    )
    CARD_NOT_REGISTERED = 307, Retry.NONE, "卡片未登记", "the card is not registered"
    CARD_ALGORITHM_UNSUPPORTED = (
        308, Retry.NONE, "卡片算法不支持", "the card's algorithm is not supported here",
    )
    CARD_ALGORITHM_MISMATCH = (
        309, Retry.NONE, "卡片算法与登记不符", "the card's algorithm is not the registered one",
    )
    CARD_NOT_GENUINE = 310, Retry.NONE, "卡片认证失败", "the card failed authentication"
    CARD_IDENTITY_MISMATCH = (
        311, Retry.NONE, "卡内信息与登记不符", "the card's data belongs to another card",
    )
    CARD_REVOKED = 312, Retry.NONE, "卡片已挂失或注销", "the card is revoked"
    CARD_ISSUER_REFUSED = 313, Retry.NONE, "发卡机构不符", "the card's issuer is not accepted"
    CARD_CLASS_REFUSED = (
        314, Retry.NONE, "卡片类别不符", "the card's class is not the registered one",
    )
    CARD_VERSION_MISMATCH = (
        315, Retry.NONE, "卡片规范版本与登记不符", "the card's version is not the registered one",
    )
    CARD_NOT_YET_VALID = 316, Retry.NONE, "卡片尚未生效", "the card is not valid yet"
    CARD_EXPIRED = 317, Retry.NONE, "卡片已过期", "the card has expired"
    CARD_PIN_BLOCKED = 318, Retry.NONE, "卡片密码已锁定", "the card's PIN is blocked"
    CARD_SESSION_REQUIRED = 320, Retry.OPEN_CARD, "请先读卡", "a card session is required"
    CARD_SESSION_NOT_VALID = (
        321, Retry.OPEN_CARD, "读卡会话无效", "the card session is not valid here",
    )
    CARD_SESSION_EXPIRED = 322, Retry.OPEN_CARD, "读卡会话已过期", "the card session has expired"
    CARD_PROOF_TOO_WEAK = (
        323, Retry.OPEN_CARD, "需重新验卡", "this needs a fresh answer of the card",
    )
    EXCEPTION_NOT_ALLOWED = (
        324, Retry.CORRECT, "不允许无卡办理", "the exception named is not allowed here",
    )

    PERSON_UNKNOWN = 400, Retry.CORRECT, "查无此人", "the person is not known"
    PERSON_DECEASED = 401, Retry.NONE, "参保人已身故", "the person is deceased"
    COVERAGE_NOT_FOUND = 402, Retry.CORRECT, "未参加该险种", "not insured in this scheme"
    COVERAGE_PAUSED = 403, Retry.NONE, "参保状态暂停", "the insurance is paused"
    COVERAGE_NOT_IN_FORCE = (
        404, Retry.NONE, "不在参保有效期内", "the insurance is not in force on this date",
    )
    INSTITUTION_NOT_CONTRACTED = (
        410, Retry.NONE, "机构无有效协议", "the institution has no contract in force",
    )
    CARE_TYPE_NOT_CONTRACTED = (
        411, Retry.CORRECT, "机构未开通该医疗类别", "the institution may not bill this care type",
    )

    VISIT_UNKNOWN = 420, Retry.CORRECT, "就诊登记不存在", "the visit is not known here"
    VISIT_NOT_OPEN = (
        421, Retry.CORRECT, "就诊状态不允许此操作", "the visit's state does not allow this",
    )
    STAY_OVERLAPS = (
        422, Retry.CORRECT, "与其他住院记录重叠", "another stay of this person overlaps",
    )
    TRANSFER_NOT_VALID = (
        423, Retry.CORRECT, "转院信息不符", "the stay named can't be continued by this one",
    )
    VISIT_DATE_NOT_VALID = (
        424, Retry.CORRECT, "日期不在就诊期间内", "a date does not lie within the visit",
    )
    LINE_NUMBER_USED = (
        425, Retry.CORRECT, "费用明细流水号重复", "a line's number was used before in this visit",
    )
    LINE_UNKNOWN = 426, Retry.CORRECT, "费用明细不存在", "the visit has no such line"
    SETTLED_ALREADY = (
        427, Retry.CORRECT, "已结算，请先撤销结算", "it is settled: cancel the settlement first",
    )
    REFUND_EXCEEDS = (
        428, Retry.CORRECT, "退费超过剩余数量", "the refund takes more than is left of the line",
    )
    TOO_MANY_LINES = (
        429, Retry.CORRECT, "明细过多，请分次结算", "too many lines: settle in parts, by days",
    )

    POLICY_NOT_FOUND = (
        500, Retry.NONE, "无适用的待遇政策", "no policy applies to this insurance, care and date",
    )
    BILL_INVALID = 501, Retry.CORRECT, "账单内容无效", "the bill is not valid"
    TOTAL_MISMATCH = (
        502, Retry.CORRECT, "账单合计与明细不符", "the total is not the sum of the lines",
    )
    SPLIT_CHANGED = (
        503, Retry.CORRECT, "费用分割已变化，请重新确认", "the split differs from the one shown",
    )
    CHECK_REFUSED = (
        504, Retry.CORRECT, "医保智能审核不通过", "a check at the counter refuses the bill",
    )
    CARE_EXCLUDED = 505, Retry.NONE, "该情形不予支付", "the policy excludes this care"

    TOMBSTONED = (
        600, Retry.CORRECT, "该交易已被冲正，不再受理", "this msgid was reversed before it arrived",
    )
    ORIGINAL_NOT_FOUND = 601, Retry.CORRECT, "原交易不存在", "the original is not known"
    ORIGINAL_NOT_SETTLED = 602, Retry.NONE, "原交易未结算", "the original is not a settlement"
    ALREADY_UNDONE = 603, Retry.NONE, "原交易已撤销或冲正", "the original was undone before"
    ALREADY_PRINTED = (
        604, Retry.CORRECT, "票据已打印，请改用撤销", "the receipt is printed: use CANCEL",
    )
    BALANCE_INSUFFICIENT = (
        605, Retry.CORRECT, "个人账户余额不足", "the personal account does not suffice",
    )
    LINE_NOT_REFUNDABLE = (
        606, Retry.CORRECT, "明细不可退",
        "a line is not in the bill, or less of it is left than is given back",
    )
    REFUND_NOT_POSSIBLE = (
        607, Retry.CORRECT, "无法部分退费，请改用撤销", "what remains can't be decided: use CANCEL",
    )
    RECONCILE_DAY_NOT_VALID = (
        610, Retry.CORRECT, "对账日期未到", "the day to reconcile has not begun",
    )
    RECONCILIATION_NOT_FOUND = (
        611, Retry.CORRECT, "对账记录不存在或已被取代",
        "no such reconciliation here, or a later one took its place",
    )
    CLEARING_MONTH_NOT_OVER = (
        615, Retry.CORRECT, "清算月份未结束", "the month to clear is not over",
    )
    CLEARING_APPLICATION_UNKNOWN = (
        616, Retry.CORRECT, "清算申请不存在", "there is no such application here",
    )
    CLEARED_ALREADY = 617, Retry.NONE, "该月已清算", "the month is cleared already"
    CLEARING_APPLIED_OTHERWISE = (
        618, Retry.CORRECT, "已有不同金额的申请，请先撤销",
        "an application with other totals stands: cancel it first",
    )
    REVIEW_CASE_UNKNOWN = 620, Retry.CORRECT, "没有这个审核案件", "there is no such review case"
    APPEAL_NOT_POSSIBLE = (
        621, Retry.NONE, "无可申诉的扣款", "nothing is deducted that could be appealed",
    )
    APPEAL_TOO_LATE = 622, Retry.NONE, "申诉期限已过", "the time to appeal is over"
    APPEAL_FILED_ALREADY = 623, Retry.NONE, "已提出过申诉", "an appeal was filed before"

    SYSTEM_ERROR = 900, Retry.ASK_STATUS, "系统错误，结果未知", "system error, outcome unknown"
    BUSY = 901, Retry.SAME_MSGID, "系统繁忙，请稍后重试", "the centre is busy"
    DEADLINE_PASSED = (
        902, Retry.SAME_MSGID, "请求已超时，未受理",
        "the time allowed had passed before acceptance",
    )
    SHUTTING_DOWN = (
        903, Retry.SAME_MSGID, "服务正在停止，请重新连接", "this server is stopping: connect again",
    )
    STORE_UNAVAILABLE = (
        904, Retry.SAME_MSGID, "数据库暂不可用",
        "the database is unavailable, nothing was recorded",
    )
    # fmt: on
