"""Content codings: the shared corpus, bounds against bombs, what is installed, and generated round trips."""

from __future__ import annotations

import base64
import gzip
import hashlib
import random
import subprocess
import sys
import tracemalloc
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttpconn.errors import BodyTooLarge, DecodingError
from aiohttpconn.wire import codings
from aiohttpconn.wire.codings import MAX_CHUNK, accept_encoding, decode_all, decoder_for
from tests.corpus import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIB = 1 << 20
TEXT = b"The quick brown fox jumps over the lazy dog. " * 40


def deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def br(data: bytes) -> bytes:
    return pytest.importorskip("brotli").compress(data, quality=5)


def zstd(data: bytes) -> bytes:
    return pytest.importorskip(codings._ZSTD).compress(data)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw": deflate,
    "br": br,
    "zstd": zstd,
}


def values_for(names: Sequence[str]) -> list[str]:
    """Content-Encoding for what these encoders made: raw deflate is labelled as zlib's is."""
    return ["deflate" if name == "raw" else name for name in names]


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forget which libraries were found, before and after."""
    codings._library.cache_clear()
    accept_encoding.cache_clear()
    yield
    codings._library.cache_clear()
    accept_encoding.cache_clear()


@pytest.fixture(params=["isal", "zlib"])
def inflating(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, fresh: None) -> str:
    """Run with isal, and as where it cannot be imported."""
    if request.param == "isal":
        pytest.importorskip("isal.isal_zlib")
        assert codings._inflating() is not zlib
    else:
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
        assert codings._inflating() is zlib
    return str(request.param)


def whole(data: bytes) -> list[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def odd_pieces(data: bytes) -> list[bytes]:
    dice = random.Random(len(data))
    pieces, start = [], 0
    while start < len(data):
        size = dice.choice((0, 1, 3, 17, 300, 4099))  # empty ones among them
        pieces.append(data[start : start + size])
        start += size
    return pieces


SPLITS = [whole, byte_by_byte, odd_pieces]


def stream(values: Sequence[str], pieces: Sequence[bytes]) -> tuple[bytes, DecodingError | None]:
    """What a streaming reader gets: the bytes, and the error that it ends with."""
    got = bytearray()
    try:
        decoder = decoder_for(values)
        for data in pieces:
            for piece in (data,) if decoder is None else decoder.decode(data):
                assert len(piece) <= MAX_CHUNK or decoder is None
                got += piece
        if decoder is not None:
            got += decoder.flush()
    except DecodingError as error:
        return bytes(got), error
    return bytes(got), None


# --- the corpus -------------------------------------------------------------------------------------------------------

try:
    CASES: list[dict[str, Any]] = load("content_codings.json")["cases"]
    NO_CORPUS = ""
except pytest.skip.Exception as absent:  # the tests below, not the module, are what cannot run
    CASES, NO_CORPUS = [{"name": "absent"}], str(absent)

each_case = [
    pytest.mark.corpus,
    pytest.mark.skipif(bool(NO_CORPUS), reason=NO_CORPUS),
    pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"]),
]


def of_corpus(function: Callable[..., None]) -> Callable[..., None]:
    for mark in each_case:
        function = mark(function)
    return function


def field_values(case: dict[str, Any]) -> list[str]:
    value = case["content_encoding"]
    return value if isinstance(value, list) else [] if value is None else [value]


def assert_is(case: dict[str, Any], which: str, got: bytes) -> None:
    assert len(got) == case[f"{which}_len"]
    assert hashlib.sha256(got).hexdigest() == case[f"{which}_sha256"]


@of_corpus
@pytest.mark.parametrize("split", SPLITS)
def test_corpus_streamed(case: dict[str, Any], split: Callable[[bytes], list[bytes]], inflating: str) -> None:
    got, error = stream(field_values(case), split(base64.b64decode(case["data_b64"])))
    if case["outcome"] == "ok":
        assert error is None
        assert_is(case, "decoded", got)
    else:
        assert error is not None
        if "partial_len" in case:
            assert_is(case, "partial", got)


@of_corpus
def test_corpus_decoded_whole(case: dict[str, Any], inflating: str) -> None:
    body = base64.b64decode(case["data_b64"])
    if case["outcome"] == "ok":
        got = decode_all(field_values(case), body)
        assert_is(case, "decoded", got)
        assert decode_all(field_values(case), body, max_size=len(got)) == got
        if got:
            with pytest.raises(BodyTooLarge, match=f"over {len(got) - 1} bytes"):
                decode_all(field_values(case), body, max_size=len(got) - 1)
    else:
        with pytest.raises(DecodingError):
            decode_all(field_values(case), body)


# --- bounds -----------------------------------------------------------------------------------------------------------


def peak_of(function: Callable[[], None]) -> int:
    function()  # imports and caches are not what is measured
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "value",
    ["gzip", "deflate", "br", "zstd", "gzip, gzip", "deflate, br", "zstd, gzip, br", "br, zstd, deflate, gzip, gzip"],
)
def test_a_bomb_comes_out_in_bounded_steps(value: str) -> None:
    bomb = bytes(10 * MIB)
    for name in value.split(", "):
        bomb = ENCODERS[name](bomb)

    def run() -> None:
        decoder = decoder_for([value])
        assert decoder is not None
        size = 0
        for piece in decoder.decode(bomb):
            assert 0 < len(piece) <= MAX_CHUNK
            size += len(piece)
        decoder.flush()
        assert size == 10 * MIB

    assert peak_of(run) < len(value.split(", ")) * 4 * MAX_CHUNK


def test_a_bomb_is_not_inflated_ahead_of_its_reader() -> None:
    inner = gzip.compress(bytes(64 * MIB))
    bomb = gzip.compress(inner)

    def run() -> None:
        decoder = decoder_for(["gzip, gzip"])
        assert decoder is not None
        assert len(next(decoder.decode(bomb))) <= MAX_CHUNK

    assert peak_of(run) < 4 * MAX_CHUNK


def test_max_size_stops_a_bomb_early() -> None:
    bomb = gzip.compress(gzip.compress(bytes(64 * MIB)))

    def run() -> None:
        with pytest.raises(BodyTooLarge):
            decode_all(["gzip, gzip"], bomb, max_size=MIB)

    assert peak_of(run) < 3 * MIB


def test_max_size_holds_for_an_undecoded_body() -> None:
    assert decode_all([], b"abc", max_size=3) == b"abc"
    with pytest.raises(BodyTooLarge):
        decode_all(["unheard-of"], b"abcd", max_size=3)


def test_an_endless_gzip_header_is_refused() -> None:
    name = [b"\x1f\x8b\x08\x08" + bytes(6), *[b"n" * 1000] * 200]  # FNAME, and no NUL in sight
    got, error = stream(["gzip"], name[:50])
    assert (got, str(error)) == (b"", "gzip body: ends early, the compressed data is truncated")
    got, error = stream(["gzip"], name)
    assert (got, str(error)) == (b"", "gzip body: the names in its header are over 65536 bytes")


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_many_members_that_hold_little(name: str, inflating: str) -> None:
    for content, times in ((b"", 5000), (b"x", 3000), (TEXT, 500)):
        body = ENCODERS[name](content) * times
        for pieces in (whole(body), odd_pieces(body)):
            assert stream([name], pieces) == (content * times, None)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_what_ends_with_a_member_is_not_copied_with_each(name: str) -> None:
    """The library is never given more than 64 KiB, and of many small members not much more than one holds."""
    given = 0
    library = codings._inflating() if name == "gzip" else pytest.importorskip(codings._ZSTD)

    class Counted:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def decompress(self, data: bytes, size: int) -> bytes:
            nonlocal given
            given += len(data)
            return bytes(self._inner.decompress(data, size))

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self._inner, attribute)

    class Library:
        def decompressobj(self, *arguments: Any) -> Counted:
            return Counted(library.decompressobj(*arguments))

        def ZstdDecompressor(self, **options: Any) -> Counted:
            return Counted(library.ZstdDecompressor(**options))

        def __getattr__(self, attribute: str) -> Any:
            return getattr(library, attribute)

    body = ENCODERS[name](b"") * 5000
    begin, _ = codings._CODINGS[name]
    decoder = codings.Decoder([begin(Library())])  # type: ignore[arg-type]
    assert not any(decoder.decode(body))
    decoder.flush()
    assert given < 5000 * 600 + MAX_CHUNK


NOTHING = {
    "members": gzip.compress(b"") * 100_000,
    "blocks": b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\0\0\0\xff\xff" * 400_000,
    "garbage": gzip.compress(b"x") + bytes(2 * MIB),
}


@pytest.mark.parametrize("what", NOTHING)
def test_stacked_codings_that_give_next_to_nothing(what: str, inflating: str) -> None:
    body = gzip.compress(NOTHING[what])
    for pieces in (whole(body), odd_pieces(body)):
        _, error = stream(["gzip", "gzip"], pieces)
        assert "next to nothing" in str(error)
    if what != "blocks":
        _, error = stream(["gzip"], whole(NOTHING[what]))
        assert error is None, "what the network brings is not counted"


def test_a_header_that_comes_byte_by_byte_takes_linear_work() -> None:
    header = b"\x1f\x8b\x08\x0c" + bytes(6) + b"\xff\xff" + bytes(65_535) + b"n" * 60_000 + b"\0"
    body = header + gzip.compress(TEXT)[10:]
    assert stream(["gzip"], byte_by_byte(body)) == (TEXT, None)


def test_a_whole_body_some_pieces_at_a_time() -> None:
    whole_body = codings.WholeBody(["gzip"], gzip.compress(bytes(20 * MAX_CHUNK)))
    turns = 0
    while not whole_body.advance(4):
        turns += 1
    assert turns == 5
    assert whole_body.content() == bytes(20 * MAX_CHUNK)


def test_that_much_brings_little_is_told(inflating: str) -> None:
    """By an empty piece each time that others should have their turn, however the body is cut."""
    frame = zstd(b"")
    blocks = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\0\0\0\xff\xff" * 100_000 + b"\x03\0" + bytes(8)
    for value, body, rests in (
        ("gzip", gzip.compress(b"") * 5120, 40),
        ("zstd", frame * 5120, 40),
        ("zstd", b"\x50\x2a\x4d\x18" + bytes(4) + b"\x5f\x2a\x4d\x18\x01\0\0\0." * 5119, 40),
        ("gzip", blocks, 40),
        ("gzip", gzip.compress(b"x") + bytes(640 * 1024), 9),
        ("gzip, zstd", zstd(gzip.compress(b"") * 5120), 40),
    ):
        decoder = decoder_for([value])
        assert decoder is not None
        assert [piece for piece in decoder.decode(body) if piece] in ([], [b"x"])
        decoder.flush()
        whole_body = codings.WholeBody([value], body)
        turns = 0
        while not whole_body.advance(16):
            turns += 1
        assert turns >= rests
    decoder = decoder_for(["zstd"])
    assert decoder is not None
    assert sum([piece == b"" for data in odd_pieces(frame * 5120) for piece in decoder.decode(data)]) == 40


# --- streaming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_flushed_pieces_come_out_at_once(name: str) -> None:
    if name == "br":
        compressor = pytest.importorskip("brotli").Compressor()
        sent = [compressor.process(event) + compressor.flush() for event in (b"one\n", b"two\n")]
    elif name == "zstd":
        library = pytest.importorskip(codings._ZSTD)
        compressor = library.ZstdCompressor()
        sent = [compressor.compress(event, library.ZstdCompressor.FLUSH_BLOCK) for event in (b"one\n", b"two\n")]
    else:
        compressor = zlib.compressobj(wbits=31 if name == "gzip" else 15)
        sent = [compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH) for event in (b"one\n", b"two\n")]
    decoder = decoder_for([name])
    assert decoder is not None
    assert [b"".join(decoder.decode(data)) for data in sent] == [b"one\n", b"two\n"]
    with pytest.raises(DecodingError, match=f"{name} body: .*truncated"):
        decoder.flush()


@pytest.mark.parametrize("size", [MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, MAX_CHUNK + 100, 3 * MAX_CHUNK])
@pytest.mark.parametrize("name", ENCODERS)
def test_sizes_around_the_step(name: str, size: int, inflating: str) -> None:
    for data in (bytes(size), (random.Random(size).randbytes(1000) * (size // 1000 + 1))[:size]):
        assert stream(values_for([name]), [ENCODERS[name](data)]) == (data, None)


def test_a_body_far_larger_than_a_step_of_input(inflating: str) -> None:
    noise = random.Random(1).randbytes(MIB)
    for name, encode in ENCODERS.items():
        assert stream(values_for([name]), [encode(noise)]) == (noise, None)


def test_everything_before_a_bad_checksum_is_handed_out(inflating: str) -> None:
    body = bytearray(gzip.compress(TEXT * 1000))
    body[-8] ^= 1
    got, error = stream(["gzip"], [bytes(body)])
    assert got == TEXT * 1000
    assert "CRC does not match" in str(error)


def test_a_broken_huffman_table_of_raw_deflate_in_pieces(inflating: str) -> None:
    # No checksum tells here, and isal by itself takes this for 3 bytes and an end when it comes byte by byte.
    body = bytes.fromhex("edc13101000000c220faa7b684a780888888888888889888b81a31323b3435363738")
    for split in SPLITS:
        got, error = stream(["deflate"], split(body))
        assert got == b""
        assert "deflate body: the compressed data is corrupt" in str(error)


def test_a_preset_dictionary_is_refused(inflating: str) -> None:
    compressor = zlib.compressobj(zdict=b"The quick brown fox")
    body = compressor.compress(TEXT) + compressor.flush()
    for split in SPLITS:
        got, error = stream(["deflate"], split(body))
        assert (got, str(error)) == (b"", "deflate body: needs a preset dictionary, and none was agreed on")


def test_an_error_stays_one() -> None:
    decoder = decoder_for(["gzip"])
    assert decoder is not None
    with pytest.raises(DecodingError, match="begins with 3c 68"):
        list(decoder.decode(b"<html>"))
    with pytest.raises(DecodingError, match="begins with 3c 68"):
        decoder.decode(gzip.compress(b"x"))
    with pytest.raises(DecodingError, match="begins with 3c 68"):
        decoder.flush()


def test_pieces_left_behind_are_not_lost_silently() -> None:
    decoder = decoder_for(["gzip"])
    assert decoder is not None
    body = gzip.compress(bytes(2 * MAX_CHUNK))
    next(decoder.decode(body))
    with pytest.raises(RuntimeError, match="not all been taken"):
        decoder.decode(b"more")
    with pytest.raises(RuntimeError, match="not all been taken"):
        decoder.flush()


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("gzip", gzip.compress(b"")[:10] + b"\xff" * 20, "gzip body: the compressed data is corrupt"),
        ("deflate", b"\xff\xff", "deflate body: the compressed data is corrupt"),
        ("br", b"\xff" * 20, "br body: "),
        ("zstd", b"\xff" * 20, "zstd body: "),
    ],
    ids=["gzip", "deflate", "br", "zstd"],
)
def test_errors_name_the_coding_and_keep_their_cause(name: str, body: bytes, says: str, inflating: str) -> None:
    ENCODERS[name](b"")  # skips where its library is missing
    _, error = stream([name], [body])
    assert error is not None
    assert str(error).startswith(says)
    assert error.__cause__ is not None


def test_the_error_of_a_stack_names_the_coding_that_failed() -> None:
    _, error = stream(["deflate", "gzip"], [gzip.compress(zlib.compress(TEXT)[:-1])])
    assert str(error).startswith("deflate body: ")


def test_a_zstd_frame_of_one_segment_over_8_mib() -> None:
    # A raw block of 1 byte in a frame without window descriptor, content size 9 MiB (RFC 8878 section 3.1.1.1).
    frame = b"\x28\xb5\x2f\xfd\xa0" + (9 * MIB).to_bytes(4, "little") + b"\x08\x00\x00x"
    zstd(b"")
    got, error = stream(["zstd"], [frame])
    assert got == b""
    assert "window over 8 MiB" in str(error)


@pytest.mark.parametrize(
    "frame",
    [
        "28b52ffd2004010000",  # says that it holds 4 bytes, its only block is empty
        "28b52ffd605e0755000018616263010058d0774328b52ffd2001010000",  # the second one does
        "28b52ffd80a004000000210000" + b"abcd".hex(),  # 4 bytes and a window of 1 GiB
        "28b52ffd4000204e03710278",  # a block of 20,000 in a window of 1 KiB
        "28b52ffd6000204e037102",  # one that is cut off
        "502a4d1804000000aabbcc",  # a skippable frame that is
        "28b52ffd2804000000",  # a reserved bit
        "502a4d19" + "00" * 12,
    ],
)
def test_what_is_no_zstd_is_none_however_it_comes(frame: str) -> None:
    zstd(b"")
    body = bytes.fromhex(frame)
    for pieces in (*(split(body) for split in SPLITS), *([body[:at], body[at:]] for at in range(1, len(body)))):
        _, error = stream(["zstd"], pieces)
        assert error is not None


def test_skippable_frames_and_frames_that_tell_no_size() -> None:
    library = pytest.importorskip(codings._ZSTD)
    skipped = b"\x5a\x2a\x4d\x18" + (70_000).to_bytes(4, "little") + bytes(70_000)
    compressor = library.ZstdCompressor(options={library.CompressionParameter.checksum_flag: 1})
    body = skipped + compressor.compress(TEXT, library.ZstdCompressor.FLUSH_BLOCK) + compressor.flush() + skipped
    for size in (200, 300, 70_000):
        body += zstd(bytes(size))  # fields of 1, 2 and 4 bytes
    for split in SPLITS:
        assert stream(["zstd"], split(body)) == (TEXT + bytes(70_500), None)


# --- what is installed, and what is asked for -------------------------------------------------------------------------


def test_accept_encoding_imports_only_what_it_must_look_at() -> None:
    script = (
        "import sys; from aiohttpconn.wire.codings import accept_encoding; print(accept_encoding());"
        "print([name for name in ('isal', 'backports.zstd', 'compression.zstd') if name in sys.modules])"
    )
    value, imported = subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()
    assert value == accept_encoding()
    assert value.startswith("gzip, deflate")
    assert imported == "[]"


def test_every_coding_offered_can_be_decoded() -> None:
    for name in accept_encoding().split(", "):
        assert decode_all([name], ENCODERS[name](TEXT)) == TEXT


@pytest.mark.parametrize(("name", "library"), [("br", "brotli"), ("zstd", codings._ZSTD)])
def test_without_its_library_a_coding_is_unknown(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    body = ENCODERS[name](TEXT)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, "_zstd", None)
    assert name not in accept_encoding().split(", ")
    assert decoder_for([name]) is None
    assert decoder_for(["gzip", name]) is None
    assert decode_all([name], body) == body


class Refusing:
    """A library that lacks something, and must not be used."""

    error = ZstdError = ValueError

    class Decompressor:
        def process(self, data: bytes) -> bytes:  # as in brotli 1.1
            raise AssertionError

    class ZstdDecompressor:
        def __init__(self, options: Any) -> None:
            raise AssertionError


@pytest.mark.parametrize(("name", "library"), [("br", "brotli"), ("zstd", codings._ZSTD)])
def test_a_library_that_lacks_something_is_as_if_missing(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    body = ENCODERS[name](TEXT)
    monkeypatch.setitem(sys.modules, library, Refusing)
    assert decoder_for(["gzip", name]) is None
    assert decode_all([name], body) == body
    if name == "br":
        assert accept_encoding().startswith("gzip, deflate")
        assert "br" not in accept_encoding()


def test_without_a_fit_isal_zlib_serves(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", Refusing)
    assert codings._inflating() is zlib
    assert decode_all(["gzip"], gzip.compress(TEXT)) == TEXT


@pytest.mark.parametrize(
    "values", [[], [""], [" ,,"], ["identity"], ["Identity", "identity"], ["gzip;q=1"], ["foo", "gzip"]]
)
def test_nothing_to_decode(values: list[str]) -> None:
    assert decoder_for(values) is None
    assert decode_all(values, b"as it came") == b"as it came"


@pytest.mark.parametrize("values", [["X-GZip"], ["identity,gzip"], ["", "gzip\t"], [" gzip , identity"]])
def test_spellings_of_one_coding(values: list[str]) -> None:
    assert decode_all(values, gzip.compress(TEXT)) == TEXT


def test_up_to_five_codings() -> None:
    body = TEXT
    for _ in range(5):
        body = gzip.compress(body)
    assert decode_all(["gzip, gzip", "identity, gzip", "gzip, gzip"], body) == TEXT
    with pytest.raises(DecodingError, match="6 stacked content codings"):
        decoder_for(["gzip"] * 6)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_empty_body_is_empty(name: str) -> None:
    ENCODERS[name](b"")
    assert decode_all(values_for([name]), b"") == b""
    assert stream(values_for([name]), [b"", b""]) == (b"", None)


# --- generated --------------------------------------------------------------------------------------------------------

contents = st.one_of(
    st.binary(max_size=2000),
    st.builds(lambda unit, times: unit * times, st.binary(min_size=1, max_size=20), st.integers(0, 30_000)),
)
stacks = st.lists(st.sampled_from([*ENCODERS]), min_size=1, max_size=3)


def cut(data: bytes, at: Sequence[float]) -> list[bytes]:
    bounds = [0, *sorted(int(where * len(data)) for where in at), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


cuts = st.lists(st.floats(0, 1), max_size=6)


@given(content=contents, stack=stacks, at=cuts)
def test_round_trips(content: bytes, stack: list[str], at: list[float]) -> None:
    body = content
    for name in stack:
        body = ENCODERS[name](body)
    values = values_for(stack)
    assert stream(values, cut(body, at)) == (content, None)
    assert stream(values, [*byte_by_byte(body[:500]), body[500:]]) == (content, None)
    assert decode_all(values, body) == content


@given(content=contents, name=st.sampled_from([*ENCODERS]), keep=st.floats(0, 1), at=cuts)
def test_a_cut_off_body_is_an_error_and_gives_only_what_was_there(
    content: bytes, name: str, keep: float, at: list[float]
) -> None:
    body = ENCODERS[name](content)
    body = body[: min(int(keep * len(body)), len(body) - 1)]
    got, error = stream(values_for([name]), cut(body, at))
    assert content.startswith(got)
    assert (error is None) == (body == b"")


@given(
    content=contents,
    name=st.sampled_from(["gzip", "deflate", "raw"]),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 7)), min_size=1, max_size=4),
    at=cuts,
)
def test_isal_and_zlib_agree_on_corrupt_bodies(
    content: bytes, name: str, flips: list[tuple[float, int]], at: list[float]
) -> None:
    pytest.importorskip("isal.isal_zlib")
    body = bytearray(ENCODERS[name](content))
    for where, bit in flips:
        body[int(where * len(body))] ^= 1 << bit
    results = []
    for missing in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            codings._library.cache_clear()
            if missing:
                patch.setitem(sys.modules, "isal.isal_zlib", None)
            got, error = stream(values_for([name]), cut(bytes(body), at))
            results.append((None if error else got, error is None))
    codings._library.cache_clear()
    assert results[0] == results[1]


@given(
    contents=st.lists(contents, min_size=1, max_size=3),
    name=st.sampled_from([*ENCODERS]),
    flips=st.lists(st.tuples(st.one_of(st.floats(0, 0.999), st.just(0.0)), st.integers(0, 20), st.integers(0, 7))),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
    at=cuts,
)
def test_the_verdict_on_a_damaged_body_is_the_same_however_it_comes(
    contents: list[bytes], name: str, flips: list[tuple[float, int, int]], keep: float, at: list[float]
) -> None:
    body = bytearray(b"".join([ENCODERS[name](content) for content in contents]))
    for where, further, bit in flips:
        body[min(int(where * len(body)) + further, len(body) - 1)] ^= 1 << bit
    del body[int(keep * len(body)) :]
    data = bytes(body)
    got, error = stream(values_for([name]), [data])
    for pieces in (cut(data, at), [*byte_by_byte(data[:500]), data[500:]]):
        again, late = stream(values_for([name]), pieces)
        assert (again if late is None else None, late is None) == (got if error is None else None, error is None)


@given(values=st.lists(st.text(max_size=30), max_size=3), body=st.binary(max_size=300))
def test_anything_else_gives_bytes_or_decoding_error(values: list[str], body: bytes) -> None:
    for name in ("", "gzip", "deflate", "br", "zstd"):
        try:
            assert isinstance(decode_all([*values, name], body), bytes)
        except DecodingError:
            pass
