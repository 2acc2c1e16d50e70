"""The keys of issuers of tokens that are in files, and whether the library for their algorithms is there."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from config.token_settings import IssuerSettings
from config.values import quote
from config.whole_files import read_bytes, unusable_authorities
from gateway.core.web_tokens.key_set import UnusableKeys, VerificationKey, read_key_set, read_secret


def keys_in_file(issuer: IssuerSettings) -> tuple[list[VerificationKey], list[str]]:
    """Return the keys in the file of an issuer, and why others in it were passed over; none of one with a URL.

    Raises `OSError` or `UnusableKeys`.
    """
    if issuer.secret_file:
        return [read_secret(read_bytes(issuer.secret_file))], []
    if issuer.jwks_file:
        return read_key_set(read_bytes(issuer.jwks_file), secrets=True)
    return [], []


def key_flaws(issuer: IssuerSettings) -> Iterator[str]:
    """Yield what is wrong with the keys of an issuer here, and with what verifies by them."""
    needed = [each for each in issuer.algorithms if each != "HS256"]
    if needed and (find_spec("jwt") is None or find_spec("cryptography") is None):
        yield f"{needed[0]} needs PyJWT[crypto], which is not installed: pip install 'tallygate[jwt]'"
    path = issuer.secret_file or issuer.jwks_file
    try:
        keys, passed_over = keys_in_file(issuer)
    except OSError as error:
        yield f"{quote(path)} cannot be read: {error.strerror}"
    except UnusableKeys as fault:
        yield f"{quote(path)}: {fault}"
    else:
        for algorithm in issuer.algorithms if path else ():
            if not any(key.fits(algorithm) for key in keys):
                because = f" ({'; '.join(passed_over)})" if passed_over else ""
                yield f"{quote(path)} has no key for {algorithm}{because}"
    if issuer.jwks_ca and (why := unusable_authorities(issuer.jwks_ca)):
        yield f"{quote(issuer.jwks_ca)} {why}"
