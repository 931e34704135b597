"""docs/configuration.md says what the code does."""

from pathlib import Path

from service.settings_page import settings_table

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_table_of_settings_is_that_of_the_code():
    table = settings_table()
    page = "".join(line for line in PAGE.read_text().splitlines(True) if line.startswith("|"))
    assert page == table, f"replace the table of {PAGE.name} by this:\n\n{table}"
