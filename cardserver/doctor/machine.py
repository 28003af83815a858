"""The machine: its clock, its disk, its room, how many files it lets a process open."""

import ctypes
import os
import resource
import secrets
import shutil
import socket
import statistics
import struct
import time
from pathlib import Path

from cardserver.config import Config
from cardserver.doctor.findings import Finding, fault, fine, warning

_MIB = 1 << 20
FREE_MIN = 256 * _MIB
FREE_WANTED = 2048 * _MIB
FREE_RATIO_WANTED = 0.05
SYNC_SLOW_MS = 20.0
SYNC_HOPELESS_MS = 200.0
_SYNCS = 20
FILES_BESIDE = 256
"""Files that a worker needs beside its connections: the database, logs, libraries, readers."""
SKEW_WARNING_MS = 500.0
SKEW_FAULT_MS = 30_000.0
NTP_TIMEOUT_S = 2.0
_NTP_EPOCH_S = 2_208_988_800
_STA_UNSYNC = 0x0040  # <sys/timex.h>
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """`struct timex` up to its status; the kernel fills in more behind it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def check_kernel_clock() -> Finding:
    """Ask the kernel whether anything keeps its clock right."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        state = -1
    if state in {-1, _TIME_ERROR} or timex.status & _STA_UNSYNC:
        return warning(
            "clock-sync",
            ("系统时钟未与时间源同步", "nothing keeps this machine's clock right"),
            (
                "启用 chrony 或 systemd-timesyncd；容器内请在宿主机上检查",
                "run chrony or systemd-timesyncd; in a container look at its host",
            ),
        )
    return fine("clock-sync", ("系统时钟已同步", "the kernel says that its clock is kept right"))


def check_skew(check: str, skew_ms: float, other: tuple[str, str]) -> Finding:
    """Judge how far this machine's clock is from another."""
    zh, en = other
    text = (f"与{zh}相差 {skew_ms:+.0f} 毫秒", f"{skew_ms:+.0f} ms from {en}")
    advice = (
        "校准时钟：业务日期以它为准",
        "set the clock right: the business date goes by it",
    )
    if abs(skew_ms) >= SKEW_FAULT_MS:
        return fault(check, text, advice)
    if abs(skew_ms) >= SKEW_WARNING_MS:
        return warning(check, text, advice)
    return fine(check, text)


def check_ntp(server: str, port: int) -> Finding:
    """Compare this machine's clock with a time server's answer (RFC 5905, client mode)."""
    try:
        skew_ms = _ask_ntp(server, port)
    except OSError as error:
        return warning(
            "clock-ntp",
            (f"时间服务器 {server} 未应答：{error}", f"time server {server} said nothing: {error}"),
            ("检查网络或改用其他服务器", "check the network, or name another server"),
        )
    return check_skew("clock-ntp", skew_ms, (f"时间服务器 {server} ", f"time server {server}"))


def check_sync_speed(folder: Path) -> Finding:
    """Measure how long the disk takes to make a few bytes durable: each commit waits for that."""
    file = folder / f".doctor-{secrets.token_hex(8)}"
    times_ms: list[float] = []
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(_SYNCS):
                began = time.perf_counter()
                os.write(descriptor, bytes(4096))
                os.fdatasync(descriptor)
                times_ms.append((time.perf_counter() - began) * 1000)
        finally:
            os.close(descriptor)
            file.unlink()
    except OSError as error:
        return fault(
            "disk-sync",
            (
                f"{folder} 无法写入：{error.strerror}",
                f"{folder} can't be written: {error.strerror}",
            ),
            ("检查权限、空间与磁盘", "check its rights, its room and the disk"),
        )
    median_ms = statistics.median(times_ms)
    text = (f"落盘耗时中位数 {median_ms:.2f} 毫秒", f"a sync takes {median_ms:.2f} ms (median)")
    advice = (
        "每次提交都要等待落盘：使用带断电保护的固态盘",
        "every commit waits for it: use a disk with power-loss protection",
    )
    if median_ms >= SYNC_HOPELESS_MS:
        return fault("disk-sync", text, advice)
    return (warning if median_ms >= SYNC_SLOW_MS else _fine_with)("disk-sync", text, advice)


def check_room(folder: Path) -> Finding:
    """Look at the room left where the centre writes."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return fault(
            "disk-room",
            (f"{folder} 不可用：{error.strerror}", f"{folder}: {error.strerror}"),
            ("检查挂载", "check that it is mounted"),
        )
    free_mib = usage.free // _MIB
    text = (f"{folder} 剩余 {free_mib:,} MiB", f"{folder} has {free_mib:,} MiB free")
    advice = (
        "腾出空间：写满后交易将被拒绝",
        "make room: where there is none, settlements are refused",
    )
    if usage.free < FREE_MIN:
        return fault("disk-room", text, advice)
    if usage.free < FREE_WANTED or usage.free < usage.total * FREE_RATIO_WANTED:
        return warning("disk-room", text, advice)
    return fine("disk-room", text)


def check_file_limit(config: Config) -> Finding:
    """Compare how many files a process may open with the connections that it is to hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.listener.connections_max + FILES_BESIDE
    limit = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    text = (
        f"可打开文件数 {limit}，需要 {needed:,}",
        f"a process may open {limit} files and needs {needed:,}",
    )
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return fine("file-limit", text)
    is_raisable = hard == resource.RLIM_INFINITY or hard >= needed
    advice = (
        f"设置 LimitNOFILE={needed}（systemd）或 ulimit -n {needed}，或调低 connections_max",
        f"set LimitNOFILE={needed} (systemd) or ulimit -n {needed}, or lower connections_max",
    )
    return (warning if is_raisable and soft > FILES_BESIDE else fault)("file-limit", text, advice)


def _fine_with(check: str, text: tuple[str, str], _advice: tuple[str, str]) -> Finding:
    return fine(check, text)


def _ask_ntp(server: str, port: int) -> float:
    """Return how far this clock is before the server's, in milliseconds."""
    (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
        server, port, type=socket.SOCK_DGRAM
    )
    with socket.socket(family, kind, protocol) as asking:
        asking.settimeout(NTP_TIMEOUT_S)
        asking.connect(address)
        sent_s = time.time()
        nonce = secrets.token_bytes(8)  # in place of our time, which is nobody's business
        asking.send(bytes([0x23]) + bytes(39) + nonce)
        answer = asking.recv(512)
        heard_s = time.time()
    if len(answer) < 48 or answer[24:32] != nonce or answer[0] & 7 != 4 or not answer[1]:  # noqa: PLR2004 - RFC 5905, 7.3
        raise OSError("its answer is no answer to what was asked")
    seconds, fraction, sent_seconds, sent_fraction = struct.unpack(">IIII", answer[32:48])
    received_s = float(seconds - _NTP_EPOCH_S) + fraction / 2**32
    transmitted_s = float(sent_seconds - _NTP_EPOCH_S) + sent_fraction / 2**32
    return float((sent_s - received_s) + (heard_s - transmitted_s)) / 2 * 1000
