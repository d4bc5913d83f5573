"""Event files of TensorBoard, read to their end: records, each with checksums of its own."""

from __future__ import annotations

import struct

from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

HEAD, TAIL = 12, 4
"""Bytes around a record: its length and the checksum of that; the checksum of its content."""
CUT_OFF = "the last record is cut off"
"""As a kill leaves a file: what came before is whole."""


def whole_until(content: bytes) -> tuple[int, str | None]:
    """How far an event file can be read.

    Args:
        content: of the file.

    Returns:
        bytes in whole records, and what is wrong with what follows; None at the end of the file.
    """
    at = 0
    while at < len(content):
        head = content[at : at + HEAD]
        if len(head) < HEAD:
            return at, CUT_OFF
        if not _fits(head[:8], head[8:]):
            return at, "a record's length does not match its checksum"
        (length,) = struct.unpack("<Q", head[:8])
        end = at + HEAD + length
        if end + TAIL > len(content):
            return at, CUT_OFF
        if not _fits(content[at + HEAD : end], content[end : end + TAIL]):
            return at, "a record does not match its checksum"
        at = end + TAIL
    return at, None


def _fits(data: bytes, checksum: bytes) -> bool:
    return bool(masked_crc32c(data) == struct.unpack("<I", checksum)[0])
