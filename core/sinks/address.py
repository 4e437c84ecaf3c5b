"""Where a database server is, read from a URL. A password is used to connect and shown nowhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from ..errors import UserError, unknown

# one slash is what a path has made of a URL's two
_SECRET = re.compile(r"(:/{1,2}[^:/@\s]*):.*@", re.DOTALL)
_SECRET_OPTION = re.compile(r"([?&](?:password|sslpassword|passwd|pwd)=)[^&\s]*", re.IGNORECASE)


def redact(text: str) -> str:
    """A URL, or a text with one in it, as others may see it."""
    return _SECRET_OPTION.sub(r"\1***", _SECRET.sub(r"\1:***@", text))


@dataclass(frozen=True)
class Address:
    scheme: str
    host: str
    port: int | None
    user: str | None
    password: str | None = field(repr=False)
    database: str
    options: dict[str, str] = field(repr=False)

    @property
    def shown(self) -> str:
        """The URL without any password, and of its options only the schema."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        port = f":{self.port}" if self.port else ""
        space = f"?schema={quote(self.options['schema'], safe='')}" if "schema" in self.options else ""
        return f"{self.scheme}://{user}{host}{port}/{quote(self.database, safe='')}{space}"

    @property
    def file_name(self) -> str:
        """A name for files that belong to work on this database."""
        parts = (self.scheme, self.host, str(self.port or ""), self.database, self.options.get("schema", ""))
        return quote("-".join(p for p in parts if p), safe="")

    def uri(self, without: tuple[str, ...] = ("schema",)) -> str:
        """The URL for a driver, password included."""
        user = quote(self.user, safe="") if self.user else ""
        user += f":{quote(self.password, safe='')}" if self.password is not None else ""
        host = "" if "host" in self.options else f"[{self.host}]" if ":" in self.host else self.host
        options = urlencode({k: v for k, v in self.options.items() if k not in without}, quote_via=quote)
        return (
            f"{self.scheme}://{user}{'@' if user else ''}{host}{f':{self.port}' if self.port else ''}/"
            f"{quote(self.database, safe='')}{f'?{options}' if options else ''}"
        )

    def scrub(self, message: str) -> str:
        """A driver's message without the password, should it repeat it."""
        secrets = [self.password, self.options.get("password"), self.options.get("sslpassword")]
        for secret in (s for s in secrets if s):
            for form in {secret, quote(secret, safe=""), quote(secret)}:
                message = message.replace(form, "***")
        return redact(message)


def parse_address(url: str, options: tuple[str, ...] | None = None) -> Address:
    """Read `scheme://user:password@host:port/database?option=value`. `options` are the ones there are, None where a driver judges them.

    Raises UserError, without the password in it, for a URL that names no database.
    """
    try:
        at = urlsplit(url)
        port = at.port
    except ValueError as error:
        # urlsplit repeats what it could not read, which may be a part of a password with a character that is not escaped
        raise UserError(
            f"target '{redact(url)}' is not a URL of a database ({type(error).__name__} in host or port); expected "
            "SCHEME://USER@HOST:PORT/DATABASE, with special characters of a password percent-encoded"
        ) from None
    database = unquote(at.path.removeprefix("/"))
    if not database or "/" in database or "\0" in unquote(url) or at.fragment:
        raise UserError(
            f"target '{redact(url)}' names no database; expected {at.scheme}://USER@HOST:PORT/DATABASE, with special characters "
            "of a password percent-encoded"
        )
    found = dict(parse_qsl(at.query, keep_blank_values=True))
    for name in found if options is not None else ():
        if name not in (options or ()):
            raise unknown("option", name, options or (), f"target '{redact(url)}'")
    user, password = at.username, at.password
    return Address(
        at.scheme,
        unquote(at.hostname or found.get("host", "")),
        port,
        unquote(user) if user else None,
        unquote(password) if password is not None else None,
        database,
        found,
    )
