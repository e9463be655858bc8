"""What an entity tag becomes when its representation is compressed, and back again.

Two representations of one resource must not share a strong tag (RFC 9110 section 8.8.3.3), and a compressed one is
another representation. So `"x"` of the server becomes `"x~gzip"` of the client, and in the conditions that the client
sends it becomes `"x"` again: `If-Match` still finds it, which compares strongly (section 13.1.1) and would never take
a tag that had been made weak instead. Weak tags may stand for several codings, and stay what they are.

`If-Range` alone is not turned back: it says that bytes of the compressed representation are to be continued, and those
of the server are not. It matches nothing there, so that the whole comes again (section 13.1.5).
"""

from __future__ import annotations

import re
from typing import Final

# Inside quotes there are no quotes, so that this is always the end of a tag.
_OURS: Final = re.compile(rb'~(gzip|br|zstd)"')
_LIST: Final = re.compile(rb'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def coded(tag: bytes, coding: bytes) -> bytes:
    """The tag of the compressed representation."""
    return b'%b~%b"' % (tag[:-1], coding) if tag[:1] == b'"' and tag[-1:] == b'"' and len(tag) > 1 else tag


def original(value: bytes) -> bytes:
    """A value of If-Match or If-None-Match, with the tags that the server gave."""
    return _OURS.sub(b'"', value)


def answering(condition: bytes, tag: bytes, preferred: bytes | None) -> bytes:
    """The tag for a 304: the one of those the client has asked about that the server's `tag` stands for.

    `preferred` is the coding that the client would be sent now.
    """
    if tag[:1] != b'"':
        return tag
    asked = [match[1] for match in _LIST.finditer(condition)]
    bare = tag[1:-1]
    codings = [coding for coding in (b"gzip", b"br", b"zstd") if b"%b~%b" % (bare, coding) in asked]
    if preferred is not None and preferred in codings:
        return coded(tag, preferred)
    if bare in asked or not codings:
        return tag
    return coded(tag, codings[0])
