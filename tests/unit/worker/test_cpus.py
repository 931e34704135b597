import os

from worker.cpus import usable_cpus

ALLOWED = len(os.sched_getaffinity(0))


def test_without_a_quota_the_affinity_mask_decides(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cpus(tmp_path) == ALLOWED


def test_a_quota_caps_the_count_and_a_part_of_a_cpu_counts_as_one(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_cpus(tmp_path) == 1


def test_a_quota_above_the_mask_changes_nothing(tmp_path):
    (tmp_path / "cpu.max").write_text(f"{(ALLOWED + 5) * 100000} 100000\n")
    assert usable_cpus(tmp_path) == ALLOWED


def test_the_older_cgroup_files_are_read_too(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cpus(tmp_path) == 1


def test_no_cgroup_at_all_is_no_limit(tmp_path):
    assert usable_cpus(tmp_path) == ALLOWED
