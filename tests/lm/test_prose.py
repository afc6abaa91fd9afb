"""The rule that finds prose in documentation and cuts it into words."""

from __future__ import annotations

import pytest

from lm.prose import paragraphs, sentences


def lines(text: str) -> list[str]:
    return [" ".join(words) for words in sentences(text)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Objects are Python's data.", "objects are python 's data ."),
        ("We don't, can’t and it's so.", "we do n't , ca n't and it 's so ."),
        ("Added in 3.12, after 1,000 changes.", "added in N , after N changes ."),
        ("A 16-bit integer is and/or was used.", "a 16-bit integer is and/or was used ."),
        ("The *name* of ``a.b()`` is “it”.", "the name of a.b is it ."),
        ('Use "iter()", e.g. in a loop.', "use iter , e.g. in a loop ."),
        ("Is :class:`Thread` (really) safe?", "is thread ( really ) safe ?"),
        ("Call `__init__` – or don't [2].", "call __init__ -- or do n't ."),
        (
            "It is post-\nmortem\n debugging.\n\nYes, it is post-\nmortem.",
            "yes , it is post-mortem .",
        ),
    ],
)
def test_words(text: str, line: str) -> None:
    assert lines(text) == [line]


def test_sentences_end_before_a_capital() -> None:
    text = "First, this one. Then (see below) that!  (And here it is.) Is N.Y. one?"
    assert lines(text) == [
        "first , this one .",
        "then ( see below ) that !",
        "( and here it is . )",
        "is n.y. one ?",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "The while statement",  # a heading
        "The following names are bound:",
        "and so forth, and so on.",
        "Too short.",
        ">>> Print the value of this.",
        "Set x = 3 and see it.",
        "Return a[i] as a list of it.",
        "One (and no more. Two of them) are.",
        "This is cut off ... And so is that ...",
        "Name | Meaning of it.",
        "Run with --verbose to see it.",
        "---------- A line here.",
    ],
)
def test_what_is_not_prose_is_left_out(text: str) -> None:
    assert lines(text) == []


def test_paragraphs_are_runs_of_one_indentation() -> None:
    text = """\
One goes
on.
   Two, deeper.
One again.

* Three, a bullet
  that goes on.
* Four.

1. Five."""
    assert list(paragraphs(text)) == [
        "One goes on.",
        "Two, deeper.",
        "One again.",
        "Three, a bullet that goes on.",
        "Four.",
        "Five.",
    ]
