"""Pages of lists that may have a million rows, counted up to a limit."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.utils.functional import cached_property

# Rows that are counted and shown in pages.
MAX_COUNT = 10_000


class BoundedPaginator[M: Model](Paginator[M]):
    """A paginator that counts no further than MAX_COUNT: older rows are found by filters.

    Counting a million rows takes longer than showing fifty of them.
    """

    object_list: "QuerySet[M]"

    @cached_property
    def _counted(self) -> int:
        return self.object_list.order_by()[: MAX_COUNT + 1].count()

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than the pages show."""
        return self._counted > MAX_COUNT

    @property
    def count(self) -> Any:
        """The number of rows that the pages show."""
        return min(self._counted, MAX_COUNT)
