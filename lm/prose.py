"""Extract English prose from documentation, by rules.

1. A paragraph is a run of lines of one indentation; a bullet counts as indentation.
2. Markup is removed: quotation marks, asterisks and backquotes around words, reST roles, the
   brackets of `name()`, footnote numbers.
3. A paragraph is split into sentences. A sentence is kept if it begins with a capital, ends with
   a full stop, question or exclamation mark, and has only words, numbers and punctuation. This
   drops headings, tables, signatures, grammar, doctests and other code.
4. Words are those of the Penn Treebank: lower case, numbers `N`, punctuation apart, and
   contractions split, so that `don't` is `do n't` and `it's` is `it 's`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

MIN_WORDS = 4  # including punctuation; shorter ones are usually labels

_TYPOGRAPHY = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "--", "—": "--"})

_BULLET = re.compile(r"^ *(?:[*+-]|\d+[.)]) (?=\S)", re.MULTILINE)

_MARKUP = re.compile(
    r"""
      :[\w:]+:(?=`)                       # the role in :class:`Name`
    | \[\d+\]                             # a footnote
    | \(\)                                # a call
    | (?<!\w) ["'*`]+ (?=[\w(])           # the start of a quotation or emphasis
    | (?<=[\w.,;:?!)]) ["'*`]+ (?!\w)     # and its end
    """,
    re.VERBOSE,
)

_SENTENCE_BREAK = re.compile(r"(?:(?<=[.?!])|(?<=[.?!]\)))\s+(?=\(?[A-Z])")

_SENTENCE = re.compile(r"\(?[A-Z].*[.?!]\)?")

_CONTRACTION = re.compile(r"(?<=\w)(?=n't\b|'(?:s|d|m|ll|re|ve)\b)", re.IGNORECASE)

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

_WORD = re.compile(
    r"""
      (?:[A-Za-z]\.){2,}                  # i.e.
    | n't | '\w+                          # the end of a contraction
    | \w+(?:[-./]\w+|,\d+)*               # word, by-word, and/or, module.name, 3.14
    | \.(?!\.) | [,;:?!()] | --(?!\w)     # punctuation
    """,
    re.VERBOSE | re.IGNORECASE,
)


def sentences(text: str) -> Iterator[list[str]]:
    """The sentences of plain English in `text`, each a list of its words."""
    for paragraph in paragraphs(text):
        for sentence in _SENTENCE_BREAK.split(_MARKUP.sub("", paragraph)):
            words = _words(sentence)
            if len(words) >= MIN_WORDS:
                yield words


def paragraphs(text: str) -> Iterator[str]:
    """The runs of lines of one indentation, each joined into one line."""
    text = text.translate(_TYPOGRAPHY).expandtabs()
    text = _BULLET.sub(lambda bullet: "\n" + " " * len(bullet[0]), text)
    for indentation, lines in groupby(text.splitlines(), key=_indentation):
        if indentation is not None:
            paragraph = "\n".join(line.strip() for line in lines)
            yield re.sub(r"(?<=\w-)\n", "", paragraph).replace("\n", " ")


def _indentation(line: str) -> int | None:
    """Columns of white space before the text, None for a blank line."""
    return len(line) - len(line.lstrip()) if line.strip() else None


def _words(sentence: str) -> list[str]:
    """The words of a sentence, or none if it is not prose."""
    if not _SENTENCE.fullmatch(sentence) or sentence.count("(") != sentence.count(")"):
        return []
    sentence = _CONTRACTION.sub(" ", sentence)
    if _WORD.sub("", sentence).strip():
        return []
    return ["N" if _NUMBER.fullmatch(w) else w.lower() for w in _WORD.findall(sentence)]
