from models.peak import Peak, merge_peaks


def test_merging_keeps_the_higher_of_two_peaks_that_are_near():
    near = [Peak(10.0, 10.0, 13.0, 0.6), Peak(13.0, 14.0, 13.0, 0.9)]
    assert merge_peaks(near, 5.0) == [near[1]]


def test_merging_keeps_two_peaks_just_too_far_apart():
    far = [Peak(10.0, 10.0, 13.0, 0.6), Peak(13.0, 14.0, 13.0, 0.9)]
    assert len(merge_peaks(far, 4.99)) == 2


def test_a_dropped_peak_drops_no_other():
    chain = [Peak(x, 0.0, 13.0, score) for x, score in ((0.0, 0.9), (4.0, 0.8), (8.0, 0.7))]
    assert [peak.x for peak in merge_peaks(chain, 5.0)] == [0.0, 8.0]
