from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from service.contract.failure import AnalysisError, FailureCode
from service.retention import purge_scan
from service.store.audit import Action
from service.store.columns import now
from service.store.engine import writing
from service.store.tables import DeliveryRow
from service.webhooks.sending import LEASE, WebhookSender
from tests.installations import finished_scan, opened, waiting_scan
from tests.receivers import is_signed, receiving

SECRET = "between-us"
UNREADABLE = AnalysisError(FailureCode.SLIDE_UNREADABLE, "the file is cut off").failure


@pytest.fixture
def open_installation(queue, tmp_path, empty_sqlite):
    """An installation that may call this machine, unless told otherwise."""

    def open_(**settings):
        given = {
            "webhook_hosts": ("127.0.0.1", "localhost"),
            "webhook_private": True,
            "webhook_secret": SECRET,
            **settings,
        }
        return opened(tmp_path / "data", queue.url, empty_sqlite=empty_sqlite, **given)

    return open_


def delivery(installation):
    with installation.engine.connect() as connection:
        return connection.execute(select(DeliveryRow.__table__)).one()


def hurry(installation):
    """As if the wait were over."""
    with writing(installation.engine) as connection:
        connection.execute(update(DeliveryRow).values(next_at=now()))


def test_the_end_of_a_scan_is_told_once_and_signed(open_installation):
    with open_installation() as installation, receiving() as receiver:
        scan_id = finished_scan(installation, accession="A-1", callback_url=receiver.url)
        sender = WebhookSender(installation)
        assert [sender.run_once(), sender.run_once()] == [1, 0]
        (message,) = receiver.messages
        assert message.path == "/hook"
        assert is_signed(message, SECRET)
        assert not is_signed(message, "another key")
        notice = message.notice
        assert notice["event"] == "scan.ended"
        assert notice["scan"] == installation.scans.get(scan_id).model_dump(mode="json")
        assert notice["report_url"].endswith(f"/v1/scans/{scan_id}/report")
        assert delivery(installation).state == "delivered"


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_failure_and_cancellation_are_told_too(open_installation, how):
    with open_installation() as installation, receiving() as receiver:
        scan_id = waiting_scan(installation, callback_url=receiver.url)
        if how == "failed":
            installation.lifecycle.claim(scan_id, 1, "w")
            installation.lifecycle.fail(scan_id, 1, UNREADABLE)
        else:
            installation.scans.cancel(scan_id)
        WebhookSender(installation).run_once()
        (message,) = receiver.of(scan_id)
        assert message.notice["scan"]["state"] == how
        assert is_signed(message, SECRET)
        assert str(installation.layout.path) not in message.body.decode()
        assert "Traceback" not in message.body.decode()


def test_nobody_is_called_about_a_scan_that_is_tried_again(open_installation):
    lost = AnalysisError(FailureCode.WORKER_LOST, "killed").failure
    with open_installation() as installation, receiving() as receiver:
        scan_id = waiting_scan(installation, callback_url=receiver.url)
        installation.lifecycle.claim(scan_id, 1, "w")
        installation.lifecycle.fail(scan_id, 1, lost)
        assert WebhookSender(installation).run_once() == 0
        assert receiver.messages == []


def test_a_message_waits_for_its_receiver(open_installation):
    with receiving() as receiver:
        port, url = receiver.port, receiver.url
    with open_installation() as installation:
        scan_id = finished_scan(installation, callback_url=url)
        sender = WebhookSender(installation)
        assert sender.run_once() == 0
        row = delivery(installation)
        assert (row.state, row.attempts, row.last_error) == ("waiting", 1, "ConnectError")
        assert row.next_at > now()
        with receiving(503, 200, port=port) as receiver:
            hurry(installation)
            assert sender.run_once() == 0
            hurry(installation)
            assert sender.run_once() == 1
        first, second = receiver.of(scan_id)
        assert first.notice["delivery_id"] == second.notice["delivery_id"]
        assert delivery(installation).state == "delivered"


@pytest.mark.parametrize(("answers", "state"), [((500, 200), "delivered"), ((500, 500), "failed")])
def test_it_is_tried_so_often_and_no_more(open_installation, answers, state):
    with open_installation(webhook_attempts=2) as installation, receiving(*answers) as receiver:
        finished_scan(installation, callback_url=receiver.url)
        sender = WebhookSender(installation)
        for _ in range(4):
            sender.run_once()
            hurry(installation)
        assert len(receiver.messages) == 2
        assert delivery(installation).state == state


def test_waits_grow(open_installation):
    with open_installation() as installation, receiving(500) as receiver:
        finished_scan(installation, callback_url=receiver.url)
        waits = []
        for _ in range(3):
            WebhookSender(installation).run_once()
            waits.append(delivery(installation).next_at - now())
            hurry(installation)
        assert waits == sorted(waits)
        assert waits[0] > timedelta(0)


def test_a_redirect_is_not_followed(open_installation):
    with (
        open_installation() as installation,
        receiving() as elsewhere,
        receiving((307, {"Location": elsewhere.url})) as receiver,
    ):
        finished_scan(installation, callback_url=receiver.url)
        assert WebhookSender(installation).run_once() == 0
        assert len(receiver.messages) == 1
        assert elsewhere.messages == []
        assert delivery(installation).last_error == "the receiver answered 307"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("private", [True, False])
def test_a_private_address_is_called_only_where_that_is_allowed(open_installation, host, private):
    """A name is looked up when it is called, whatever it led to when the scan was asked for."""
    with open_installation(webhook_private=private) as installation, receiving() as receiver:
        finished_scan(installation, callback_url=f"http://{host}:{receiver.port}/hook")
        WebhookSender(installation).run_once()
        assert len(receiver.messages) == private
        if not private:
            row = delivery(installation)
            assert row.state == "waiting"
            assert "private address" in row.last_error


def test_a_host_that_was_taken_off_the_list_is_not_called(open_installation):
    with open_installation(webhook_hosts=("other",)) as installation, receiving() as receiver:
        finished_scan(installation, callback_url=receiver.url)
        assert WebhookSender(installation).run_once() == 0
        assert receiver.messages == []


def test_a_purged_scan_is_not_told_of(open_installation):
    with open_installation() as installation, receiving() as receiver:
        scan_id = finished_scan(installation, callback_url=receiver.url)
        purge_scan(installation, scan_id, actor="test", action=Action.PURGED)
        assert WebhookSender(installation).run_once() == 0
        assert receiver.messages == []
        assert delivery(installation).state == "dropped"


@pytest.mark.parametrize(
    "url", ["http://[::1/", "http://127.0.0.1:99999/", "http://127.0.0.1/\x01"]
)
def test_an_address_that_is_none_stops_no_other_message(open_installation, url):
    with open_installation() as installation, receiving() as receiver:
        scan_id = finished_scan(installation, callback_url=receiver.url)
        with writing(installation.engine) as connection:
            connection.execute(
                insert(DeliveryRow).values(
                    id="0",
                    scan_id=scan_id,
                    event="scan.ended",
                    url=url,
                    state="waiting",
                    attempts=0,
                    next_at=now() - timedelta(days=1),
                    created_at=now(),
                )
            )
        assert WebhookSender(installation).run_once() == 1
        assert len(receiver.messages) == 1


def test_a_message_whose_sender_died_is_sent_after_its_lease(open_installation):
    with open_installation() as installation, receiving() as receiver:
        finished_scan(installation, callback_url=receiver.url)
        died = WebhookSender(installation)
        assert len(died._take_due()) == 1
        living = WebhookSender(installation)
        assert living.run_once() == 0
        assert delivery(installation).next_at <= now() + LEASE
        hurry(installation)
        assert living.run_once() == 1
