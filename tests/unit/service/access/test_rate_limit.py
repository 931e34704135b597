import pytest

from service.access.rate_limit import REMEMBERED, RateLimit


@pytest.mark.parametrize(
    ("per_minute", "burst", "wait_s"), [(1, 1, 60), (6, 1, 10), (12, 2, 5), (18, 3, 4)]
)
def test_ten_seconds_worth_passes_at_once_and_one_more_waits(per_minute, burst, wait_s):
    limit = RateLimit(per_minute)
    assert [limit.take("a") for _ in range(burst)] == [0] * burst
    assert 1 <= limit.take("a") <= wait_s


def test_keys_do_not_use_up_each_others_share():
    limit = RateLimit(6)
    assert limit.take("a") == 0
    assert limit.take("a") > 0
    assert limit.take("b") == 0


def test_a_keys_own_limit_goes_before_the_installations():
    limit = RateLimit(6)
    assert [limit.take("a", 18) for _ in range(3)] == [0, 0, 0]
    assert limit.take("a", 18) > 0


def test_each_of_several_processes_grants_its_share():
    limit = RateLimit(24, share=0.5)
    assert [limit.take("a") for _ in range(2)] == [0, 0]
    assert limit.take("a") > 0


def test_being_refused_costs_nothing():
    limit = RateLimit(6)
    limit.take("a")
    waits = [limit.take("a") for _ in range(50)]
    assert max(waits) <= 10


def test_buckets_of_keys_long_unseen_are_forgotten():
    limit = RateLimit(1)
    limit.take("a")
    for number in range(REMEMBERED - 1):
        limit.take(f"k{number}")
    assert limit.take("a") > 0
    for number in range(REMEMBERED):
        limit.take(f"k{number}")
    assert limit.take("a") == 0
