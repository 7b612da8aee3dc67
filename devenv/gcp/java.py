"""Trust store and properties with which Java's virtual machine is a client of the emulated cloud.

Java reads neither the variables of a proxy nor a bundle in PEM. It reads `JAVA_TOOL_OPTIONS`, and says
so on stderr whenever it starts.
"""

import re
import warnings
from pathlib import PurePath

from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12
from cryptography.utils import CryptographyDeprecationWarning

_CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def trust_store_of(bundle: PurePath) -> PurePath:
    """Return the place of the trust store with the certificates of a bundle: beside it."""
    return bundle.with_suffix(".p12")


def trust_store(bundle: bytes) -> bytes:
    """Return the certificates of a bundle as a trust store without a password, in PKCS #12."""
    found = []
    with warnings.catch_warnings():
        # Old roots of some machines have serial numbers that are not positive.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for index, text in enumerate(_CERTIFICATE.findall(bundle)):
            try:
                certificate = x509.load_pem_x509_certificate(text)
            except ValueError:
                continue
            found.append(pkcs12.PKCS12Certificate(certificate, str(index).encode()))
    return pkcs12.serialize_java_truststore(found, NoEncryption()) if found else b""


def tool_options(*, proxy: str, bypass: str, bundle: PurePath) -> str:
    """Return the value of JAVA_TOOL_OPTIONS; `bypass` is that of no_proxy."""
    host, _, port = proxy.rpartition("/")[2].partition(":")
    direct = "|".join(map(_pattern, bypass.split(",")))
    properties = {
        "javax.net.ssl.trustStore": f'"{trust_store_of(bundle)}"',
        "javax.net.ssl.trustStoreType": "PKCS12",
        **{f"{scheme}.proxyHost": host for scheme in ("http", "https")},
        **{f"{scheme}.proxyPort": port for scheme in ("http", "https")},
        "http.nonProxyHosts": direct,
    }
    return " ".join(f"-D{name}={value}" for name, value in properties.items())


def _pattern(host: str) -> str:
    """Return a host of no_proxy as Java writes it."""
    if ":" in host:
        return f"[{host}]"
    return f"*{host}" if host.startswith(".") else host
