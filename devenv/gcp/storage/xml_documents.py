"""XML documents of requests, whose elements may be in a namespace or in none."""

import re
from xml.etree import ElementTree as ET

from devenv.gcp.storage.errors import UploadProblem

XML_TYPE = "text/xml; charset=UTF-8"  # Node's client reads documents of type text/* only
_NAMESPACE = re.compile(r"\{[^}]*\}")


def parse_xml(
    body: bytes,
    code: str = "MalformedXML",
    message: str = "The XML of the request is not valid.",
) -> ET.Element:
    """Return the first element of a document. Raises UploadProblem with this code and message."""
    try:
        return ET.fromstring(body)  # noqa: S314 - bounded, and expat refuses to expand bombs
    except (ET.ParseError, LookupError, ValueError) as error:
        raise UploadProblem(code, message) from error


def tag_of(element: ET.Element) -> str:
    """Return the name of an element without its namespace."""
    return _NAMESPACE.sub("", element.tag)
