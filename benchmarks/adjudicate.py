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
    """Print microseconds a bill, best of several samples, without and with explanation.

    Of the processor's time, so that what else the machine does does not count.
    """
    path = files("cardserver.benefits") / "policies" / "beijing_employees.toml"
    text = path.read_text(encoding="utf-8")
    began = time.perf_counter()
    policy = load_policy(text)
    print(f"policy loaded and checked in {(time.perf_counter() - began) * 1e3:.1f} ms")
    print(f"{'lines':>6} {'us a bill':>10} {'a line':>8} {'a further':>10} {'explained':>10}")
    times: list[tuple[int, float]] = []
    for count in _LINES:
        bill = [_line(number) for number in range(count)]
        plain = _microseconds(policy, bill, explain=False)
        explained = _microseconds(policy, bill, explain=True)
        more = ""
        if times:
            fewer, before = times[-1]
            more = f"{(plain - before) / (count - fewer):.2f}"
        times.append((count, plain))
        print(f"{count:>6} {plain:>10.1f} {plain / count:>8.2f} {more:>10} {explained:>10.1f}")
    # Linear in lines: a further line of a long bill takes what it takes of a short one.
    (first, of_first), _, (middle, of_middle), (last, of_last) = times
    short = (of_middle - of_first) / (middle - first)
    long = (of_last - of_middle) / (last - middle)
    print(f"a further line beyond {middle} takes {long / short:.2f} of one below")


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
        began = time.process_time()
        for _ in range(times):
            result = adjudicate(policy, _CASE, bill, NOTHING_BEFORE, _PURSES, explain=explain)
            assert not isinstance(result, BillRefusal)
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


if __name__ == "__main__":
    main()
