"""Header blocks of an HTTP/2 client, read with its table (RFC 7541)."""

from collections.abc import Mapping
from typing import NamedTuple

import hpack

from devenv.gcp.rpc.http2_frames import Code, ProtocolFault, joined_headers

HEADERS_LIMIT = 65_536  # bytes of the headers of a request that is handled, as SETTINGS count them
BLOCK_LIMIT = 512 * 1024  # bytes that are read all the same: the table goes on behind them
_OVERHEAD = 32  # bytes that each header counts besides its own (RFC 9113, section 6.5.2)
_MOST_KNOWN = 64


class Headers(NamedTuple):
    """The headers of a request, and how many bytes they have."""

    fields: Mapping[str, str]
    size: int

    @property
    def are_too_large(self) -> bool:
        return self.size > HEADERS_LIMIT


class HeaderReader:
    """The reader of one connection. Clients repeat blocks that leave the table as it is."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=BLOCK_LIMIT)
        self._known: dict[bytes, Headers] = {}

    def read(self, block: bytes) -> Headers:
        """Return the headers in a block. Raises ProtocolFault."""
        if headers := self._known.get(block):
            return headers
        limit, count, newest = self._table()
        try:
            pairs = list(self._decoder.decode(block, raw=True))
        except hpack.OversizedHeaderListError as error:
            raise ProtocolFault(Code.ENHANCE_YOUR_CALM, str(error)) from error
        except hpack.HPACKError as error:
            raise ProtocolFault(Code.COMPRESSION_ERROR, str(error)) from error
        size = sum(len(name) + len(value) + _OVERHEAD for name, value in pairs)
        # Of headers that are refused the last of each name is enough.
        read = pairs if size <= HEADERS_LIMIT else dict(pairs).items()
        headers = Headers(joined_headers(read), size)
        after = self._table()
        is_same = after[:2] == (limit, count) and after[2] is newest
        if not is_same or len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        if is_same and not headers.are_too_large:
            self._known[block] = headers
        return headers

    def _table(self) -> tuple[int, int, object]:
        """Return what differs after each change of the client's table: limit, size, newest entry."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return table.maxsize, len(entries), entries[0] if entries else None
