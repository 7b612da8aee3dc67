"""Pages by cursor, linked by path only: a client behind a proxy can always follow them."""

from urllib.parse import urlsplit

from rest_framework.pagination import CursorPagination


class PathCursorPagination(CursorPagination):
    """`{next, previous, results}`; the links start with `/`."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
    ordering: str | tuple[str, ...] = "-created_at"

    def get_next_link(self) -> str | None:
        return _path(super().get_next_link())

    def get_previous_link(self) -> str | None:
        return _path(super().get_previous_link())


class ByNamePagination(PathCursorPagination):
    """The same, in the order of names."""

    ordering = ("name", "pk")


def _path(link: str | None) -> str | None:
    if link is None:
        return None
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"
