"""The settings of clients that prove their accounts by JSON Web Tokens: tables of `[[accounts.jwt]]`, and what is wrong
between their keys. Pure: the files they name are read in `config.token_keys`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from config.values import FilePath, Form, Table, quote
from gateway.core.addresses import is_loopback
from gateway.core.setting_kinds import Duration, PositiveSeconds, Range, setting
from gateway.core.web_tokens.key_set import KEY_TYPES
from gateway.core.web_tokens.token import IssuerTerms
from gateway.core.wire.json_lines import LIMIT


def _key_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.username or url.fragment or url.port == 0:
        raise ValueError(text)
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise ValueError(text)
    return text


KeyUrl = Annotated[str, Form('a URL such as "https://id.example.org/keys", http on this machine only', _key_url, True)]


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """A table `[[accounts.jwt]]`: an issuer of tokens, and what its tokens say."""

    issuer: str = setting("", help="Who signs: the claim `iss` of its tokens, exactly.")
    audience: tuple[str, ...] = setting((), help="For whom they are: the claim `aud` has one of these.")
    algorithms: tuple[Literal["HS256", "RS256", "ES256"], ...] = setting(
        (),
        help='How they are signed: "HS256" by a secret; "RS256" or "ES256", which need the extra `jwt` of the package.',
    )
    secret_file: FilePath = setting("", help="File with the secret of HS256, at least 32 bytes. Or:")
    jwks_file: FilePath = setting("", help="file with the keys, a JWK Set; the only place for several secrets. Or:")
    jwks_url: KeyUrl = setting("", help="where the keys are fetched in the background, a JWK Set.")
    jwks_ca: FilePath = setting(
        "", help="File with the certificate authority of that URL (PEM); unset: those that this machine trusts."
    )
    jwks_refresh: Annotated[float, Duration(low=1.0)] = setting(3600.0, help="How often they are fetched again.")
    jwks_pause: PositiveSeconds = setting(
        30.0, help="Time from one attempt to the next at least, also where tokens name keys that are not known."
    )
    jwks_timeout: Annotated[float, Duration(low=0.001, high=300.0)] = setting(
        10.0, help="Time in which they must be fetched."
    )
    jwks_limit: Annotated[int, Range(256, 1_048_576)] = setting(65536, help="Bytes that they may have at most.")
    account_claim: str = setting("sub", help='The claim that is the account, such as "preferred_username".')
    device_claim: str = setting("", help="The claim that is the device; unset: the client says it.")
    groups_claim: str = setting("", help="The claim that has the groups, a text or a list; unset: none.")
    leeway: Annotated[float, Duration(high=600.0)] = setting(30.0, help="How far clocks may be apart.")
    token_limit: Annotated[int, Range(64, LIMIT)] = setting(
        LIMIT, help="Characters of a token at most; no message can hold more than the default."
    )

    @property
    def terms(self) -> IssuerTerms:
        """What its tokens must say."""
        return IssuerTerms(
            self.issuer,
            self.audience,
            self.algorithms,
            self.account_claim,
            self.device_claim,
            self.groups_claim,
            self.leeway,
            self.token_limit,
        )

    @property
    def needs_library(self) -> bool:
        """Whether its signatures are verified by what is not in the standard library."""
        return any(KEY_TYPES[each] != "oct" for each in self.algorithms)


JWT_HELP = (
    "Issuers whose tokens prove accounts in the mode `jwt`; each is a table `[[accounts.jwt]]` with these keys. Files "
    "are read at the start and with the configuration."
)
Issuers = tuple[Annotated[IssuerSettings, Table()], ...]


def issuer_flaws(issuers: Sequence[IssuerSettings]) -> Iterator[str]:
    """Yield what is wrong with issuers, each with its place from 1."""
    first: dict[str, int] = {}
    for place, each in enumerate(issuers, 1):
        yield from (f"item {place}: {reason}" for reason in _alone(each))
        if each.issuer and first.setdefault(each.issuer, place) != place:
            yield f"item {place}: issuer {quote(each.issuer)} is that of item {first[each.issuer]}"


def _alone(issuer: IssuerSettings) -> Iterator[str]:
    for name in ("issuer", "audience", "algorithms", "account_claim"):
        if not getattr(issuer, name):
            yield f"{name} is missing"
    if "" in issuer.audience:
        yield "audience: one of them is empty"
    given = [name for name in ("secret_file", "jwks_file", "jwks_url") if getattr(issuer, name)]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield f"keys come from one of secret_file, jwks_file and jwks_url, found {found}"
        return
    by_secret = [each for each in issuer.algorithms if KEY_TYPES[each] == "oct"]
    if given == ["secret_file"] and len(by_secret) < len(issuer.algorithms):
        yield "algorithms: a secret verifies HS256 only"
    if given == ["jwks_url"] and by_secret:
        yield "algorithms: HS256 needs a secret, and what is fetched from a URL is none"
    if issuer.jwks_ca and not issuer.jwks_url.startswith("https:"):
        yield "jwks_ca has no effect without jwks_url of https"
