"""The page about roles shows the permissions that the code has."""

from pathlib import Path

from validibot.accounts.models import Role
from validibot.web.organisations import role_table

PAGE = Path(__file__).parents[2] / "docs" / "roles.md"
_BEGIN, _END = "by tests/house/test_roles_page.py -->\n", "<!-- end of roles -->"


def test_roles_page_has_the_table_of_the_code() -> None:
    """Replace the table on the page by the one that a failure of this test shows."""
    head = ["permission", *(str(role.label) for role in Role), "Guest"]
    rows = [[text, *("yes" if has else "" for has in holders)] for text, holders in role_table()]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |".replace("  ", " ") for cells in lines)
    shown = PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]

    assert shown.strip() == table
