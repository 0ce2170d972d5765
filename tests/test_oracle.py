"""The oracle itself: a test that could not see a fault would be worth nothing."""

from harness.oracle import Run, compare, indexed_pcm

SENT = indexed_pcm("oracle", 4_000)


def samples(start, end):
    return SENT[2 * start : 2 * end]


def test_what_came_back_whole_is_intact():
    assert compare(SENT, SENT).intact


def test_a_missing_stretch_is_lost_and_shifts_the_rest():
    verdict = compare(samples(0, 1_000) + samples(1_160, 4_000), SENT)
    assert (verdict.lost, verdict.duplicated, verdict.shifted) == (160, 0, 2_840)


def test_a_missing_tail_is_lost_and_shifts_nothing():
    verdict = compare(samples(0, 3_500), SENT)
    assert (verdict.lost, verdict.shifted) == (500, 0)


def test_a_repeated_stretch_is_counted():
    verdict = compare(samples(0, 1_000) + samples(680, 4_000), SENT)
    assert (verdict.lost, verdict.duplicated) == (0, 320)


def test_silence_in_place_of_sound_is_lost_and_silent_but_shifts_nothing():
    verdict = compare(samples(0, 1_000) + bytes(640) + samples(1_320, 4_000), SENT)
    assert (verdict.lost, verdict.silent, verdict.shifted, verdict.foreign) == (320, 320, 0, 0)
    assert verdict.runs == (Run(0, 1_000, 0), Run(1_000, 320, None), Run(1_320, 2_680, 1_320))


def test_another_sessions_samples_are_foreign():
    verdict = compare(samples(0, 1_000) + indexed_pcm("another", 500) + samples(1_500, 4_000), SENT)
    assert (verdict.lost, verdict.foreign, verdict.shifted) == (500, 500, 0)
