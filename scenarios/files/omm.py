"""Orbit Mean-Elements Messages as dictionaries of keywords: CSV, JSON, XML and KVN (CCSDS 502.0-B-3)."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

from scenarios.files.reading import Refuse, parsed_json
from scenarios.ranges import cut, shown

_FORMS = "TLE, 3LE, or OMM as CSV, JSON, XML or KVN"


def records(text: str, refuse: Refuse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each message stands in a text, and its keywords.

    Raises:
        the error that ``refuse(where, what)`` makes.
    """
    start = text.lstrip()
    if start[:1] in ("[", "{"):
        return _from_json(text, refuse)
    if start[:1] == "<":
        return _from_xml(start, refuse)
    if start.upper().startswith("CCSDS_OMM_VERS"):
        return _from_kvn(text, refuse)
    if "MEAN_MOTION" in start.partition("\n")[0] and "," in start.partition("\n")[0]:
        return _from_csv(text, refuse)
    if "MEAN_MOTION" in start.partition("\n")[0]:
        header = shown(start.partition("\n")[0])
        raise refuse("line 1", f"the header {header} is not allowed: columns must be separated by commas")
    raise refuse("line 1", f"{shown(start.partition(chr(10))[0])} is not allowed: it must be the start of {_FORMS}")


def _from_csv(text: str, refuse: Refuse) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            where = f"line {reader.line_num}"
            if None in row or None in row.values():
                columns = len(reader.fieldnames or ())
                raise refuse(where, f"a row of another length is not allowed: it must have {columns} values")
            yield where, {str(key).strip().upper(): value for key, value in row.items()}
    except csv.Error as error:
        raise refuse(f"line {reader.line_num}", f"the row cannot be read as CSV ({error})") from None


def _from_json(text: str, refuse: Refuse) -> Iterator[tuple[str, dict[str, Any]]]:
    content = parsed_json(text, refuse)
    for index, each in enumerate(content if isinstance(content, list) else [content], 1):
        if not isinstance(each, dict):
            raise refuse(f"record {index}", f"{shown(each)} is not allowed: it must be an object of OMM keywords")
        yield f"record {index}", {str(key).upper(): value for key, value in each.items()}


def _from_xml(text: str, refuse: Refuse) -> Iterator[tuple[str, dict[str, Any]]]:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # entities can be made to fill the memory
        raise refuse("line 1", "a DOCTYPE is not allowed: it must be plain XML")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise refuse(f"line {error.position[0]}", f"the text is no XML ({cut(str(error))})") from None
    segments = [each for each in root.iter() if _tag(each) == "SEGMENT"]
    for index, segment in enumerate(segments, 1):
        leaves = (each for each in segment.iter() if len(each) == 0)
        yield f"segment {index}", {_tag(each): (each.text or "").strip() for each in leaves}


def _tag(element: ET.Element) -> str:
    """Without a namespace."""
    return str(element.tag).rpartition("}")[2].upper()


def _from_kvn(text: str, refuse: Refuse) -> Iterator[tuple[str, dict[str, Any]]]:
    found: dict[str, Any] = {}
    start = 1
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not key or key.startswith("COMMENT"):
            continue
        if not equals:
            raise refuse(f"line {number}", f"{shown(line)} is not allowed: it must be KEYWORD = VALUE")
        if key.upper() == "CCSDS_OMM_VERS" and found:
            yield f"line {start}", found
            found, start = {}, number
        found[key.upper()] = value.partition("[")[0].strip()  # "[rev/day]" is a unit
    yield f"line {start}", found
