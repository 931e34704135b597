import pytest

from service.batches.patterns import Pattern
from service.contract.batch import has_wildcards


@pytest.mark.parametrize(
    ("text", "base", "path", "is_one"),
    [
        ("/a/*.svs", "/a", "x.svs", True),
        ("/a/*.svs", "/a", "b/x.svs", False),
        ("/a/*/x.svs", "/a", "b/x.svs", True),
        ("/a/*/x.svs", "/a", "b/c/x.svs", False),
        ("/a/**/*.svs", "/a", "x.svs", True),
        ("/a/**/*.svs", "/a", "b/c/x.svs", True),
        ("/a/**/*.svs", "/a", "b/c/x.tif", False),
        ("/a/**/c/**/*.svs", "/a", "b/c/d/e/x.svs", True),
        ("/a/**/c/**/*.svs", "/a", "b/d/e/x.svs", False),
        ("/a/**", "/a", "b/c/x.tif", True),
        ("/a/b?/[xy].svs", "/a", "b1/y.svs", True),
        ("/a/b?/[xy].svs", "/a", "b12/y.svs", False),
        ("/a/b/x.svs", "/a/b", "x.svs", True),
        ("/a/b/x.svs", "/a/b", "y.svs", False),
    ],
)
def test_a_pattern_matches_whole_paths_below_its_base(text, base, path, is_one):
    pattern = Pattern.parse(text)
    assert pattern.base == base
    assert pattern.matches(tuple(path.split("/"))) is is_one


@pytest.mark.parametrize(
    ("text", "directory", "may"),
    [
        ("/a/*.svs", "b", False),
        ("/a/2024*/x.svs", "2024-01", True),
        ("/a/2024*/x.svs", "2023", False),
        ("/a/2024*/x.svs", "2024-01/b", False),
        ("/a/**/x.svs", "b/c/d", True),
        ("/a/b*/**/x.svs", "c", False),
    ],
)
def test_only_directories_that_may_hold_a_match_are_entered(text, directory, may):
    assert Pattern.parse(text).may_enter(tuple(directory.split("/"))) is may


@pytest.mark.parametrize(("text", "is_one"), [("/a/b", False), ("/a/*", True), ("/a[1]", True)])
def test_wildcards_make_a_pattern(text, is_one):
    assert has_wildcards(text) is is_one
