"""Attempts in the words of the counter, Chinese and English; JSON keeps the outbox's own names."""

from typing import Final

from protocol.terminal.messages import MessageType
from terminals.outbox import AttemptState

TYPES: Final = {
    MessageType.SETTLE: "结算 settle",
    MessageType.CANCEL: "撤销 cancel",
    MessageType.REFUND: "退费 refund",
    MessageType.REVERSE: "冲正 reverse",
    MessageType.PRINT_ACK: "打印确认 print_ack",
    MessageType.REGISTER: "挂号 register",
    MessageType.ADMIT: "入院 admit",
    MessageType.DISCHARGE: "出院 discharge",
    MessageType.DISCHARGE_CANCEL: "撤销出院 discharge_cancel",
    MessageType.VISIT_CANCEL: "撤销登记 visit_cancel",
    MessageType.LINES: "明细 lines",
    MessageType.LINES_CANCEL: "撤销明细 lines_cancel",
}
STATES: Final = {
    AttemptState.PENDING: "[yellow]待应答 pending[/]",
    AttemptState.UNKNOWN: "[yellow]结果未知 unknown[/]",
    AttemptState.SETTLED: "[green]已成功 settled[/]",
    AttemptState.REFUSED: "[red]已拒绝 refused[/]",
    AttemptState.REVERSED: "[red]不再有效 reversed[/]",
}
ENDED_BY: Final = {
    "reply": "应答 reply",
    "late reply": "迟到应答 late reply",
    "status": "查询 status",
    "repetition": "重发 repetition",
    "reversal": "冲正 reversal",
    "cancel": "撤销 cancel",
    "refund": "退费 refund",
    "not sent": "未发送 not sent",
}
EVENTS: Final = {
    "written": "已写入 written",
    "sent again": "已重发 sent again",
    "copy refused": "该次被拒 copy refused",
    "not sent": "未发送 not sent",
    "in doubt": "存疑 in doubt",
    "print begun": "开始打印 print begun",
    "settled": "已成功 settled",
    "refused": "已拒绝 refused",
    "reversed": "不再有效 reversed",
}
