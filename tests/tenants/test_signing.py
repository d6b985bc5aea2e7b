"""Signed requests: who signed is known, whatever was changed is refused, nothing is taken twice."""

import re
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from llmapi.core.errors import Forbidden, NotFound, Overloaded, Unauthenticated
from llmapi.tenants.nonces import Nonces
from llmapi.tenants.sealing import Seal
from llmapi.tenants.signing import Signatures, SigningSecrets
from tests.servers.databases import away
from tests.tenants.signing import COVERED, KEY, NOW, Sent, signed, signed_simply

WAYS = pytest.mark.parametrize("sign", [signed, signed_simply])
OPERATORS = Fernet.generate_key().decode()
FIELDS = ("method", "host", "target", "body", "headers")


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def engine(database):
    return database.open()


@pytest.fixture
def secrets(engine):
    return SigningSecrets(engine, Seal([OPERATORS]))


@pytest.fixture
def secret(secrets):
    return secrets.issue("acme", KEY)


@pytest.fixture
def signatures(engine, secrets):
    return Signatures(secrets, Nonces(engine), now=lambda: NOW)


def refused(signatures: Signatures, sent: Sent) -> bool:
    with pytest.raises(Unauthenticated, match="^the signature is not valid$"):
        signatures.key_id(sent.received())
    return True


@WAYS
@pytest.mark.parametrize("body", [b"", b'{"a": 1}', bytes(range(256)), b"\r\n\x00"])
@pytest.mark.parametrize("target", ["/", "/v1/a%2Fb%20c/%C3%A9", "/v1/x?", "/v1/x?a=%2F&a=b+c&d", "//v1/../x"])
def test_a_signed_request_tells_whose_it_is(signatures, secret, sign, body, target):
    sent = sign(Sent(target=target, body=body), secret)
    assert signatures.key_id(sent.received()) == KEY


@WAYS
def test_host_names_are_the_same_in_capitals(signatures, secret, sign):
    sent = sign(Sent(host="API.example.com:8443"), secret)
    assert signatures.key_id(replace(sent, host="api.EXAMPLE.com:8443").received()) == KEY


def test_without_a_signature_nobody_has_signed(signatures):
    assert signatures.key_id(Sent().received()) is None


@WAYS
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_is_refused_in_the_same_words_and_spends_no_nonce(engine, secrets, sign, data):
    signatures = Signatures(secrets, Nonces(engine), now=lambda: NOW)
    sent = sign(Sent(), secrets.issue("acme", KEY), nonce=uuid4().hex)
    assert refused(signatures, tampered(sent, data))
    assert signatures.key_id(sent.received()) == KEY


def tampered(sent: Sent, data: st.DataObject) -> Sent:
    """Return it with one character of something covered changed."""
    field = data.draw(st.sampled_from([*FIELDS[:-1], *sent.headers]))
    if field == "body":
        at = data.draw(st.integers(0, len(sent.body) - 1))
        return replace(sent, body=sent.body[:at] + bytes([sent.body[at] ^ 1]) + sent.body[at + 1 :])
    was = sent.headers.get(field) or getattr(sent, field)
    first = re.search(r'(?<=:)|(?<=v1=)|(?<=created=)', was) if field in sent.headers else None
    at = data.draw(st.integers(first.end() if first else 0, len(was) - 1))
    if field == "Signature":
        at = min(at, len(was) - 4)  # the last bits of base64 mean nothing
    letters = st.characters(codec="ascii", categories=["L", "N", "P"])
    other = data.draw(letters.filter(lambda letter: letter.lower() != was[at].lower()))
    changed = was[:at] + other + was[at + 1 :]
    return sent.with_headers(**{field: changed}) if field in sent.headers else replace(sent, **{field: changed})


@WAYS
@pytest.mark.parametrize("away", [-300, 300])
def test_a_clock_may_differ_by_five_minutes_and_no_more(signatures, secret, sign, away):
    at = NOW + timedelta(seconds=away)
    assert signatures.key_id(sign(Sent(), secret, at=at).received()) == KEY
    beyond = at + timedelta(seconds=1 if away > 0 else -1)
    assert refused(signatures, sign(Sent(), secret, at=beyond, nonce="nonce-two"))


@WAYS
def test_a_request_is_taken_once_whichever_process_it_comes_to(database, signatures, secret, sign):
    sent, other = sign(Sent(), secret), database.open()
    elsewhere = Signatures(SigningSecrets(other, Seal([OPERATORS])), Nonces(other), now=lambda: NOW)
    assert elsewhere.key_id(sent.received()) == KEY
    assert refused(signatures, sent) and refused(elsewhere, sent)


@WAYS
def test_an_unknown_key_and_a_wrong_secret_are_refused_alike(signatures, secret, sign):
    assert refused(signatures, sign(Sent(), secret, key="nobodys"))
    assert refused(signatures, sign(Sent(), "las_guessed"))


@WAYS
def test_when_nonces_cannot_be_kept_the_request_is_not_let_through(database, secrets, secret, sign):
    assert secrets.secret_of(KEY)
    signatures = Signatures(secrets, Nonces(database.open(patience=0.2)), now=lambda: NOW)
    with database.held_up("signature_nonces"), pytest.raises(Overloaded):
        signatures.key_id(sign(Sent(), secret).received())


@WAYS
def test_when_secrets_cannot_be_read_nobody_is_told_that_the_signature_is_wrong(engine, secrets, signatures, sign):
    sent = sign(Sent(), secrets.issue("acme", KEY))
    away(engine)
    with pytest.raises(Overloaded):
        signatures.key_id(sent.received())


@WAYS
@pytest.mark.parametrize("nonce", ["short", "n" * 129, "with space", ""])
def test_a_nonce_that_is_none_is_refused(signatures, secret, sign, nonce):
    assert refused(signatures, sign(Sent(), secret, nonce=nonce))


def test_two_signatures_on_one_request_are_refused(signatures, secret):
    assert refused(signatures, signed_simply(signed(Sent(), secret), secret))


@pytest.mark.parametrize("missing", COVERED)
def test_a_standard_signature_must_cover_everything(signatures, secret, missing):
    covered = tuple(each for each in COVERED if each != missing)
    assert refused(signatures, signed(Sent(), secret, covered=covered))


def test_a_standard_signature_must_cover_the_body(signatures, secret):
    assert refused(signatures, signed(Sent(), secret, digest=False))
    uncovered = signed(Sent(), secret, digest=False)
    digest = signed(Sent(), secret).headers["Content-Digest"]
    assert refused(signatures, uncovered.with_headers(**{"Content-Digest": digest}))


def test_a_standard_signature_needs_a_nonce_and_may_end_earlier(signatures, secret):
    assert refused(signatures, signed(Sent(), secret, nonce=None))
    at = NOW - timedelta(seconds=20)
    assert refused(signatures, signed(Sent(), secret, at=at, expires=timedelta(seconds=19)))
    assert signatures.key_id(signed(Sent(), secret, at=at, expires=timedelta(seconds=20)).received()) == KEY


def test_a_host_cannot_stand_in_for_a_part_of_the_path(signatures, secret):
    sent = signed(Sent(host="h", target="/admin/x", body=b""), secret, covered=("@method", "@authority", "@path"))
    assert refused(signatures, replace(sent, host="h/admin", target="/x"))
    assert refused(signatures, replace(sent, host="someone@h"))


def test_what_cannot_be_parsed_is_refused(signatures):
    odd = {"Signature-Input": "a=1", "Signature": "a=:aaaa:"}
    for headers in ({"Signature": "?"}, odd, {"X-Llmapi-Signature": "é"}):
        assert refused(signatures, Sent(headers=headers))


def test_a_secret_is_not_in_the_database_as_it_is(engine, secret):
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT * FROM signing_secrets")).one()
    assert secret not in str(kept) and (kept.key_id, kept.tenant) == (KEY, "acme")


def test_a_new_secret_replaces_the_old_one_everywhere_within_five_seconds(database, secrets, secret):
    clock = Ticks()
    elsewhere = SigningSecrets(database.open(), Seal([OPERATORS]), clock=clock)
    assert elsewhere.secret_of(KEY) == secret.encode()
    newer = secrets.issue("acme", KEY)
    assert secrets.secret_of(KEY) == newer.encode() != secret.encode()
    clock.now = 5.0
    assert elsewhere.secret_of(KEY) == newer.encode()


def test_a_revoked_secret_signs_no_more(signatures, secrets, secret):
    assert not secrets.revoke("another", KEY)
    assert signatures.key_id(signed_simply(Sent(), secret).received()) == KEY
    assert secrets.revoke("acme", KEY)
    assert refused(signatures, signed_simply(Sent(), secret, nonce="nonce-two"))


def test_another_tenant_cannot_take_a_keys_place(secrets, secret):
    with pytest.raises(NotFound):
        secrets.issue("another", KEY)
    assert secrets.secret_of(KEY) == secret.encode()


def test_without_a_key_of_the_operator_no_secret_is_issued(engine):
    with pytest.raises(Forbidden):
        SigningSecrets(engine, Seal()).issue("acme", KEY)


def test_all_secrets_can_be_sealed_anew_so_that_the_old_operators_key_can_go(engine, secrets, secret):
    newest = Fernet.generate_key().decode()
    secrets.issue("another", "theirs")
    with engine.begin() as connection:
        connection.execute(text("UPDATE signing_secrets SET secret = 'x' WHERE key_id = 'theirs'"))
    assert SigningSecrets(engine, Seal([newest, OPERATORS])).seal_anew() == 1
    assert SigningSecrets(engine, Seal([newest])).secret_of(KEY) == secret.encode()


def test_a_secret_moved_to_another_key_in_the_database_is_worth_nothing(engine, secrets, secret):
    secrets.issue("another", "theirs")
    with engine.begin() as connection:
        moved = "UPDATE signing_secrets SET secret = (SELECT secret FROM signing_secrets WHERE key_id = '01kkey')"
        connection.execute(text(moved))
    assert secrets.secret_of("theirs") is None
