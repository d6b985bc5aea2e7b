"""Nothing is sent to an address that is not public, however it is written, and whatever DNS says a moment later."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmapi.core.errors import BadSetting
from llmapi.core.lifetime import Lifetime
from llmapi.events.egress import AddressRefused, Answer, Egress, EgressFailed, is_public
from tests.fakes.certificates import server_context
from tests.fakes.receiver import DRIP, RESET, Receiver

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1",
    "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "4000::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::5",
          "::ffff:8.8.8.8"]
HOSTILE = [
    "https://127.0.0.1/", "https://127.0.0.1:8443/", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::]/", "https://0.0.0.0/",
    "https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "https://[fe80::1]/",
    "https://[fe80::1%25lo]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[fec0::1]/",
    "https://10.0.0.1/", "https://192.168.1.1/", "https://172.16.0.1/", "https://100.64.0.1/", "https://224.0.0.1/",
    "https://255.255.255.255/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0x7f.1/",
    "https://017700000001/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.1/", "https://127.0.0.1./",
    "https://0/", "https://127.0.0.0x1/", "https://localhost/", "https://localhost./", "https://foo.localhost/",
    "https://loop.example/", "https://mixed.example/", "https://metadata.google.internal/", "https://six.example/",
    "https://nobody.example/", "https://empty.example/", "http://good.example/", "http://127.0.0.1/",
    "https://good.example:22/", "https://good.example:6379/", "https://good.example:0/", "https://good.example:65536/",
    "https://good.example:80/", "https://good.example:-1/", "https://good.example:/", "https://user@good.example/",
    "https://user:secret@good.example/", "https://good.example@127.0.0.1/", "https://127.0.0.1#@good.example/",
    "https://127.0.0.1\\@good.example/", "https://good.example/#part", "https://good.example\\.evil.example/",
    "https:good.example", "https:///good.example/", "//good.example/", "good.example", "", "https://", "https:// /",
    "ftp://good.example/", "file:///etc/passwd", "gopher://good.example:70/_x", "javascript:alert(1)", "data:,x",
    "unix:///var/run/docker.sock", "https+unix://good.example/", " https://good.example/",
    "https://good.example/\r\nX: y",
    "https://good.example/ HTTP/1.1", "https://good.example/\n", "https://good.example/\x00", "https://good.example\t/",
    "https://gööd.example/", "https://①②⑦.⓪.⓪.①/", "https://good。example/", "https://ｇood.example/",
    "https://-bad.example/",
    "https://.example/", "https://good..example/", "https://[::1/", "https://::1/", "https://[127.0.0.1]/",
    "https://[v1.fe80::a]/", "https://good.example/" + "a" * 2048, "https://" + "a" * 64 + ".example/",
    "https://%31%32%37.0.0.1/",
]
NAMES = {
    "good.example": ["93.184.215.14"],
    "user": ["93.184.215.14"],
    "loop.example": ["127.0.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "foo.localhost": ["127.0.0.1"],
    "mixed.example": ["93.184.215.14", "10.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "six.example": ["2606:4700::1111", "::ffff:127.0.0.1"],
    "empty.example": [],
}


def look_up(host: str, port: int) -> list[str]:
    if host not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")
    return NAMES[host]


def changing(*answers: list[str]) -> Callable[[str, int], list[str]]:
    """A resolver that says something else each time, and keeps to the last."""
    left = list(answers)
    return lambda host, port: left.pop(0) if len(left) > 1 else left[0]


def post(egress: Egress, url: str, seconds: float = 5.0) -> Answer:
    return egress.post(url, {"webhook-id": "m"}, b"{}", Lifetime(seconds))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Receiver, ssl.SSLContext]]:
    """A receiver under TLS, and the context that trusts its certificate (for 127.0.0.1)."""
    context, authority = server_context(tmp_path)
    with Receiver(tls=context) as receiver:
        yield receiver, ssl.create_default_context(cafile=str(authority))


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_one_public_hosts_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address):
    assert is_public(address)


def test_there_are_more_than_sixty_hostile_urls():
    assert len(set(HOSTILE)) == len(HOSTILE) > 60


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_is_refused_when_it_is_named_and_when_it_is_sent_to(url):
    egress = Egress(resolve=look_up)
    assert not egress.allows(url)
    with pytest.raises(AddressRefused):
        post(egress, url)


@pytest.mark.parametrize(
    "url",
    ["https://good.example", "https://good.example/", "HTTPS://Good.Example:8443/a/b?c=d&e=%20", "https://8.8.8.8/x",
     "https://good.example?x=/", "https://[2606:4700::1111]:443/"],
)
def test_a_public_https_url_is_fine(url):
    assert Egress(resolve=look_up).allows(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_listener_on_loopback_never_sees_a_connection(receiver, scheme, host):
    with pytest.raises(EgressFailed):
        post(Egress(resolve=lambda *_: ["127.0.0.1"]), f"{scheme}://{host}:{receiver.port}/")
    assert receiver.connections == 0


def test_a_name_that_turns_to_loopback_after_it_was_checked_is_refused_at_the_next_delivery(receiver):
    egress = Egress(resolve=changing(["93.184.215.14"], ["127.0.0.1"]))
    assert egress.allows("https://rebind.example/")
    with pytest.raises(AddressRefused):
        post(egress, "https://rebind.example/")


def test_a_name_is_looked_up_once_and_its_checked_address_is_connected_to(receiver):
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    egress = Egress(allow=[f"hook.example:{receiver.port}"], resolve=resolve)
    assert post(egress, f"http://hook.example:{receiver.port}/a?b=c").status == 200
    assert asked == [("hook.example", receiver.port)]
    sent = receiver.sent[0]
    assert (sent.path, sent.headers["host"], sent.body) == ("/a?b=c", f"hook.example:{receiver.port}", b"{}")


def test_the_next_address_is_tried_when_one_does_not_accept(receiver):
    egress = Egress(allow=["hook.example"], resolve=lambda *_: ["127.0.0.2", "127.0.0.1"])
    assert post(egress, f"http://hook.example:{receiver.port}/").status == 200


@pytest.mark.parametrize(
    ("allow", "url", "fine"),
    [
        ("hook.example", "http://hook.example:81/", True),
        ("Hook.Example", "http://hook.example/", True),
        ("hook.example:81", "http://hook.example:81/", True),
        ("hook.example:81", "http://hook.example:82/", False),
        ("hook.example:81", "https://hook.example/", False),
        ("hook.example", "http://sub.hook.example/", False),
        ("hook.example", "http://hook.example.evil.example/", False),
        ("[::1]:81", "http://[0:0::1]:81/", True),
        ("127.0.0.1", "http://127.0.0.2/", False),
    ],
)
def test_the_operators_list_allows_what_it_names_and_no_more(allow, url, fine):
    assert Egress(allow=[allow], resolve=lambda *_: ["127.0.0.1"]).allows(url) is fine


@pytest.mark.parametrize("entry", ["", "http://a", "a:b", "a/b", "a:1:2", "[::1", "127.1"])
def test_an_entry_of_that_list_that_is_no_host_stops_the_start(entry):
    with pytest.raises(BadSetting, match="LLMAPI_WEBHOOK_ALLOW"):
        Egress(allow=[entry])


def test_a_certificate_for_the_name_is_wanted(secure):
    receiver, trusting = secure
    egress = Egress(allow=["127.0.0.1", "hook.example"], resolve=lambda *_: ["127.0.0.1"], tls=trusting)
    assert post(egress, receiver.url).status == 200
    with pytest.raises(EgressFailed) as failed:
        post(egress, f"https://hook.example:{receiver.port}/")
    assert failed.value.word == "tls_failed"
    assert len(receiver.sent) == 1


def test_a_certificate_of_a_stranger_is_not_trusted(secure):
    receiver, _ = secure
    with pytest.raises(EgressFailed) as failed:
        post(Egress(allow=["127.0.0.1"]), receiver.url)
    assert (failed.value.word, receiver.sent) == ("tls_failed", [])


def test_the_proxies_of_the_environment_are_not_asked(receiver, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert post(Egress(allow=["127.0.0.1"]), receiver.url).status == 200


def test_a_redirect_is_an_answer_like_others(receiver):
    receiver.default = (302, {"Location": "http://127.0.0.1:9/"}, b"")
    assert post(Egress(allow=["127.0.0.1"]), receiver.url) == Answer(302, None)


def test_a_connection_that_is_reset_is_no_answer(receiver):
    receiver.default = RESET
    with pytest.raises(EgressFailed) as failed:
        post(Egress(allow=["127.0.0.1"]), receiver.url)
    assert failed.value.word == "no_answer"


@pytest.mark.parametrize(
    "answer",
    [b"", b"\r\n\r\n", b"HELLO\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 999],
)
def test_what_is_not_http_is_no_answer(receiver, answer):
    receiver.default = answer
    with pytest.raises(EgressFailed) as failed:
        post(Egress(allow=["127.0.0.1"]), receiver.url)
    assert failed.value.word == "no_answer"


def test_the_total_time_holds_under_tls_too(secure):
    receiver, trusting = secure
    receiver.gate.clear()
    with pytest.raises(EgressFailed) as failed:
        post(Egress(allow=["127.0.0.1"], tls=trusting), receiver.url, 0.3)
    assert failed.value.word == "timeout"


def test_a_receiver_that_answers_drop_by_drop_has_the_total_time_and_no_more(receiver):
    receiver.default = DRIP
    with pytest.raises(EgressFailed) as failed:
        post(Egress(allow=["127.0.0.1"]), receiver.url, 0.3)
    assert failed.value.word == "timeout"
