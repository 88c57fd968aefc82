from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ask
from tinythinker.core.errors import TeacherError
from tinythinker.core.records import Flaw, Rationale, Rejected
from tinythinker.core.run import RunDirectory
from tinythinker.settings.resolve import load_settings
from tinythinker.tasks.official import read_official
from tinythinker.tasks.registry import load_task
from tinythinker.teacher.collect import collect_rationales
from tinythinker.teacher.ecqa import assign, ecqa_files, ecqa_rationales, split_positives
from tinythinker.teacher.facts import fact_rationales

ROOMS = ["attic", "wine cellar", "garage", "bath room"]


@pytest.mark.parametrize(
    ("sentences", "said"),
    [
        # In order, each naming its option.
        (["The attic is high.", "A wine cellar is cool", "Garages hold cars.", "A bath room is wet."], [0, 1, 2, 3]),
        # In another order.
        (["Garages hold cars.", "The attic is high.", "A bath room is wet.", "A wine cellar is cool."], [1, 3, 0, 2]),
        # Misspelled, and one unnamed: by elimination.
        (["The atic is high.", "Bottles lie there.", "Garrages hold cars.", "A bathroom is wet."], [0, 1, 2, 3]),
        # Two are unnamed: everything named is in order, so these are taken to be in order, too.
        (["The attic is high.", "Bottles lie there.", "Cars stand there.", "A bath room is wet."], [0, 1, 2, 3]),
    ],
)
def test_one_sentence_per_option_is_assigned_to_its_option(sentences: list[str], said: list[int]) -> None:
    wanted = [sentences[i] if sentences[i].endswith(".") else sentences[i] + "." for i in said]
    assert assign(sentences, ROOMS) == wanted


def test_extra_sentences_are_joined_by_the_option_they_name() -> None:
    sentences = [
        "An attic is high.",
        "Attics are dry.",
        "A wine cellar is cool.",
        "A garage is big.",
        "A bath room is wet.",
    ]
    assert assign(sentences, ROOMS) == ["An attic is high. Attics are dry.", *sentences[2:]]


def test_a_sentence_that_names_two_options_in_full_counts_for_both() -> None:
    sentences = ["Attic and garage are dry.", "A wine cellar is cool.", "A bath room is wet."]
    assert assign(sentences, ROOMS) == [sentences[0], sentences[1], sentences[0], sentences[2]]


@pytest.mark.parametrize(
    "sentences",
    [
        [],
        ["The attic is high.", "A wine cellar is cool."],
        # Two unnamed, the others out of order: impossible to tell.
        ["A bath room is wet.", "Bottles lie there.", "Cars stand there.", "The attic is high."],
        ["The attic is high.", "It is dry.", "A wine cellar is cool.", "Cars stand there.", "A bath room is wet."],
    ],
)
def test_an_alignment_that_would_be_a_guess_is_rejected_with_a_reason(sentences: list[str]) -> None:
    reason = assign(sentences, ROOMS)
    assert isinstance(reason, str)
    assert reason.startswith(f"{len(sentences)} sentences, none surely about")


@pytest.mark.parametrize(
    ("sentences", "recall", "analysis"),
    [
        (["Jugs hold water.", "A kitchen has jugs."], "Jugs hold water.", "A kitchen has jugs."),
        (["A kitchen is a room.", "Kitchens have jugs"], "A kitchen is a room.", "Kitchens have jugs."),
        (["A kitchen has jugs."], "A kitchen has jugs.", "A kitchen has jugs."),
        (["Jugs hold water.", "They stand there."], "Jugs hold water.", "They stand there."),
    ],
)
def test_general_knowledge_does_not_name_the_answer(sentences: list[str], recall: str, analysis: str) -> None:
    assert split_positives(sentences, "kitchen") == (recall, analysis)


def ecqa(folder: Path, *rows: dict[str, str], name: str = "ecqa_train.jsonl") -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


ROW = {"q_no": "q1", "taskA_pos": "Jugs hold water.\nKitchens have jugs.", "taskA_neg": "Up is sky.\nA bed is soft."}
TRAIN = [ask("Where?", "up", "kitchen", "bed", gold="B", id="q1")]


def test_a_row_is_aligned_to_the_questions_own_order_of_options(tmp_path: Path) -> None:
    ecqa(tmp_path, ROW)
    assert list(ecqa_rationales(ecqa_files(tmp_path), TRAIN)) == [
        Rationale(
            question_id="q1",
            recall="Jugs hold water.",
            analyses=("Up is sky.", "Kitchens have jugs.", "A bed is soft."),
        )
    ]


def test_rows_join_by_id_and_rows_outside_training_are_rejected_in_every_file(tmp_path: Path) -> None:
    ecqa(tmp_path, ROW | {"q_no": "dev-1"}, ROW)
    ecqa(tmp_path, ROW, ROW | {"q_no": "dev-1"}, name="ecqa_test.jsonl")
    leak, kept = ecqa_rationales(ecqa_files(tmp_path), TRAIN)
    assert isinstance(kept, Rationale)
    assert isinstance(leak, Rejected)
    assert (leak.question_id, leak.flaw) == ("dev-1", Flaw.NOT_TRAIN)


def test_a_row_that_cannot_be_aligned_is_listed_with_the_reason(tmp_path: Path) -> None:
    ecqa(tmp_path, ROW | {"taskA_neg": "Up is sky."})
    (rejected,) = ecqa_rationales(ecqa_files(tmp_path), TRAIN)
    assert isinstance(rejected, Rejected)
    assert (rejected.flaw, rejected.reason) == (Flaw.UNALIGNED, "1 sentences, none surely about bed")


def test_a_folder_without_ecqa_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"found none of ecqa_train\.jsonl"):
        ecqa_files(tmp_path)


def test_a_damaged_row_is_reported_with_file_and_line(tmp_path: Path) -> None:
    ecqa(tmp_path, ROW, {"q_no": "x"})
    with pytest.raises(TeacherError, match=r"ecqa_train\.jsonl:2: taskA_pos: found nothing"):
        list(ecqa_rationales(ecqa_files(tmp_path), TRAIN))


def test_facts_teach_recall_only() -> None:
    questions = [*TRAIN, ask("Why?", "x", "y", id="q2")]
    assert list(fact_rationales({"q1": "Jugs hold water."}, questions)) == [
        Rationale(question_id="q1", recall="Jugs hold water.")
    ]


@pytest.mark.data
def test_at_least_97_percent_of_ecqa_fill_all_five_options(data_dir: Path) -> None:
    csqa = data_dir / "csqa"
    every = [e.question for name in ("train", "dev") for e in read_official(csqa / f"{name}_rand_split.jsonl")]
    made = list(ecqa_rationales(ecqa_files(data_dir / "ecqa"), every))
    kept = [r for r in made if isinstance(r, Rationale)]
    assert len(made) == 10_839  # 10,882 rows, 43 of them repeats of another file's
    assert len(kept) / len(made) >= 0.97
    assert all(len(r.analyses) == 5 and all(r.analyses) for r in kept)
    assert all(r.flaw is Flaw.UNALIGNED and r.reason for r in made if isinstance(r, Rejected))


@pytest.mark.data
def test_no_commonsenseqa_test_question_ever_reaches_training(data_dir: Path, tmp_path: Path) -> None:
    overrides = [f"data_dir={data_dir / 'csqa'}", "teacher.source=ecqa", f"teacher.path={data_dir / 'ecqa'}"]
    settings = load_settings("csqa", overrides)
    task = load_task(settings)
    collected = collect_rationales(settings, task, RunDirectory(tmp_path))
    taught = {rationale.question_id for rationale in collected.rationales}
    splits = {name: {question.id for question in own} for name, own in task.splits.items()}
    assert taught <= splits["train"]
    assert not taught & (splits["test"] | splits["valid"])
    leaks = {r.question_id for r in collected.rejected if r.flaw is Flaw.NOT_TRAIN}
    assert len(leaks & splits["test"]) == 1213
