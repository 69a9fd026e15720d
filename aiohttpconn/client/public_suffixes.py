"""Which domains belong to everybody, like ``com`` and ``co.uk``, so that no cookie may be set for them."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any


@cache
def _public_suffix_list() -> Any:
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - for cookies with a Domain attribute only

    # 20 ms. Were it to hold the encoded form of each internationalised suffix as well, it would take 80.
    return PublicSuffixList(accept_encoded_idn=False)


def _decoded(host: str) -> str:
    """The host with its ``xn--`` labels in Unicode, as the list has them."""
    if "xn--" not in host:
        return host
    labels = host.split(".")
    for index, label in enumerate(labels):
        if label.startswith("xn--"):
            try:
                labels[index] = label[4:].encode("ascii").decode("punycode")
            except UnicodeError:
                pass  # no suffix is spelt so
    return ".".join(labels)


@lru_cache(1024)
def is_public_suffix(host: str) -> bool:
    """Whether a host (ASCII, lower case) is a public suffix; a single label that no rule names is one."""
    return bool(_public_suffix_list().is_public(_decoded(host)))
