import threading

import pytest
from redis import Redis

from service.reconciler import LOCK, LOCK_TTL_S, Chore, Leadership, plan_chores, run


@pytest.fixture
def redis(installation) -> Redis:
    return installation.redis


def other(redis: Redis) -> Redis:
    return Redis(connection_pool=redis.connection_pool)


def test_one_of_two_leads_until_it_gives_up(redis):
    first, second = Leadership(redis), Leadership(other(redis))
    assert first.hold()
    assert not second.hold()
    assert first.hold()
    first.give_up()
    assert second.hold()
    assert not first.hold()


def test_another_takes_over_from_one_that_died(redis):
    dead, living = Leadership(redis), Leadership(other(redis))
    assert dead.hold()
    assert 0 < redis.ttl(LOCK) <= LOCK_TTL_S
    redis.delete(LOCK)  # as the server does when the time is over
    assert living.hold()
    assert not dead.hold(), "a process that was suspended must notice"


def test_holding_on_renews_the_lock(redis):
    leader = Leadership(redis)
    leader.hold()
    redis.expire(LOCK, 2)
    leader.hold()
    assert redis.ttl(LOCK) > 2


def test_giving_up_leaves_another_leader_alone(redis):
    first, second = Leadership(redis), Leadership(other(redis))
    first.hold()
    redis.delete(LOCK)
    assert second.hold()
    first.give_up()
    assert second.hold()


def test_a_leader_goes_on_after_the_queue_lost_everything(redis):
    leader = Leadership(redis)
    assert leader.hold()
    redis.flushall()
    assert leader.hold()


def test_a_chore_that_fails_or_hangs_stops_no_other(redis):
    stop, done, released = threading.Event(), threading.Event(), threading.Event()
    failures, runs = [], []

    def fail():
        failures.append(1)
        raise ValueError("a chore's own bug")

    def work():
        runs.append(1)
        if len(runs) >= 2 and len(failures) >= 2:
            done.set()

    chores = [
        Chore("fails", 0, fail),
        Chore("hangs", 0, lambda: released.wait(60)),
        Chore("works", 0, work),
    ]
    thread = threading.Thread(target=run, args=(Leadership(redis), chores, stop))
    thread.start()
    try:
        assert done.wait(60)
    finally:
        stop.set()
        released.set()
        thread.join()
    assert redis.get(LOCK) is None, "the next reconciler need not wait"


def test_a_chore_is_not_run_again_while_it_runs_or_before_its_time(redis):
    stop, began, released = threading.Event(), threading.Event(), threading.Event()
    slow, rare, often = [], [], []

    def crawl():
        slow.append(1)
        began.set()
        released.wait(60)

    def tick():
        often.append(1)
        if len(often) == 3:
            stop.set()
            released.set()

    chores = [
        Chore("slow", 0, crawl),
        Chore("rare", 3600, lambda: rare.append(1)),
        Chore("often", 0, tick),
    ]
    run(Leadership(redis), chores, stop)
    assert began.is_set()
    assert (len(slow), len(rare), len(often)) == (1, 1, 3)


def test_nothing_is_done_by_one_that_does_not_lead(redis):
    assert Leadership(other(redis)).hold()
    stop, runs = threading.Event(), []
    thread = threading.Thread(
        target=run, args=(Leadership(redis), [Chore("c", 0, lambda: runs.append(1))], stop)
    )
    thread.start()
    stop.wait(2.5)
    stop.set()
    thread.join()
    assert runs == []


def test_each_chore_of_an_installation_can_be_done_with_nothing_to_do(installation):
    for chore in plan_chores(installation):
        chore.run()
