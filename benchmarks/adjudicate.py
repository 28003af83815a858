"""How long does it take to divide a bill, and does that grow with its lines alone?"""

import time
from importlib.resources import files

from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.policy import Policy, load_policy
from cardserver.benefits.values import NOTHING_BEFORE, BillLine, BillRefusal, Case, Purses

_LINES = (1, 10, 100, 1000)
_BEST_OF = 15
_SAMPLE_LINES = 5_000  # lines decided in one sample, so that the clock's grain does not matter
_CASE = Case("310", "11", "11", 45, 1, 3, "110000", 20260302)
_PURSES = Purses(100_000, 0, uses_account=True)


def main() -> None:
    """Print microseconds a bill, best of several samples, without and with explanation."""
    path = files("cardserver.benefits") / "policies" / "beijing_employees.toml"
    text = path.read_text(encoding="utf-8")
    began = time.perf_counter()
    policy = load_policy(text)
    print(f"policy loaded and checked in {(time.perf_counter() - began) * 1e3:.1f} ms")
    print(f"{'lines':>6} {'us a bill':>10} {'us a line':>10} {'explained, us':>14}")
    for count in _LINES:
        bill = [_line(number) for number in range(count)]
        plain = _microseconds(policy, bill, explain=False)
        explained = _microseconds(policy, bill, explain=True)
        print(f"{count:>6} {plain:>10.1f} {plain / count:>10.2f} {explained:>14.1f}")


def _line(number: int) -> BillLine:
    """Make a line of class A, B or C, every other one above its price limit."""
    item_class = 1 + number % 3
    return BillLine(
        item=f"XA{number:05d}",
        item_class=item_class,
        self_pay_ratio_e4=500 if item_class == 2 else 0,
        price_limit_microyuan=3_000_000 if number % 2 else None,
        price_microyuan=3_500_000,
        quantity_e4=90_000,
        gross_fen=3150,
    )


def _microseconds(policy: Policy, bill: list[BillLine], *, explain: bool) -> float:
    times = max(1, _SAMPLE_LINES // len(bill))
    best = float("inf")
    for _ in range(_BEST_OF):
        began = time.perf_counter()
        for _ in range(times):
            result = adjudicate(policy, _CASE, bill, NOTHING_BEFORE, _PURSES, explain=explain)
            assert not isinstance(result, BillRefusal)
        best = min(best, (time.perf_counter() - began) / times)
    return best * 1e6


if __name__ == "__main__":
    main()
