import os

from models.allocator import keep_few_kernels

CACHE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def test_onednn_keeps_few_kernels_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv(CACHE, raising=False)
    keep_few_kernels()
    assert 0 < int(os.environ[CACHE]) < 1024
    monkeypatch.setenv(CACHE, "7")
    keep_few_kernels()
    assert os.environ[CACHE] == "7"
