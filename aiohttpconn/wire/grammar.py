"""The grammar of HTTP/1.1 messages, once, as data. Each pattern names its section.

Patterns are for `fullmatch` on one line without its line end.
"""

from __future__ import annotations

import re

# RFC 9112 section 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]; no status is below 100 (RFC 9110
# section 15). Seen in the wild and accepted: no space before an absent reason; spaces and tabs around the reason
# (stripped, as http.client does).
STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([^\x00\r\n]*))?")

# RFC 9112 section 5: field-line = field-name ":" OWS field-value OWS. No white space before the colon (section 5.1).
# A value may hold anything but NUL, CR and LF: servers send other control characters and obs-text. The white space
# around it is stripped afterwards: a pattern that leaves it out needs quadratic time on a value full of spaces.
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00\r\n]*)")

# RFC 9112 section 7.1: chunk-size [ chunk-ext ]. Old servers pad sizes with spaces; an extension is skipped unread.
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\x00\r\n]*)?")

# The empty line that ends a head; bare LF counts as a line end there (RFC 9112 section 2.2).
HEAD_END = re.compile(rb"\n\r?\n")

# Chunk framing and trailers take no bare LF.
BARE_LF = re.compile(rb"(?<!\r)\n")

# RFC 9112 section 3.2: what may stand in a request line as its target: no space, no control character.
TARGET = re.compile(r"[\x21-\x7e]+")

# RFC 9110 section 8.6: Content-Length = 1*DIGIT.
DIGITS = re.compile(r"[0-9]+")
