"""One of the URLs of a file, and what is known of it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from ..errors import HTTPException
from ..secrets import masked_url
from ..url import parse

if TYPE_CHECKING:
    from ..messages import Request
    from ..url import URL
    from .version import Version

_SIGNATURE: Final = re.compile(r"(?:x-[a-z]+-)?sig(?:nature)?=", re.IGNORECASE)
_SIGNING: Final = re.compile(
    r"(?:x-(?:amz|goog|oss|cos)-[\w-]+|awsaccesskeyid|googleaccessid|ossaccesskeyid|key-pair-id|policy|expires|signature"
    r"|s(?:ig|e|p|r|t|v|pr|ip|s|rt|ke|koid|ks|kt|ktid|kv))=",
    re.IGNORECASE,
)
"""Parameters with which S3, Google, Azure, CloudFront and their like sign a URL: they name nothing, and are new each
time."""


class Source:
    """One of the URLs of a file."""

    def __init__(self, url: str | URL) -> None:
        self.url = url
        self.version: Version | None = None
        """What it was found to have."""
        self.differs = False
        """Whether what it has is not known to be the file of the first source."""
        self.landed: Request | None = None
        """The request that redirects led to: further ones go there, since a redirector may choose anew each time."""
        self.lost: HTTPException | None = None
        """Why it is not asked any more."""

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        try:
            return parse(self.url).shown
        except HTTPException:
            return masked_url(self.url)  # relative to the client's base URL

    @property
    def key(self) -> str:
        """What a saved state knows it by: the URL without what signs it, which is new each time. (A hash: the rest may
        hold secrets, too.)"""
        text = self.url if isinstance(self.url, str) else self.url.href
        try:
            text = parse(text).without_userinfo().href
        except HTTPException:
            pass  # relative to the client's base URL
        place, mark, query = text.partition("#")[0].partition("?")
        pairs = query.split("&")
        if any(map(_SIGNATURE.match, pairs)):
            pairs = [each for each in pairs if not _SIGNING.match(each)]
        text = place + mark + "&".join(pairs)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
