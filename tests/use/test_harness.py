"""lm-evaluation-harness scores a student: the same answers as `evaluate`, from tasks in several shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tinythinker import api
from tinythinker.core.errors import DataError, SettingsError, StudentError
from tinythinker.core.files import read_records
from tinythinker.core.records import Verdict
from tinythinker.core.run import RunDirectory

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.filterwarnings("ignore")

TASKS = {
    "texts": """
task: texts
output_type: multiple_choice
doc_to_text: "{{stem}}\\nAnswer:"
doc_to_choice: "{{options | map(attribute='text') | list}}"
doc_to_target: "{{options | map(attribute='label') | list | list.index(gold)}}"
metric_list: [{metric: acc}]
""",
    "labels": """
task: labels
output_type: multiple_choice
doc_to_text: "{{stem}}\\n{% for o in options %}{{o.label}}. {{o.text}}\\n{% endfor %}Answer:"
doc_to_choice: ["A", "B", "C"]
doc_to_target: gold
metric_list: [{metric: acc}]
""",
    "written": """
task: written
output_type: generate_until
doc_to_text: "{{stem}}"
doc_to_target: gold
generation_kwargs: {until: ["</s>"]}
filter_list:
  - name: label
    filter: [{function: regex, regex_pattern: 'The answer is .([A-Z])'}, {function: take_first}]
metric_list: [{metric: exact_match}]
""",
}
"""The run's own test questions as three tasks: options as texts, as labels, and an answer to be written."""


@dataclass
class Request:
    """What the harness asks, as far as we look at it."""

    doc: dict[str, Any]
    args: tuple[str, ...]
    task_name: str = "played"
    doc_id: int = 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A tested run whose student always answers readably."""
    run = api.start(
        "storeroom", tmp_path_factory.mktemp("runs") / "run", *TINY, "reflect.rounds=0", "storeroom.test=12"
    )
    api.run(run)
    return run


@pytest.fixture(scope="module")
def tasks(run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    data = f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {run.questions('test')}}}}}\ntest_split: test\n"
    index = "{{(options | map(attribute='label') | list).index(gold)}}"
    for name, text in TASKS.items():
        text = text.replace("{{options | map(attribute='label') | list | list.index(gold)}}", index)
        (folder / f"{name}.yaml").write_text(data + text)
    return folder


def test_the_harness_finds_the_accuracy_that_evaluate_found(
    run: RunDirectory, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    found = api.lm_eval(run, "texts", "labels", "written", include_path=tasks).scores
    right = [verdict.is_correct for verdict in read_records(run.verdicts("phase-1.test.greedy"), Verdict)]
    assert 0 < sum(right) < 12
    assert {(one.task, one.metric, one.value, one.n) for one in found} == {
        ("texts", "acc", sum(right) / 12, 12),
        ("labels", "acc", sum(right) / 12, 12),
        ("written", "exact_match,label", sum(right) / 12, 12),
    }


def asked_of(*requests: Request) -> tuple[str, list[str]]:
    from tinythinker.use.student_model import question_in

    question = question_in(requests)  # type: ignore[arg-type]
    assert question is not None
    return question.stem, [option.text for option in question.options]


def test_options_come_from_the_continuations_or_from_the_record_that_labels_stand_for() -> None:
    arc = {"question": "Where?", "choices": {"text": ["up", "down"], "label": ["A", "B"]}, "answerKey": "B"}
    for continuations in ((" up", " down"), (" A", " B")):
        requests = [Request(arc, ("Question: Where?\nAnswer:", one)) for one in continuations]
        assert asked_of(*requests) == ("Where?", ["up", "down"])


def test_contexts_that_hold_the_options_are_understood_by_the_record() -> None:
    winogrande = {"sentence": "The _ fell.", "option1": "cup", "option2": "cat", "answer": "1"}
    requests = [Request(winogrande, (f"The {one}", " fell.")) for one in ("cup", "cat")]
    assert asked_of(*requests) == ("The _ fell.", ["cup", "cat"])


def test_a_record_of_another_layout_is_asked_in_the_words_of_its_context() -> None:
    context = "Question: Who?\nAnswer: me\n\nQuestion: Where does rain go?\nAnswer:"
    requests = [Request({"strange": 1}, (context, one)) for one in (" up", " down")]
    assert asked_of(*requests) == ("Where does rain go?", ["up", "down"])


@pytest.mark.parametrize(
    ("doc", "continuations"),
    [({"strange": 1}, (" A", " B")), ({"text": "The rain"}, (" falls",)), ({"x": 1}, (" ", " a"))],
)
def test_what_is_no_question_with_options_is_refused(doc: dict[str, Any], continuations: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"lm-eval, task played, question 0"):
        asked_of(*(Request(doc, ("Where?", one)) for one in continuations))


def test_a_student_is_no_model_of_running_text(run: RunDirectory) -> None:
    from tinythinker.use.student_model import StudentModel

    with pytest.raises(DataError, match="expected multiple-choice questions"):
        StudentModel(api.load(run)).loglikelihood_rolling([])


def test_what_is_not_there_is_named(run: RunDirectory, tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"task: found 'nonesuch', expected a task of lm-evaluation-harness"):
        api.lm_eval(run, "nonesuch", include_path=tasks)
    with pytest.raises(StudentError):
        api.lm_eval(tmp_path, "texts", include_path=tasks)
    with pytest.raises(DataError, match="found no such folder, expected one with task files"):
        api.lm_eval(run, "texts", include_path=tmp_path / "none")
