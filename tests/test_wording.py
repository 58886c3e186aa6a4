"""Law: a line stays one line, and no longer than allowed, with the mend at its end."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from graft import wording
from graft.data.faults import data_error
from graft.weights.faults import model_error
from graft.wording import shorten, shorten_middle, shorten_path


@given(text=st.text(max_size=400), n=st.integers(1, 300))
def test_what_is_shortened_is_one_line_and_short(text, n):
    for short in (shorten(text, n), shorten_path(text, n)):
        assert len(short) <= n and short.isprintable()
    assert len(shorten_middle(text, n)) <= n


@given(text=st.text("abc ", min_size=1, max_size=400))
def test_the_end_of_a_message_is_kept(text):
    short = shorten_middle(f"{text}; restore it", 60)
    assert short.endswith("restore it")
    assert len(f"{text}; restore it") > 60 or short == f"{text}; restore it"


@given(path=st.text(max_size=400), message=st.text(max_size=400))
def test_errors_of_files_are_one_line_of_200_characters(path, message):
    for error in (data_error(message, path=path), model_error(path, message)):
        assert len(str(error)) <= 200 and "\n" not in str(error)


def test_examples():
    assert doctest.testmod(wording).failed == 0
