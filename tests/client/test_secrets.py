"""What is masked, and what must not be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import AsyncHTTPConnection, BadHeader, HTTPStatusError, ReadTimeout, Request, TooManyRedirects
from aiohttpconn.secrets import (
    is_secret,
    masked_body,
    masked_field,
    masked_fields,
    masked_form,
    masked_json,
    masked_text,
    masked_url,
)
from aiohttpconn.url import parse
from aiohttpconn.wire.head import parse_fields
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from aiohttpconn import Client
    from aiohttpconn.secrets import Place


@pytest.mark.parametrize(
    "name",
    [
        *("token", "access_token", "X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Credential", "sig", "Signature"),
        *("key", "api_key", "apikey", "apiKey", "api-key", "AWSAccessKeyId", "X-Goog-Signature", "password", "passwd"),
        *("client_secret", "csrfToken", "auth", "jwt", "sessionid", "subscription-key", "client_assertion"),
        *("tokens", "passwordConfirm", "refresh_token_value", "password[0]", "code_verifier", "X-Session-Id-2"),
        *("Authentication-Info", "Signature-Input", "max_tokens_password"),
        *("device_code", "user_code", "otp", "totp", "pin", "app_key", "application_key", "hmac", "accessCode"),
        *("SAMLResponse", "SAMLRequest", "passcode", "X-Hub-Signature-256", "DPoP", "master_key"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "page",
            "keyword",
            "monkey",
            "author",
            "design",
            "tokens_left",
            "X-Amz-Date",
            "X-Amz-Expires",
            "q",
            "",
            "keys",
        ),
        *(
            "token_type",
            "token_type_hint",
            "tokenUrl",
            "token_endpoint",
            "max_tokens",
            "maxTokens",
            "_",
            "WWW-Authenticate",
        ),
    ],
)
def test_names_of_what_may_be_seen(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/", "http://h/"),
        ("http://joe:pw@h/", "http://h/"),
        ("http://joe@h/?a=b@c", "http://h/?a=b@c"),
        ("//joe:pw@h/x", "//h/x"),
        ("/x@y?a@b", "/x@y?a@b"),
        ("http://h/a%20b?a=1&&b=%41&token=x+y&c", "http://h/a%20b?a=1&&b=%41&token=[hidden]&c"),
        ("http://h/?access%5Ftoken=x", "http://h/?access%5Ftoken=[hidden]"),
        ("http://h/?a=1&token=x;b=2", "http://h/?a=1&token=[hidden]"),
        ("http://h/?token=a=b", "http://h/?token=[hidden]"),
        ("http://h/?token=", "http://h/?token=[hidden]"),
        ("http://h/?a=1#access_token=x&state=y", "http://h/?a=1#access_token=[hidden]&state=y"),
        ("http://h/#access_token=x", "http://h/#access_token=[hidden]"),
        ("http://h/token=x", "http://h/token=x"),
        ("http://h/#token=x?b=1", "http://h/#token=[hidden]"),
        ("http://h/#/cb?token=x&b=1", "http://h/#/cb?token=[hidden]&b=1"),
        ("http://h/?next=/a?b=1?token=x&c=1#d", "http://h/?next=/a?b=1?token=[hidden]&c=1#d"),
        ("http://h/?a;token=x", "http://h/?a;token=[hidden]"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_a_parsed_url_and_another_mask() -> None:
    url = parse("http://joe:pw@h/?sig=1")
    assert masked_url(url, "X", "X:X@") == "http://X:X@h/?sig=X"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("authorization", "Basic am9lOnB3", "Basic [hidden]"),
        ("Authorization", "am9lOnB3", "[hidden]"),
        ("Proxy-Authorization", 'Digest username="joe", response="1"', "Digest [hidden]"),
        ("Cookie", "a=1; b=2;c", "a=[hidden]; b=[hidden]; [hidden]"),
        ("Set-Cookie", "a=1=2; Path=/; Secure", "a=[hidden]; Path=/; Secure"),
        ("X-Api-Key", "abc", "[hidden]"),
        ("X-Auth-Token", "abc", "[hidden]"),
        ("X-Amz-Security-Token", "abc", "[hidden]"),
        ("Location", "https://h/?code=1&token=2", "https://h/?code=[hidden]&token=[hidden]"),
        ("Referer", "https://joe:pw@h/", "https://h/"),
        ("Idempotency-Key", "abc", "abc"),
        ("Sec-WebSocket-Key", "abc", "abc"),
        ("Authentication-Info", 'nextnonce="abc"', "[hidden]"),
        ("Authentication", "Bearer abc", "Bearer [hidden]"),
        ("Link", '<//h/?a=2&sig=x>; rel="next", </?sig=x>', '<//h/?a=2&sig=[hidden]>; rel="next", </?sig=[hidden]>'),
        ("Refresh", "5; url=https://joe:pw@h/?token=x", "5; url=https://h/?token=[hidden]"),
        ("Destination", "https://joe:pw@h/a", "https://h/a"),
        ("WWW-Authenticate", 'Basic realm="x"', 'Basic realm="x"'),
        ("Accept", "*/*", "*/*"),
    ],
)
def test_fields(name: str, value: str, shown: str) -> None:
    assert masked_field(name, value) == shown


@pytest.mark.parametrize(
    "name",
    [
        *("X-Functions-Key", "DD-APPLICATION-KEY", "X-Master-Key", "X-Admin-Key", "X-Service-Key", "X-User-Key"),
        *("X-Access-Code", "X-Hub-Signature-256", "X-Otp", "DPoP", "Fastly-Key", "X-Key", "X-Verification-Code"),
    ],
)
def test_what_a_field_calls_a_key_or_code_is_masked(name: str) -> None:
    assert masked_field(name, "s3cret") == "[hidden]"


@pytest.mark.parametrize(
    "name",
    [
        *("Surrogate-Key", "X-Cache-Key", "Idempotency-Key", "Sec-WebSocket-Key", "X-Partition-Key", "Public-Key"),
        *("X-Status-Code", "X-Error-Code", "X-Zip-Code", "X-Country-Code", "Postal-Code", "X-Barcode", "Keyword"),
    ],
)
def test_keys_and_codes_that_may_be_seen(name: str) -> None:
    assert masked_field(name, "abc") == "abc"


def test_a_code_is_one_of_oauth_as_a_parameter_and_of_an_error_in_json() -> None:
    assert masked_url("/cb?code=x&ticket=x&state=y&zip_code=1&error_code=2&country_code=3&status_code=4") == (
        "/cb?code=[hidden]&ticket=[hidden]&state=y&zip_code=1&error_code=2&country_code=3&status_code=4"
    )
    assert masked_json({"code": "gone", "ticket": "A-1"}) == {"code": "gone", "ticket": "A-1"}


def test_fields_keep_order_and_repeats() -> None:
    pairs = [("Set-Cookie", "a=1"), ("X", "1"), ("set-cookie", "b=2")]
    assert masked_fields(pairs) == [("Set-Cookie", "a=[hidden]"), ("X", "1"), ("set-cookie", "b=[hidden]")]


def test_texts_with_urls() -> None:
    text = "no answer [GET https://joe:pw@h/a?key=1&b=2] (see 'http://i/?sig=3')"
    assert masked_text(text) == "no answer [GET https://h/a?key=[hidden]&b=2] (see 'http://i/?sig=[hidden]')"


def test_forms_and_json() -> None:
    assert masked_form("user=joe&password=p+w") == "user=joe&password=[hidden]"
    form = "application/x-www-form-urlencoded; charset=utf-8"
    assert masked_body(form, "user=joe&password=p+w") == "user=joe&password=[hidden]"
    document = {"user": "joe", "nested": [{"access_token": "abc", "token": None, "ok": True}], "key": {"a": 1}}
    shown = {"user": "joe", "nested": [{"access_token": "[hidden]", "token": None, "ok": True}], "key": {"a": 1}}
    assert json.loads(masked_body("application/problem+json", json.dumps(document))) == shown


def test_what_stands_under_a_secret_name_is_secret_as_far_as_it_is_text() -> None:
    document = {"tokens": ["abc", 1, {"id": "abc", "": ""}], "credentials": {"user": "joe", "uses": 2, "ok": None}}
    shown = {
        "tokens": ["[hidden]", 1, {"id": "[hidden]", "": ""}],
        "credentials": {"user": "[hidden]", "uses": 2, "ok": None},
    }
    assert json.loads(masked_body("application/json", json.dumps(document))) == shown


@pytest.mark.parametrize(
    ("media_type", "body", "shown"),
    [
        ("application/x-www-form-urlencoded", b"password=a#b&c=\xff&pin=1", b"password=[hidden]&c=\xff&pin=[hidden]"),
        ("application/json", b'{"a":"\\ud800", "token": "abc"}', b'{"a": "\\ud800", "token": "[hidden]"}'),
        ("application/json", '\ufeff{"token": "ü"}'.encode(), b'{"token": "[hidden]"}'),
        ("application/json", '{"token": "ü"}'.encode("utf-16"), b'{"token": "[hidden]"}'),
        ("application/json", '{"token": "ü"}'.encode("utf-32"), b'{"token": "[hidden]"}'),
        ("application/json", '{"a": "ü", "token": "ü"}'.encode("latin-1"), b'{"a": "\xfc", "token": "[hidden]"}'),
        ("", b' {"token": "abc"}', b' {"token": "[hidden]"}'),
        ("text/json", b'[{"token": "abc"}]', b'[{"token": "[hidden]"}]'),
        ("application/x-ndjson", b'{"pin":1}\n\n{"a" :2}\r\n', b'{"pin": "[hidden]"}\n\n{"a" :2}\r\n'),
        ("application/json-seq", b'\x1e{"pin":"1"}\n\x1e{"a":2}\n', b'\x1e{"pin": "[hidden]"}\n\x1e{"a":2}\n'),
        ("application/json", b'{"a":1, "token" : "ab\\"c', b'{"a":1, "token" : "[hidden]'),
        ("application/json", b'{"token":"abc"}\n{"token":"de', b'{"token": "[hidden]"}\n{"token":"[hidden]'),
        ("application/json", b"\xff", b"\xff"),
        ("image/png", b"\x89PNG\0\0", b"\x89PNG\0\0"),
        ("application/octet-stream", b"\0\0\0\0", b"\0\0\0\0"),
        ("text/plain", b"token=\xff", b"token=\xff"),
    ],
)
def test_bodies_in_bytes(media_type: str, body: bytes, shown: bytes) -> None:
    assert masked_body(media_type, body) == shown


PARTS = (
    b"preamble\r\n--b\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n"
    b'--b\r\ncontent-disposition: form-data; filename="a"; name=f\r\nContent-Type: application/json\r\n\r\n%s\r\n'
    b"--b--\r\n"
)


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=b", 'Multipart/Form-Data; a=c; Boundary="b"'])
def test_parts_of_forms(media_type: str) -> None:
    body = PARTS % (b'"password"', b"s3\r\ncret\xff", b'{"a":1,"token":"x"}')
    shown = PARTS % (b'"password"', b"[hidden]", b'{"a": 1, "token": "[hidden]"}')
    assert masked_body(media_type, body) == shown
    text = body.decode(errors="surrogateescape")
    assert masked_body(media_type, text) == shown.decode()
    other = PARTS % (b'"user"', b"joe", b"\xff{")
    assert masked_body(media_type, other) == other
    assert masked_body("multipart/form-data", body) == body


def test_numbers_are_secret_where_the_name_is_a_secrets_own() -> None:
    assert masked_json({"token": 1, "pwd": 1.5, "total_tokens": 1}) == {
        "token": "[hidden]",
        "pwd": "[hidden]",
        "total_tokens": 1,
    }


def test_another_judge_is_asked_about_everything_that_is_named() -> None:
    def judge(name: str, value: object, place: Place) -> bool:
        return name == "own" and value != "2"

    fields = [("own", "1"), ("token", "1"), ("Location", "/?own=1&own=2")]
    assert masked_fields(fields, "X", judge) == [("own", "X"), ("token", "1"), ("Location", "/?own=X&own=2")]
    assert masked_json({"own": ["a", 1], "token": {"own": 1}}, "X", judge) == {"own": ["X", 1], "token": {"own": "X"}}


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("application/json", '{"a" :1.0}'),
        ("application/json", "[" * 100_000),
        ("text/plain", "token=abc"),
        ("", '{"a": 1, "b": "\\ud800"}'),
        ("text/html", '<a data-x="{}">'),
        ("application/json", "{" * 100_000 + '"' * 100_001),
        ("application/json", "{" + '"\\' * 100_000),
        ("multipart/form-data; boundary=\ud800", "\ud800"),
    ],
)
def test_other_bodies_stay_as_they_are(media_type: str, text: str) -> None:
    assert masked_body(media_type, text) == text


def test_urls_and_requests_show_no_secrets_of_theirs() -> None:
    url = parse("http://joe:pw@example.org/a?page=2&token=s3cret#f")
    assert url.shown == "http://example.org/a?page=2&token=[hidden]#f"
    assert repr(url) == "URL('http://joe:[hidden]@example.org/a?page=2&token=[hidden]#f')"
    assert repr(Request("GET", url)) == "<Request GET http://example.org/a?page=2&token=[hidden]#f>"


async def test_errors_show_no_secrets_of_a_query(client: Client, http_server: OriginServer) -> None:
    response = await client.get(f"{http_server.url}/status/403?api_key=s3cret&X-Amz-Signature=s3cret&page=7")
    with pytest.raises(HTTPStatusError) as caught:
        response.raise_for_status()
    assert "s3cret" not in str(caught.value)
    assert "page=7" in str(caught.value)
    http_server.routes["/loop"] = Reply(status=302, fields=[("Location", "/loop?token=s3cret")])
    with pytest.raises(TooManyRedirects) as many:
        await client.get(f"{http_server.url}/loop?token=s3cret")
    assert "s3cret" not in str(many.value)
    async with AsyncHTTPConnection("127.0.0.1", http_server.port, timeout=0.05) as conn:
        await conn.request("GET", "/hold?token=s3cret")
        with pytest.raises(ReadTimeout) as late:
            await conn.getresponse()
    assert "s3cret" not in str(late.value)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"Set-Cookie : sid=s3cret; Path=/", "Set-Cookie : sid=[hidden]; Path=/"),
        (b"X-Api-Key: s3\0cret", "X-Api-Key:[hidden]"),
        (b"X-Other :  a", "X-Other :  a"),
    ],
)
def test_a_malformed_field_is_shown_without_its_secret(line: bytes, shown: str) -> None:
    with pytest.raises(BadHeader) as caught:
        parse_fields(line + b"\r")
    assert caught.value.line == shown
    assert "s3" not in str(caught.value)
