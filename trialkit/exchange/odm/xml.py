"""What is written as XML: elements of ODM's own namespace, and texts that XML can hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

NAMESPACE = "http://www.cdisc.org/ns/odm/v2.0"

#: Characters that XML 1.0 has not (section 2.2, production 2).
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def element(name: str, attributes: dict[str, str | None], *children: Element | None) -> Element:
    """Return an element; an attribute or a child that is None is left out."""
    made = Element(name, {key: value for key, value in attributes.items() if value is not None})
    made.extend(child for child in children if child is not None)
    return made


def text_element(name: str, text: str) -> Element:
    """Return an element that holds a text."""
    made = Element(name)
    made.text = text
    return made


def translated(name: str, text: str) -> Element:
    """Return an element with an English text in it, as ODM has texts for people."""
    inner = element("TranslatedText", {"xml:lang": "en", "Type": "text/plain"})
    inner.text = text
    return element(name, {}, inner)


def written(made: Element) -> bytes:
    """Return an element as bytes; a carriage return is written so that a reader keeps it."""
    text = ElementTree.tostring(made, encoding="unicode").replace("\r", "&#13;")
    return text.encode(errors="backslashreplace")


def opening(name: str, attributes: dict[str, str]) -> bytes:
    """Return the start tag of an element whose content follows."""
    return written(Element(name, attributes)).removesuffix(b" />") + b">\n"


def all_texts(made: Element) -> Iterator[str]:
    """Yield every text and attribute of an element."""
    for part in made.iter():
        yield part.text or ""
        yield from part.attrib.values()
