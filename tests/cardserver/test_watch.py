"""What is watched of the centre's own files."""

import asyncio

from cryptography import x509

from cardserver.config import load_config
from cardserver.watch import expiries
from simulators.centre_process import City
from simulators.mosquitto import make_broker


def test_every_certificate_of_the_centre_is_watched(city: City) -> None:
    asyncio.run(make_broker(city))
    with city.config_file.open("a", encoding="utf-8") as file:
        file.write('\n[console]\ncertificate_file = "broker/centre.crt"\n')
    ends = expiries(load_config(city.config_file))
    files = {
        "listener": "server.crt",
        "terminal_authority": "authority/authority.crt",
        "console": "broker/centre.crt",
        "broker_client": "broker/centre.crt",
        "broker_authority": "authority/authority.crt",
    }
    assert ends == {
        name: min(
            one.not_valid_after_utc.timestamp()
            for one in x509.load_pem_x509_certificates((city.directory / file).read_bytes())
        )
        for name, file in files.items()
    }


def test_a_certificate_that_is_not_there_hides_no_other(city: City) -> None:
    config = load_config(city.config_file)
    config.path(config.listener.certificate_file).unlink()
    assert expiries(config).keys() == {"terminal_authority"}
