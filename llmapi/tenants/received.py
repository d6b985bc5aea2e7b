"""A request as it came, byte for byte, and what a signature on it claims."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SKEW = 300  # seconds a signature's time may differ from ours, either way
NAME = re.compile(r"[!-~]{1,64}")  # of a key
NONCE = re.compile(r"[!-~]{8,128}")
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")  # no more: it goes into a URL

SecretOf = Callable[[str], bytes]  # by key id; of a key that has none one that fits nothing


class SignatureWrong(Exception):
    """The signature does not hold; the reason is for nobody but the developer."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request before anything in it was decoded."""

    method: str
    scheme: str
    host: str  # the Host header
    target: str  # of the request line: path and query
    headers: Mapping[str, str]  # by lower-case name
    body_hash: Callable[[], bytes]  # reads the body: SHA-256 of it

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signature that holds says."""

    key_id: str
    nonce: str


def check_names(key_id: object, nonce: object) -> None:
    """Raise SignatureWrong for what cannot be a key's id or a nonce."""
    if not (isinstance(key_id, str) and NAME.fullmatch(key_id)):
        raise SignatureWrong("no key id")
    if not (isinstance(nonce, str) and NONCE.fullmatch(nonce)):
        raise SignatureWrong("no nonce of 8 to 128 characters")


def check_target(received: Received) -> None:
    """Raise SignatureWrong for a host or a target that could be read in two ways."""
    if not HOST.fullmatch(received.host) or not received.target.startswith("/") or "#" in received.target:
        raise SignatureWrong("an odd host or target")
