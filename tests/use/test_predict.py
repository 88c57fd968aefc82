from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import tiny_recipe, tiny_student
from tinythinker import api
from tinythinker.core.errors import DataError, SettingsError, StudentError
from tinythinker.core.files import read_records
from tinythinker.core.records import Question
from tinythinker.settings.schema import EvaluateSettings
from tinythinker.use.answering import LoadedStudent
from tinythinker.use.prediction import Prediction

STEMS = ("Where does rain go?", "Where?", "Does rain go up?", "Is rain down?", "Where is it wet?") * 30
ROWS = [{"id": f"q{i}", "question": stem, "options": ["up", "down"]} for i, stem in enumerate(STEMS)]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students") / "student"
    tiny_student(recipe=tiny_recipe(answer="constrained")).save(folder)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """150 questions, of which every third has an answer."""
    rows = [row | ({"answer": "A"} if i % 3 == 0 else {}) for i, row in enumerate(ROWS)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "mine.jsonl"


def test_every_question_gets_a_line_in_file_order_and_those_with_an_answer_count(
    student: Path, file: Path, tmp_path: Path
) -> None:
    found = api.predict(student, file, out=tmp_path / "out.jsonl")
    made = read_records(tmp_path / "out.jsonl", Prediction)
    assert [one.id for one in made] == [f"q{i}" for i in range(150)]
    assert (found.n, found.unreadable, found.count_gold) == (150, 0, 50)
    assert found.accuracy is not None
    assert found.accuracy.share == sum(one.answer == "A" for one in made[::3]) / 50
    assert "over the 50 questions that bring their answer" in found.line()


def test_answers_are_those_of_the_loaded_student(student: Path, file: Path, tmp_path: Path) -> None:
    api.predict(student, file, out=tmp_path / "out.jsonl")
    made = read_records(tmp_path / "out.jsonl", Prediction)[1]
    asked = api.load(student).answer(STEMS[1], ["up", "down"])
    assert made == asked.model_copy(update={"id": "q1"})


def test_a_call_that_was_killed_is_resumed_to_the_same_file(
    student: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    api.predict(student, file, out=whole)
    real, asked = LoadedStudent.predict, []

    def dies(self: LoadedStudent, some: Sequence[Question], how: EvaluateSettings, seed: int) -> list[Prediction]:
        asked.append(len(some))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(self, some, how, seed)

    monkeypatch.setattr(LoadedStudent, "predict", dies)
    with pytest.raises(KeyboardInterrupt):
        api.predict(student, file, out=out)
    with out.open("a") as torn:
        torn.write('{"id": "q64", "quest')
    api.predict(student, file, out=out)
    assert out.read_text() == whole.read_text()
    assert asked == [64, 64, 64, 22]
    api.predict(student, file, out=out)
    assert len(asked) == 4, "a finished file is not answered again"


def test_a_table_has_a_column_for_every_option_and_is_resumed_too(student: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    found = api.predict(student, file, out=out)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    lines: list[Prediction] = []
    api.predict(student, file, each=lines.append)
    assert [(row["id"], row["answer"], row["probability_B"], row["analysis_A"]) for row in rows] == [
        (one.id, one.answer, str((one.probabilities or {})["B"]), one.analyses[0]) for one in lines
    ]
    assert api.predict(student, file, out=out) == found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.jsonl", "out.csv", "out.csv.made-with.json"]


def test_answers_that_were_made_otherwise_are_never_mixed(student: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    api.predict(student, file, out=out)
    before = out.read_bytes()
    with pytest.raises(SettingsError, match=r"evaluate\.votes: was 1, now 2"):
        api.predict(student, file, "evaluate.votes=2", out=out)
    tiny_student(seed=1).save(tmp_path / "other")
    with pytest.raises(SettingsError, match=r"student: was .*, now .*other, with other files"):
        api.predict(tmp_path / "other", file, out=out)
    file.write_text(file.read_text().replace("Where?", "Where to?"))
    with pytest.raises(SettingsError, match="with other questions"):
        api.predict(student, file, out=out)
    assert out.read_bytes() == before


def test_a_file_that_predict_did_not_write_is_left_alone(student: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("mine\n")
    with pytest.raises(SettingsError, match=r"found a file without out\.jsonl\.made-with\.json next to it"):
        api.predict(student, file, out=tmp_path / "out.jsonl")
    with pytest.raises(SettingsError, match="expected another file than the questions"):
        api.predict(student, file, out=file)
    assert (tmp_path / "out.jsonl").read_text() == "mine\n"


def test_votes_are_counted_in_every_prediction(student: Path, file: Path) -> None:
    made: list[Prediction] = []
    api.predict(student, file, "evaluate.votes=3", each=made.append)
    assert all(one.votes is not None and sum(one.votes.values()) == 3 for one in made)


def test_what_cannot_be_is_refused_before_anything_is_written(student: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(SettingsError, match=r"setting train\.epochs: found it here"):
        api.predict(student, file, "train.epochs=3", out=out)
    with pytest.raises(SettingsError, match=r"ends with \.jsonl or \.csv"):
        api.predict(student, file, out=tmp_path / "out.txt")
    with pytest.raises(SettingsError, match="evaluate` answers a run's own"):
        api.predict(student, "csqa", out=out)
    with pytest.raises(StudentError, match="found no such folder"):
        api.predict(tmp_path / "none", file, out=out)
    with pytest.raises(DataError, match=r"none\.csv: found no such file"):
        api.predict(student, tmp_path / "none.csv", out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.jsonl"]
