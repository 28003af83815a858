"""What the centre talks to: its ports, its card readers, its message broker."""

import socket
import ssl
import urllib.request
from http import HTTPStatus

from cardserver.config import Config
from cardserver.doctor.findings import Finding, fault, fine, warning
from terminals.readers.channel import ReaderError
from terminals.readers.pcsc import list_readers

_TIMEOUT_S = 3.0


def check_ports(config: Config) -> list[Finding]:
    """Find out who has the ports: nobody, this centre, or a stranger."""
    is_serving = _is_serving(config)
    wanted = [
        ("port", config.listener.host, config.listener.port),
        ("observe-port", config.observe.host, config.observe.port),
    ]
    return [
        _check_port(check, host, port, is_serving=is_serving)
        for check, host, port in wanted
        if port
    ]


async def check_readers(config: Config) -> Finding:
    """Ask the card service for the readers that are configured."""
    names = config.readers.names
    if not names:
        return fine("readers", ("中心未配读卡器", "no reader is configured at the centre"))
    try:
        present = await list_readers()
    except ReaderError as error:
        return fault(
            "readers",
            (f"读卡服务不可用：{error}", f"the card service does not answer: {error}"),
            ("启动 pcscd 并检查权限", "start pcscd, and check that this user may use it"),
        )
    absent = [name for name in names if name not in present]
    if absent:
        return fault(
            "readers",
            (f"读卡器缺失：{', '.join(absent)}", f"readers are absent: {', '.join(absent)}"),
            (
                f"接上读卡器或改正名称；现有：{', '.join(present) or '无'}",
                f"plug them in or correct the names; there are: {', '.join(present) or 'none'}",
            ),
        )
    return fine("readers", (f"读卡器 {len(names)} 台就绪", f"{len(names)} readers are present"))


def check_broker(config: Config) -> Finding:
    """Shake hands with the message broker as the centre would."""
    mqtt = config.mqtt
    if not mqtt.host:
        return fine("broker", ("未配置消息代理", "no message broker is configured"))
    where = f"{mqtt.host}:{mqtt.port}"
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(config.path(mqtt.ca_file))
        context.load_cert_chain(config.path(mqtt.certificate_file), config.path(mqtt.key_file))
        with (
            socket.create_connection((mqtt.host, mqtt.port), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=mqtt.host),
        ):
            pass
    except OSError as error:  # ssl.SSLError is one
        return warning(
            "broker",
            (f"消息代理 {where} 不可用：{error}", f"the message broker {where}: {error}"),
            (
                "检查代理、地址与证书；交易不受影响，仅无通知",
                "check the broker, its address and certificates; settlements go on without news",
            ),
        )
    return fine("broker", (f"消息代理 {where} 可用", f"the message broker {where} answers"))


def _is_serving(config: Config) -> bool:
    """Tell whether this configuration's centre is up, as its own page says."""
    url = f"http://{config.observe.host}:{config.observe.port}/healthz"
    if not config.observe.port:
        return False
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, ValueError):  # urllib.error.URLError is the former
        return False


def _check_port(check: str, host: str, port: int, *, is_serving: bool) -> Finding:
    where = f"{host}:{port}"
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, protocol) as trying:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trying.bind(address)
            trying.listen(1)
    except OSError as error:
        if is_serving:
            return fine(check, (f"{where} 由本中心使用", f"{where} is this centre's, which runs"))
        return fault(
            check,
            (f"{where} 无法使用：{error.strerror}", f"{where} can't be used: {error.strerror}"),
            (
                f"结束占用者（ss -ltnp 'sport = :{port}'）或改端口",
                f"end whoever has it (ss -ltnp 'sport = :{port}'), or choose another port",
            ),
        )
    return fine(check, (f"{where} 空闲", f"{where} is free"))
