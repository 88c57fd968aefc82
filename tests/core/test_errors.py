from __future__ import annotations

from tinythinker.core.errors import DataError, SettingsError, StudentError, TeacherError, expected


def test_every_remedy_has_the_documented_exit_code() -> None:
    codes = [kind.exit_code for kind in (SettingsError, DataError, TeacherError, StudentError)]
    assert codes == [2, 3, 4, 5]


def test_a_message_says_where_it_happened_what_was_found_and_what_was_expected() -> None:
    assert expected("question q7, gold", "C", "one of A, B") == "question q7, gold: found 'C', expected one of A, B"
