import socket

import pytest

from worker.model.wire import (
    MAX_FIELDS,
    MAX_REQUEST_BYTES,
    MAX_SAMPLES,
    PREFIX,
    Classify,
    ConnectionLost,
    Detect,
    Hello,
    InvalidMessage,
    Result,
    pack,
    parse_reply,
    parse_request,
    receive_exactly,
    unpack_prefix,
)

DETECT = '{"op":"detect","count":%s,"height":8,"width":8,"background":%s,"red_cell":[1,1,1]}'


@pytest.mark.parametrize(
    "request_",
    [
        Hello(protocol=1, classifier=None),
        Classify(count=3),
        Detect(count=1, height=8, width=9, background=(1, 2, 3.5), red_cell=(0.1, 0.2, 1 / 3)),
    ],
)
def test_a_request_arrives_as_it_was_sent(request_):
    data = pack(request_)
    header, body = unpack_prefix(data[: PREFIX.size], MAX_REQUEST_BYTES)
    assert body == 0
    assert parse_request(data[PREFIX.size :][:header]) == request_


def test_a_body_follows_its_header():
    data = pack(Result(peaks=(2,)), b"numbers")
    header, body = unpack_prefix(data[: PREFIX.size], 1000)
    assert parse_reply(data[PREFIX.size :][:header]) == Result(peaks=(2,))
    assert data[PREFIX.size + header :] == b"numbers"
    assert body == 7


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[" * 10_000,
        b'{"op":"shutdown"}',
        b'{"op":"ping","extra":1}',
        b'{"op":"classify","count":0}',
        b'{"op":"classify","count":-1}',
        b'{"op":"classify","count":1e400}',
        b'{"op":"classify","count":' + b"9" * 5000 + b"}",
        b'{"op":"hello","protocol":1,"classifier":"../../etc"}',
        b'{"op":"hello","protocol":1,"classifier":"/etc/weights"}',
        b'{"op":"hello","protocol":1,"classifier":".."}',
        b'{"op":"hello","protocol":1,"classifier":"a\\n"}',
        (DETECT % (1, "[1,1,NaN]")).encode(),
        (DETECT % (1, "[1,1,Infinity]")).encode(),
        (DETECT % (1, "[1,1]")).encode(),
        (DETECT % (MAX_FIELDS + 1, "[1,1,1]")).encode(),
        b'{"op":"saliency","samples":%d}' % (MAX_SAMPLES + 1),
        b'{"op":"saliency","target":"XXX"}',
    ],
)
def test_what_is_no_request_is_refused(header):
    with pytest.raises(InvalidMessage):
        parse_request(header)


@pytest.mark.parametrize(
    "header",
    [
        (DETECT % (MAX_FIELDS, "[1,1,1]")).encode(),
        b'{"op":"saliency","samples":%d}' % MAX_SAMPLES,
        b'{"op":"hello","protocol":1,"classifier":"efficientnet-lite0-224"}',
    ],
)
def test_a_request_at_a_limit_is_taken(header):
    parse_request(header)


def test_a_message_as_long_as_allowed_is_taken_and_a_byte_more_refused():
    assert unpack_prefix(PREFIX.pack(90, 10), 100) == (90, 10)
    with pytest.raises(InvalidMessage, match="at most 100"):
        unpack_prefix(PREFIX.pack(90, 11), 100)
    with pytest.raises(InvalidMessage):
        unpack_prefix(PREFIX.pack(0, 10), 100)


def test_a_message_cut_short_is_a_lost_connection():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"abc")
        there.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionLost):
            receive_exactly(here, 4, lambda: None)
