"""How large is a settlement of ten lines on the wire, beside the same in JSON and in ISO 8583?

The JSON has the field names as keys and no blanks; bytes are base64, as JSON has no better. The
ISO 8583 form holds the same facts twice over: in the ASCII of ISO 8583:1987 as most hosts speak
it, and in packed BCD, the most compact that is in use. Its lines stand in private fields.
"""

import base64
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.msgpack import Encoder

from protocol.terminal.bodies import encode_body
from protocol.terminal.frame import encode_frame
from protocol.terminal.messages import Bill, Line, MessageType, Request, Settle

DRUGS = (
    ("XN02BEA184A001010102342", "对乙酰氨基酚片", 1_250_000, 12),
    ("XJ01CAA040E001010304561", "阿莫西林胶囊", 850_000, 24),
    ("XC09AAY101A001010101998", "依那普利片", 2_310_000, 16),
    ("XA10BAE025A010010102777", "二甲双胍片", 430_000, 60),
    ("XC10AAA317A001010203450", "阿托伐他汀钙片", 4_190_000, 7),
    ("XB01ACA055A012010100483", "阿司匹林肠溶片", 520_000, 30),
    ("XR05CBA184A001010100021", "氨溴索片", 690_000, 20),
    ("XA02BCA033E002010301112", "奥美拉唑肠溶胶囊", 1_680_000, 14),
    ("ZA04BAL0186010303205", "连花清瘟胶囊", 610_000, 48),
    ("ZD01AAX0335020100741", "血塞通片", 980_000, 36),
)
"""Codes of the national catalogue's form; names, prices in millionths of a yuan, quantities."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one settlement in each form."""

    frame: int
    json: int
    iso8583_ascii: int
    iso8583_packed: int


def settlement() -> tuple[Request, Settle]:
    """Make a settlement of ten lines as a pharmacy's counter sends it."""
    lines = tuple(
        Line(code, name, price, quantity * 10_000, price * quantity // 10_000)
        for code, name, price, quantity in DRUGS
    )
    total = sum(line.gross_fen for line in lines)
    bill = Bill("310", "41", total, uses_account=True, invoice="26110000000000012345", lines=lines)
    body = Settle(bill, fund_pay_fen=0, account_pay_fen=total, cash_fen=0)
    request = Request(
        exchange=12, type=MessageType.SETTLE, msgid="H11010100001202611210930000001",
        sign_no="9d1c5a70b3e24f86a1d2c3b4", terminal="T0001", operator="1001",
        card_session=bytes(range(80)), list_version=7, time_left_ms=10_000,
        sent_time_ms=1_795_253_400_123, trace="", body=encode_body(body), felt_ms=38,
    )  # fmt: skip
    return request, body


def measure() -> Sizes:
    """Encode the settlement in each form."""
    request, body = settlement()
    return Sizes(
        frame=len(encode_frame(Encoder().encode(request))),
        json=len(msgspec.json.encode(_named(request) | {"body": _named(body)})),
        iso8583_ascii=_iso8583_size(request, body, is_packed=False),
        iso8583_packed=_iso8583_size(request, body, is_packed=True),
    )


def main() -> None:
    """Print the sizes and their ratios."""
    sizes = measure()
    print("A settlement of ten lines, frame header and envelope included:")
    for name, size in (
        ("ours", sizes.frame),
        ("JSON", sizes.json),
        ("ISO 8583, ASCII", sizes.iso8583_ascii),
        ("ISO 8583, packed BCD", sizes.iso8583_packed),
    ):
        print(f"  {name:22} {size:6} bytes   ours is {sizes.frame / size:5.2f} of it")


def _named(value: Struct) -> dict[str, Any]:  # Any: whatever JSON holds
    return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever a struct holds
    match value:
        case Struct():
            return _named(value)
        case tuple():
            return [_plain(item) for item in value]
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return None if isinstance(value, msgspec.Raw) else value


def _iso8583_size(request: Request, body: Settle, *, is_packed: bool) -> int:
    """Count the bytes of a 0200: two length bytes, type, two bitmaps, fields, lines in 60 to 63.

    Field numbers and formats of ISO 8583:1987, 4.4. Numbers are two digits a byte when packed;
    lengths of variable fields likewise.
    """

    def numeric(digits: int) -> int:
        return (digits + 1) // 2 if is_packed else digits

    def variable(length_digits: int, size: int) -> int:
        return numeric(length_digits) + size

    def text(value: str) -> int:
        return len(value.encode("gbk"))

    line_sizes = [
        variable(2, text(line.item)) + variable(2, text(line.name))
        + numeric(12) + numeric(11) + numeric(12)
        for line in body.bill.lines
    ]  # fmt: skip
    private_count = -(-sum(line_sizes) // 999)
    fields = (
        numeric(6)  # 3 processing code
        + numeric(12)  # 4 amount
        + numeric(10)  # 7 transmission date and time
        + numeric(6)  # 11 trace number
        + numeric(6)  # 12 local time
        + numeric(8)  # 13 local date, with the century
        + numeric(3)  # 24 function
        + variable(2, numeric(11))  # 32 acquiring institution
        + 12  # 37 retrieval reference number
        + 8  # 41 terminal
        + 15  # 42 institution
        + variable(3, text(request.msgid) + text(request.sign_no) + text(request.operator))  # 48
        + numeric(3)  # 49 currency
        + numeric(3) * 3 + numeric(12) * 3  # 54 additional amounts: fund, account, cash
        + variable(3, len(request.card_session))  # 55 what the card said
        + variable(3, text(body.bill.invoice) + 3 + 2 + 1)  # 59 invoice, insurance, care, account
        + sum(line_sizes) + private_count * numeric(3)  # 60 to 63 and 120 to 123: lines
        + 8  # 64 or 128 authentication code
    )  # fmt: skip
    return 2 + numeric(4) + (16 if is_packed else 32) + fields


if __name__ == "__main__":
    main()
