import pytest
from sqlalchemy.exc import OperationalError

from service.contract.scan import Stage
from worker.tasks import Progress, Superseded, insist, remove_earlier_attempts


def silent(*_):
    raise OperationalError("UPDATE scans", {}, Exception("the server is starting up"))


def test_progress_is_stored_when_the_stage_changes():
    stored = []
    progress = Progress(lambda *where: not stored.append(where))
    progress.note(Stage.MONOLAYER, 0, 9)
    progress.note(Stage.MONOLAYER, 1, 9)
    progress.note(Stage.DETECTING, 0, 4)
    assert stored == [(Stage.MONOLAYER, 0, 9), (Stage.DETECTING, 0, 4)]


def test_a_scan_that_counts_no_more_is_given_up():
    with pytest.raises(Superseded):
        Progress(lambda *_: False).check()


def test_a_database_that_restarts_does_not_end_a_scan():
    progress = Progress(silent)
    progress.note(Stage.DETECTING, 1, 4)
    progress.check()


def test_the_end_of_a_scan_is_stored_once_the_database_answers():
    answers = [silent, silent, lambda: True]
    assert insist(lambda: answers.pop(0)(), waits_s=[0, 0])
    with pytest.raises(OperationalError):
        insist(silent, waits_s=[0, 0])


@pytest.mark.parametrize("ended", [True, False])
def test_an_answer_is_taken_as_it_is(ended):
    assert insist(lambda: ended) is ended


def test_what_killed_attempts_left_goes_when_one_succeeds(tmp_path):
    for name in ("1", "2", "3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").touch()
    (tmp_path / ".1.partial-abc").touch()
    remove_earlier_attempts(tmp_path / "3")
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
