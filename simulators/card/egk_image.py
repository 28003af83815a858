"""A published card image (XML of a card simulator) as a simulated eGK's contents.

Images hold test identities and test keys only. Not here: the card (`egk.py`).
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from protocol.card.profiles.egk import HEALTH_CARE, ROOT, SIGNATURES
from simulators.card.egk import Access, CardFile, EGKImage

_CARD_KEY = "PrK.eGK.AUT_CVC.E256"
_ACCESS_NUMBER = "SK.CAN"
_PIN = "PIN.CH"
_ROOT_KEY = "PuK.RCA"
_ALWAYS = {"EF.CardAccess", "EF.Version2", "EF.ATR"}
_HOLDER = {"EF.GVD"}
_FREE = {
    "EF.GDO",
    "EF.C.CA_eGK.CS.E256",
    "EF.C.eGK.AUT_CVC.E256",
    "EF.PD",
    "EF.VD",
    "EF.StatusVD",
    "EF.Pruefungsnachweis",
}


class ImageError(Exception):
    """A file is no image of a health card."""


def read_image(path: Path) -> EGKImage:
    """Read a card image.

    Raises:
        ImageError: It is none, or lacks something that a card must have.
    """
    try:
        document = ET.parse(path)  # noqa: S314 - a tester's own file, no input of the centre
        objects = dict(_objects(document.getroot()))
        system = document.getroot().find("objectSystem")
        answers = {} if system is None else {each.get("id"): each.text for each in system}
        return EGKImage(
            atr=bytes.fromhex(answers["coldAnswerToReset"] or ""),
            applications={
                ROOT: _files(objects["MF"]),
                HEALTH_CARE: _files(objects["DF.HCA"]),
                SIGNATURES: _files(objects["DF.ESIGN"]),
            },
            card_key=bytes.fromhex(_attribute(objects[_CARD_KEY], "privateKey")),
            can=_digits(_attribute(objects[_ACCESS_NUMBER], "can")),
            pin=_digits(_attribute(objects[_PIN], "secret")),
            roots={
                bytes.fromhex(_attribute(element, "keyIdentifier")): bytes.fromhex(
                    _attribute(element, "P")
                )
                for name, element in objects.items()
                if name.startswith(_ROOT_KEY)
            },
        )
    except (ET.ParseError, KeyError, ValueError) as malformed:
        raise ImageError(f"{path} is no image of a health card: {malformed}") from malformed


def _objects(root: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    for each in root.iter():
        name = each.get("id")
        if each.find("attributes") is not None and name:
            yield name, each


def _files(application: ET.Element) -> tuple[CardFile, ...]:
    files: list[CardFile] = []
    for each in application.findall("children/child"):
        name = each.get("id") or ""
        if each.get("objectType") == "TransparentElementaryFile":
            content = "".join(_attribute(each, "body").split())
            files.append(
                CardFile(
                    fid=int(_attribute(each, "fileIdentifier"), 16),
                    sfi=int(_attribute(each, "shortFileIdentifier") or "0", 16),
                    content=bytes.fromhex(content),
                    access=_access(name),
                )
            )
    return tuple(files)


def _access(name: str) -> Access:
    if name in _ALWAYS:
        return Access.ALWAYS
    if name in _FREE or name.startswith("EF.C.CH."):
        return Access.FREE
    return Access.HOLDER if name in _HOLDER else Access.NEVER


def _attribute(element: ET.Element, name: str) -> str:
    for each in element.findall("attributes/attribute"):
        if each.get("id") == name:
            return (each.text or "").strip()
    return ""


def _digits(block: str) -> str:
    """Take the digits out of a PIN block of format 2."""
    return block[2 : 2 + int(block[1], 16)]
