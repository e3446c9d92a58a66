# SPDX-License-Identifier: GPL-2.0-or-later
"""One frame, one line: words, promises that hold for any bytes, and both ways to a line."""

from __future__ import annotations

import random
import re
import struct
from typing import Any

import pytest

from fail2ban_pflog.errors import PflogError
from fail2ban_pflog.formatter import MAX_ADDRESSES, MAX_LINE, Formatter
from fail2ban_pflog.pflog.fields import Fields, fields
from fail2ban_pflog.pflog.packet import MAX_HEADERS, Decoder
from fail2ban_pflog.pflog.savefile import FileHeader
from fail2ban_pflog.wire.tcp import Conversations
from tests.support import corpus
from tests.support.oracle import DIALECTS, frames, header
from tests.support.packets import pflog_header
from tests.support.pflogs import DATA
from tests.support.promises import check_frame, check_savefile

HEAD = pflog_header()
HEAD_TEXT = "rule 1/0(match): block in on vtnet0: "


def typed(frame: bytes, byteorder: str = "<") -> Fields:
    """The fields of a frame, as --json has them."""
    return fields(Decoder(byteorder).packet(frame), frame)


def line(packet: bytes, af: int = 2, **fields: Any) -> str:
    """The line of a packet, without the header's words."""
    text = Formatter("<").line(pflog_header(family=af, **fields) + packet)
    assert text.startswith(HEAD_TEXT)
    return text[len(HEAD_TEXT) :]


SYN_OPTIONS = b"\x02\x04\x05\xb4\x04\x02\x08\x0a\x32\x20\x82\xdd\0\0\0\0\x01\x03\x03\x07"


def test_syn() -> None:
    """A SYN is printed with its numbers and options."""
    assert line(corpus.ip4(6, corpus.tcp(2, SYN_OPTIONS))) == (
        "198.51.100.7.40000 > 10.99.0.2.6379: Flags [S], seq 1000000, win 1024, "
        "options [mss 1460,sackOK,TS val 840991453 ecr 0,nop,wscale 7], length 0"
    )


def test_syn_at_snaplen_116() -> None:
    """FreeBSD's default snaplen ends inside the options."""
    assert line(corpus.ip4(6, corpus.tcp(2, SYN_OPTIONS))[:44]) == (
        "198.51.100.7.40000 > 10.99.0.2.6379: Flags [S], seq 1000000, win 1024, "
        "options [mss 1460, [|tcp]"
    )


def test_ipv6_tcp_at_snaplen_116() -> None:
    """Of IPv6 TCP only the ports are left."""
    assert line(corpus.ip6(6, corpus.tcp())[:44], af=28) == (
        "2001:db8::7.40000 > fd99::2.6379:  [|tcp]"
    )


def test_same_options_cut_or_whole() -> None:
    """Options that begin alike but are cut at different places are not taken for each other."""
    formatter = Formatter("<")
    packet = corpus.ip4(6, corpus.tcp(2, SYN_OPTIONS))
    for size in (48, 52, 60, 56, 49, 60, 58):
        cut = HEAD + packet[:size]
        assert formatter.line(cut) == Formatter("<").line(cut)


def test_udp_never_tells_what_it_carries() -> None:
    """UDP is its length, whatever port it goes to."""
    for port in (53, 67, 69, 123, 161, 500, 514, 1900, 5060, 5353):
        assert line(corpus.ip4(17, corpus.udp(port, b"secret"))).endswith(": UDP, length 6")


def test_tcp_never_tells_what_it_carries() -> None:
    """TCP data is its length, whatever port it goes to."""
    for port in (21, 22, 25, 53, 80, 179, 554, 6379):
        text = line(corpus.ip4(6, corpus.tcp(0x18, data=b"GET /secret", port=port)))
        assert text.endswith(", length 11")


def test_generic_form() -> None:
    """A protocol whose inside we do not print has tcpdump's form for unknown ones."""
    for protocol in (4, 41, 46, 103, 240):
        assert line(corpus.ip4(protocol, bytes(20))) == (
            f"198.51.100.7 > 10.99.0.2:  ip-proto-{protocol} 20"
        )


def test_unknown_address_family() -> None:
    """A family that is neither IPv4 nor IPv6 is printed as its number."""
    assert line(bytes(9), af=7) == "unknown address family 7, length 9"


def test_relative_numbers() -> None:
    """The first segment with ACK has absolute numbers, the next count from it."""
    formatter = Formatter("<")
    lines = [
        formatter.line(HEAD + corpus.ip4(6, corpus.tcp(0x10, seq=seq, ack=500))) for seq in (7, 9)
    ]
    assert "ack 500," in lines[0]
    assert "ack 1," in lines[1]


def test_lengths_are_believed_without_the_wire_length() -> None:
    """A frame cut by the snaplen is valid; with the length on the wire a contradiction shows."""
    frame = HEAD + corpus.ip4(17, corpus.udp(data=bytes(100)))[:44]
    assert Formatter("<").line(frame).endswith(": UDP, length 100")
    assert "[total length 128 > length 44] (invalid) " in Formatter("<").line(frame, len(frame))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("00000000000000000000000000000000", "::"),
        ("00000000000000000000000000000001", "::1"),
        ("00000000000000000000000001020304", "::1.2.3.4"),
        ("00000000000000000000ffff01020304", "::ffff:1.2.3.4"),
        ("20010db8000000010000000000000001", "2001:db8:0:1::1"),
        ("20010db8000000000001000000000001", "2001:db8::1:0:0:1"),
        ("20010db8000100010001000100010000", "2001:db8:1:1:1:1:1:0"),
        ("fe800000000000000000000000000000", "fe80::"),
    ],
)
def test_addresses(raw: str, text: str) -> None:
    """IPv6 addresses are shortened as tcpdump does."""
    packet = bytearray(corpus.ip6(17, corpus.udp()))
    packet[8:24] = bytes.fromhex(raw)
    assert line(bytes(packet), af=24).startswith(f"{text}.40000 > ")


def test_45_byte_header_has_the_same_packets() -> None:
    """The oldest dialect, which tcpdump 4.99.6 refuses, has the packet's line of the others."""
    for version, data, _ in corpus.packets()[::7]:
        old = pflog_header(45, family=2 if version == 4 else 24) + data
        new = pflog_header(61, family=2 if version == 4 else 24) + data
        assert Formatter("<").line(old) == Formatter("<").line(new)


def corpus_frames(step: int) -> list[tuple[bytes, int]]:
    found = []
    for number, packet in enumerate(corpus.packets()[::step]):
        head = header(DIALECTS[number % len(DIALECTS)], packet.version, number)
        found.append((head + packet.data, packet.length + len(head)))
    return found


def test_promises_hold_for_the_corpus() -> None:
    """Every packet of the corpus keeps the promises, with and without its length."""
    for frame, length in corpus_frames(3):
        check_frame(frame, length)
        check_frame(frame, None)


@pytest.mark.parametrize(
    "capture",
    [
        "freebsd-13.2/block-all.pflogd.pcap",
        "freebsd-15.0/fb15.pflogd.pcap.xz",
        "openbsd-7.7/obsd77.pflogd.pcap.xz",
        "openbsd-7.8/block-all.pflogd.pcap",
    ],
)
def test_promises_hold_for_every_cut(capture: str) -> None:
    """Real frames cut at every byte give a line or PflogError."""
    for _, frame, length in list(frames(DATA / capture))[:400]:
        for size in range(min(len(frame), 180)):
            check_frame(frame[:size], length)


def test_promises_hold_for_noise() -> None:
    """So does noise: plain, behind a good header, and as bytes changed in good frames."""
    rnd = random.Random(117)
    good = corpus_frames(50)
    for _ in range(4000):
        noise = rnd.randbytes(rnd.randrange(200))
        check_frame(noise, None)
        check_frame(HEAD + noise, rnd.randrange(400))
        changed = bytearray(rnd.choice(good)[0])
        for _ in range(3):
            changed[rnd.randrange(len(changed))] = rnd.randrange(256)
        check_frame(bytes(changed), None)


def test_savefiles_of_noise() -> None:
    """A savefile that is cut or changed gives the same records whole and in pieces."""
    data = (DATA / "freebsd-13.2" / "block-all.pflogd.pcap").read_bytes()[:2000]
    rnd = random.Random(117)
    for size in range(0, 300, 7):
        check_savefile(data[:size])
    for _ in range(300):
        changed = bytearray(data)
        changed[rnd.randrange(len(changed))] = rnd.randrange(256)
        check_savefile(bytes(changed))


def test_payload_never_shows() -> None:
    """A marker in the data of any transport or error message is in no line."""
    marker = b"PAYLOADPAYLOADPAYLOAD"
    for version, data, _ in corpus.packets()[::5]:
        text = Formatter("<").line(pflog_header(family=2 if version == 4 else 24) + data + marker)
        assert "PAYLOAD" not in text
        assert marker[:8].hex() not in text


def test_long_lines_are_cut() -> None:
    """A line ends at MAX_LINE, and says so."""
    routing = bytes((59, 254, 0, 127)) + bytes(4) + corpus.TARGET6[:1] * 127 * 16
    text = Formatter("<").line(pflog_header(family=24) + corpus.ip6(43, routing))
    assert len(text) == MAX_LINE
    assert text.endswith(" [...]")


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of forged sources, rules or conversations does not fill the memory."""
    monkeypatch.setattr("fail2ban_pflog.formatter.MAX_ADDRESSES", 10)
    monkeypatch.setattr("fail2ban_pflog.pflog.packet.MAX_HEADERS", 10)
    monkeypatch.setattr("fail2ban_pflog.formatter.MAX_OPTIONS", 10)
    monkeypatch.setattr(Conversations, "MAX_CONVERSATIONS", 10)
    formatter = Formatter("<")
    for number in range(50):
        packet = bytearray(corpus.ip4(6, corpus.tcp(2, bytes((2, 4, number, 0)))))
        packet[12:16] = struct.pack("!I", number)
        formatter.line(pflog_header(rule=number) + bytes(packet))
        packet[33] = 0x10
        formatter.line(pflog_header(rule=number) + bytes(packet))
    assert len(formatter.decode.__self__._heads) <= 10  # type: ignore[attr-defined]
    assert len(formatter._addresses) <= 12
    assert len(formatter._options) <= 10
    assert len(formatter._conversations._starts) <= 10
    assert min(MAX_ADDRESSES, MAX_HEADERS) > 10


def test_no_frame() -> None:
    """Without a header there is no line."""
    with pytest.raises(PflogError):
        Formatter().line(b"")


def test_typed_fields() -> None:
    """The typed decoder gives what the line says, as numbers."""
    syn = typed(HEAD + corpus.ip4(6, corpus.tcp(2, SYN_OPTIONS)), "<")
    assert (syn.source, syn.source_port, syn.destination, syn.destination_port) == (
        "198.51.100.7",
        40000,
        "10.99.0.2",
        6379,
    )
    assert (syn.protocol, syn.tcp_flags, syn.length, syn.payload_length) == ("tcp", ["syn"], 60, 0)
    assert (syn.action, syn.direction, syn.reason, syn.rule) == ("block", "in", "match", 1)
    echo = typed(pflog_header(family=24) + corpus.ip6(58, b"\x80\x03" + bytes(6)), "<")
    assert (echo.ip_version, echo.icmp_type, echo.icmp_code, echo.tcp_flags) == (6, 128, 3, None)


def test_typed_fields_that_were_not_captured() -> None:
    """Fields behind the snaplen are None, those before it are there."""
    cut = typed(pflog_header(family=28) + corpus.ip6(6, corpus.tcp())[:44], "<")
    assert (cut.source_port, cut.destination_port, cut.tcp_flags) == (40000, 6379, None)
    later = typed(HEAD + corpus.ip4(6, bytes(8), fragment=5), "<")
    assert (later.fragment_offset, later.source_port, later.protocol) == (40, None, "tcp")


def test_fields_of_lines_agree() -> None:
    """In real captures the typed addresses and ports stand in the line."""
    for name in ("freebsd-13.2", "openbsd-7.8"):
        data = (DATA / name / "block-all.live.pcap").read_bytes()
        savefile = FileHeader.parse(data)
        formatter = Formatter(savefile.byteorder)
        for _, _, frame in savefile.records(data, 24).records:
            packet = typed(frame, savefile.byteorder)
            line_ = formatter.line(frame)
            assert f": {packet.source}" in line_
            if packet.source_port is not None:
                assert re.search(rf"[ .]{packet.source_port} > ", line_)
