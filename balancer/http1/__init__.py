"""HTTP/1.x messages as bytes and values: grammar, framing and the heads that are sent on. No I/O and no clock."""
