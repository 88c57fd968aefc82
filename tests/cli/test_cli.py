from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import TINY
from tests.teacher.llm.server import Answer, Request, chat, rationale_text, serving
from tinythinker import api
from tinythinker.cli.main import build

VERBS = (
    "quickstart",
    "bench",
    "run",
    "teach",
    "cost",
    "try",
    "batch-export",
    "batch-import",
    "train",
    "reflect",
    "evaluate",
    "probe",
    "study",
    "methods",
    "report",
    "card",
    "push",
    "export",
    "lm-eval",
    "check",
    "ask",
    "predict",
    "serve",
    "settings",
)
GOOD = '{"id": "q%d", "question": "Where %d?", "options": ["up", "down"], "answer": 0}\n'


def call(*words: str | Path, stdin: str | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    result = CliRunner().invoke(build(), [str(word) for word in words], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def refused(code: int, message: str, *words: str | Path) -> None:
    """Assert that the command ends with this code and one line that contains the message."""
    exit_code, out, err = call(*words)
    last = err.strip().split("\n")[-1]
    assert (exit_code, out) == (code, ""), err
    assert last.startswith("error: ")
    assert message in last


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    code, out, err = call("run", "storeroom", *TINY, "--out", folder)
    assert code == 0, err
    assert out.strip() == str(folder / "report.html")
    assert "round-2: accuracy" in err
    return folder


def test_the_single_verbs_together_do_what_run_does(run: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    assert call("teach", "storeroom", *TINY, "--out", steps)[1].strip() == str(steps / "teacher" / "rationales.jsonl")
    assert call("train", steps)[1].strip() == str(steps / "phase-1" / "student")
    assert call("reflect", steps)[1].strip() == str(steps / "round-2" / "student")
    assert call("evaluate", steps)[1].strip() == str(steps / "verdicts")
    assert call("report", steps)[1].strip() == str(steps / "report.html")
    for file in (run / "verdicts").iterdir():
        assert (steps / "verdicts" / file.name).read_text() == file.read_text()


def test_ask_shows_recall_every_analysis_and_the_answer(run: Path) -> None:
    words = ("What should you keep a thing in?", "--option", "box", "-o", "jar", "-o", "bag")
    code, out, _ = call("ask", run, *words)
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "Recall",
        "Analyze A",
        "Analyze B",
        "Analyze C",
        "Summarize",
        "Answer",
    ]
    _, out, _ = call("ask", run / "round-1" / "student", *words, "--json")
    said = json.loads(out)
    assert (said["question"], said["options"]) == (words[0], ["box", "jar", "bag"])
    assert (len(said["analyses"]), "text" in said) == (3, True)


def test_ask_reads_questions_from_standard_input(run: Path) -> None:
    spoken = "What should you keep a thing in?\nA) box\nB) jar\nC) bag\n"
    given = call("ask", run, "What should you keep a thing in?", "-o", "box", "-o", "jar", "-o", "bag")
    assert call("ask", run, stdin=spoken) == call("ask", run, "-", stdin=spoken) == given
    assert call("ask", run, "-", "-o", "box", "-o", "jar", "-o", "bag", stdin=spoken.split("\n")[0]) == given
    lines = '{"id": "a", "question": "Where?", "options": ["up", "down"]}\n' * 2
    code, out, _ = call("ask", run, "--json", stdin=lines)
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, ["a", "a"])
    assert call("ask", run, stdin="")[2] == "error: standard input: found nothing, expected a question\n"


def test_predict_writes_a_line_for_every_question_and_says_how_many_are_right(run: Path, tmp_path: Path) -> None:
    questions = run / "questions" / "test.jsonl"
    code, out, err = call("predict", run, questions)
    assert code == 0, err
    made = [json.loads(line) for line in out.splitlines()]
    verdicts = (run / "verdicts" / "round-2.test.greedy.jsonl").read_text().splitlines()
    assert [one["answer"] for one in made] == [json.loads(line)["answer"] for line in verdicts]
    assert f"{len(made)} answers, " in err
    assert "; accuracy " in err
    file = tmp_path / "answers.csv"
    code, out, _ = call("predict", run, questions, "--out", file)
    assert (code, out.strip()) == (0, str(file))
    assert file.read_text().count("\n") == len(made) + 1


def test_check_shows_what_is_recognised_and_ends_with_the_code_of_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("question,A,B,answer\nWhere?,up,down,2\nWhy?,so,thus,1\n")
    code, out, err = call("check", file)
    assert (code, err) == (0, "")
    assert "answer: numbers are positions from 1" in out
    assert "mine-2: Where?\n    A: up\n  * B: down" in out
    code, out, _ = call("check", file, "--json")
    assert json.loads(out)["questions"][0] == {
        "id": "mine-2",
        "question": "Where?",
        "options": ["up", "down"],
        "answer": "B",
    }
    file.write_text("question,A,B,answer\nWhere?,up,down,left\nWhy?,so,thus,A\n")
    code, out, err = call("check", file)
    assert (code, json.loads(call("check", file, "--json")[1])["problems"][0]["line"]) == (3, 2)
    assert "problem: " in out
    assert err == f"error: {file}: found 1 row that could not be read, expected none\n"


def test_settings_of_a_verb_are_listed_with_their_meaning() -> None:
    code, out, _ = call("settings", "reflect")
    assert code == 0
    assert "reflect.beta = 0.5    [number > 0]\n    Sharpness of" in out
    assert "train." not in out
    assert "train.max_steps = 400" in call("settings", "--task", "storeroom")[1]


def test_a_probe_prints_the_effects_of_interventions(run: Path) -> None:
    code, out, err = call("probe", run, "--questions", "4")
    assert code == 0, err
    assert "answer changes" in out
    assert "accuracy points that each stage costs" in out
    code, out, _ = call("probe", run, "--questions", "4", "--json")
    assert json.loads(out)["student"] == "round-2"


def test_a_study_prints_its_table_and_the_path_of_its_page(tmp_path: Path) -> None:
    out = tmp_path / "study"
    code, said, err = call(
        "study", "storeroom", *TINY, "--methods", "majority,label_only", "--seeds", "1", "--out", out
    )
    assert code == 0, err
    assert said.strip() == str(out / "study.html")
    assert "| label_only |" in err


def test_methods_are_listed_with_their_settings() -> None:
    code, out, _ = call("methods")
    assert code == 0
    assert "cot: recall, analyses and answer in one target" in out
    assert "[stages.plan=cot reflect.rounds=0]" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD % (0, 0) * 0 + "".join(GOOD % (i, i) for i in range(6)) + "{oops\n",
            "mine.jsonl:7: found malformed JSON",
        ),
        (GOOD % (1, 1) + GOOD % (1, 1) + "".join(GOOD % (i, i) for i in range(2, 12)), "found id 'q1' 2 times"),
        (GOOD % (1, 1) + GOOD.replace('"answer": 0', '"answer": "C"') % (2, 2), "mine.jsonl:2, answer: found 'C'"),
        (GOOD.replace(', "down"', "") % (1, 1), "mine.jsonl:1, number of options: found 1, expected 2 to 26"),
        (GOOD.replace('"down"', ", ".join(f'"{i}"' for i in range(26))) % (1, 1), "number of options: found 27"),
        (GOOD.replace("Where %d?", "") % 1, "mine.jsonl:1, question: found '', expected some text"),
    ],
    ids=["malformed", "duplicate", "gold", "one-option", "27-options", "empty-question"],
)
def test_bad_questions_are_a_one_line_error_with_exit_code_3_and_no_partial_files(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.jsonl").write_text(text)
    refused(3, message, "run", tmp_path / "mine.jsonl", "--out", tmp_path / "run", "student.init=scratch")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), RuntimeError("can't allocate memory")],
)
def test_too_little_memory_is_a_one_line_error_that_says_what_to_set(
    run: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(api, "evaluate", fail)
    refused(5, "set micro_batch_size= or gradient_checkpointing=true", "evaluate", run)


ASK = ("teacher.source=openai", "teacher.llm.model=m", "teacher.llm.base_url=http://127.0.0.1:9/v1", "split.valid=0.2")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of ten questions."""
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(GOOD % (i, i) for i in range(10)))
    return path


def test_cost_estimates_before_anything_is_sent(mine: Path) -> None:
    code, out, _ = call("cost", mine, "teacher.llm.model=gpt-4o-2024-05-13", "limit.train=5")
    assert code == 0
    assert "requests            5, one per training question, for 40 completions" in out
    assert "completion tokens   at most 10,240" in out
    assert "cost                at most $0." in out
    code, out, _ = call("cost", mine, "teacher.llm.model=m", "--json")
    estimate = json.loads(out)
    assert (estimate["requests"], estimate["completions"], estimate["cost"]) == (8, 64, None)


def test_cost_of_an_unknown_model_asks_for_its_price(mine: Path) -> None:
    _, out, _ = call("cost", mine, "teacher.llm.model=m")
    assert "m is not in the price list (genai-prices); set teacher.llm.input_price and teacher.llm.output_price" in out
    refused(2, "setting teacher.llm.model: found nothing", "cost", mine)


def test_the_prompt_can_be_printed_before_it_is_sent(mine: Path) -> None:
    code, out, _ = call("cost", mine, "teacher.llm.model=m", "--show-prompt")
    assert code == 0
    assert out.startswith("[system]\nYou teach a small language model")
    assert "[user]\nQuestion: Where " in out
    request = json.loads(out.split("[request]\n")[1])
    assert request == {"model": "m", "temperature": 0.8, "max_tokens": 256, "n": 8}


def test_teach_finishes_after_a_batch_is_exported_and_imported_by_hand(mine: Path, tmp_path: Path) -> None:
    from tests.teacher.llm.test_batch import answered

    out = tmp_path / "run"
    code, printed, err = call("batch-export", mine, *ASK, "--out", out)
    assert code == 0, err
    lines = [json.loads(line) for line in Path(printed.strip()).read_text().splitlines()]
    assert len(lines) == 7
    output = tmp_path / "output.jsonl"
    output.write_text("".join(json.dumps(answered(line, f"{i:07d}")) + "\n" for i, line in enumerate(lines)))
    code, printed, err = call("batch-import", out, output)
    assert (code, printed.strip()) == (0, str(out / "teacher" / "completions.jsonl"))
    assert "7 answers imported, 0 already there, 0 failed" in err
    assert "nothing to ask" in call("batch-export", mine, *ASK, "--out", out)[2]
    code, printed, err = call("teach", mine, *ASK, "--out", out)
    assert (code, printed.strip()) == (0, str(out / "teacher" / "rationales.jsonl"))
    assert "rationales kept" in err


def test_a_batch_of_another_teacher_is_refused(tmp_path: Path) -> None:
    given = ("batch-export", "storeroom", "--out", tmp_path / "run", "teacher.source=scripted")
    refused(2, "teacher.source: found 'scripted', expected openai", *given)


def test_a_batch_needs_the_name_of_a_model(mine: Path, tmp_path: Path) -> None:
    given = ("batch-export", mine, "--out", tmp_path / "run")
    refused(2, "teacher.llm.model: found nothing, expected the name of a model", *given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "teacher.llm.base_url=localhost:8000",
            "setting teacher.llm.base_url: found no plain address (not shown: it may hold a key), expected one such as",
        ),
        ("teacher.llm.base_url=http://localhost:abc/v1", "found no plain address"),
        ("teacher.llm.base_url=http://localhost:99999/v1", "found no plain address"),
        ("teacher.llm.base_url=http://me:secret@host/v1", "without user, password, query or parameters"),
        ("teacher.llm.key_env=sk-abc123", "never the key itself"),
        ("teacher.api_key=sk-abc123", "read from the environment variable that teacher.llm.key_env names"),
        ("teacher.source=ecqa", "setting teacher.source with teacher.llm.model=m: found 'ecqa', expected openai"),
        ("teacher.llm.samples=0", "setting teacher.llm.samples: found 0, expected greater than or equal to 1"),
    ],
)
def test_settings_that_leak_or_cannot_work_are_refused_before_anything_is_written(
    mine: Path, tmp_path: Path, override: str, message: str
) -> None:
    refused(2, message, "teach", mine, *ASK, override, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    _, _, err = call("teach", mine, *ASK, override, "--out", tmp_path / "run")
    assert "secret" not in err
    assert "sk-abc123" not in err


def test_an_unreachable_teacher_is_exit_code_4(mine: Path, tmp_path: Path) -> None:
    quick = ("teacher.llm.attempts=1", "teacher.llm.concurrency=1")
    refused(4, "http://127.0.0.1:9/v1: found no server there", "teach", mine, *ASK, *quick, "--out", tmp_path / "r")


def test_a_plan_without_a_stage_to_reflect_on_is_refused_before_any_work(tmp_path: Path) -> None:
    refused(2, "or reflect.rounds=0", "run", "storeroom", *TINY, "stages.plan=summarize", "--out", tmp_path / "run")
    assert not (tmp_path / "run" / "questions").exists()


def test_a_missing_file_is_exit_code_3(tmp_path: Path) -> None:
    refused(3, "none.jsonl: found no such file", "run", tmp_path / "none.jsonl", "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("reflect.round=3", "did you mean 'reflect.rounds'"),
        ("reflect.beta=-1", "setting reflect.beta: found -1, expected greater than 0"),
        ("nonsense", "setting: found 'nonsense', expected key.path=value"),
    ],
)
def test_bad_settings_are_exit_code_2_and_write_nothing(tmp_path: Path, override: str, message: str) -> None:
    refused(2, message, "run", "storeroom", override, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_directory_with_other_settings_is_refused_without_force(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "run"
    assert call("teach", "storeroom", *TINY, "--out", mine)[0] == 0
    refused(2, "seed: was 42, now 7", "teach", "storeroom", *TINY, "seed=7", "--out", mine)
    assert call("teach", "storeroom", *TINY, "seed=7", "--out", mine, "--force")[0] == 0
    refused(2, "`train` was begun with other settings", "train", run, "train.learning_rate=0.5")


def test_a_folder_that_is_not_a_student_is_exit_code_5(tmp_path: Path) -> None:
    refused(5, "expected a run directory, a student's folder or", "ask", tmp_path, "Where?", "-o", "up", "-o", "down")


def test_a_pretrained_student_that_does_not_load_is_exit_code_5(tmp_path: Path) -> None:
    overrides = [*TINY, "student.init=pretrained", f"student.name={tmp_path / 'none'}"]
    refused(5, "found no such folder", "run", "storeroom", *overrides, "--out", tmp_path / "run")


def test_a_teacher_without_its_file_is_refused(tmp_path: Path) -> None:
    refused(
        2,
        "teacher.path for teacher.source=ecqa",
        "run",
        "storeroom",
        *TINY,
        "teacher.source=ecqa",
        "--out",
        tmp_path / "r",
    )
    refused(
        4,
        "found none of ecqa_train.jsonl",
        "run",
        "storeroom",
        *TINY,
        "teacher.source=ecqa",
        f"teacher.path={tmp_path}",
        "--out",
        tmp_path / "s",
    )


def test_a_directory_that_is_not_a_run_is_exit_code_3(tmp_path: Path) -> None:
    for verb in ("train", "reflect", "evaluate", "report"):
        refused(3, "found no manifest.json", verb, tmp_path)


def test_an_unknown_verb_or_task_is_exit_code_2(tmp_path: Path) -> None:
    assert call("tran")[0] == 2
    refused(2, "did you mean 'csqa'", "run", "csqaa", "--out", tmp_path / "run")
    refused(2, "verb or group: found 'tran'", "settings", "tran")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tran"], "'tran'"),
        (["run"], "Missing argument 'TASK'"),
        (["quickstart", "--sed", "1"], "--sed"),
        (["quickstart", "--seed", "one"], "'--seed'"),
    ],
)
def test_a_usage_error_is_one_line_too(words: list[str], message: str) -> None:
    code, out, err = call(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err
    assert err.endswith(" (see --help)\n")


def test_the_version_is_that_of_the_package() -> None:
    assert call("--version") == (0, f"tinythinker {metadata.version('tinythinker')}\n", "")


def test_a_reader_that_has_seen_enough_ends_the_list_quietly() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # a page, so that the list cannot be written before it is read
    command = [sys.executable, "-u", "-m", "tinythinker", "settings"]
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE) as listing:
        os.close(writing)
        with os.fdopen(reading, "rb") as list_:
            assert list_.readline().startswith(b"task = ")
        assert listing.stderr is not None
        assert listing.stderr.read() == b""
    assert listing.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["settings"], ["--help"], ["settings", "--help"], ["--version"]])
def test_output_that_cannot_be_written_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tinythinker", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.strip()) == (3, "error: output: No space left on device")


def test_a_closed_stderr_changes_no_exit_code(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tinythinker", "train", str(tmp_path)]
    assert subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *words], check=False).returncode == 3


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_ctrl_c_while_the_program_loads_is_exit_code_130_without_a_traceback(seconds: float) -> None:
    code = (
        "import sys, tinythinker.__main__ as program\n"
        "loads = lambda event, of: event == 'import' and of[0] == 'tinythinker.cli.main' and print(flush=True)\n"
        "sys.addaudithook(loads)\n"  # so the signal comes when loading has begun, on a busy machine, too
        "program.main()"
    )
    starting = subprocess.Popen(
        [sys.executable, "-c", code, "settings"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert starting.stdout is not None
    starting.stdout.readline()
    time.sleep(seconds)
    starting.send_signal(signal.SIGINT)
    _, err = starting.communicate()
    assert starting.returncode == 130
    assert b"Traceback" not in err


def test_a_library_s_panic_and_want_of_memory_anywhere_are_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {})("The global thread pool has not been initialized.\nmore")
    for error, message in (
        (panic, "a library gave up: found 'The global thread pool has not been initialized.'"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "memory: found too little"),
        (MemoryError(), "memory: found too little"),
    ):

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(api, "report", fail)
        refused(5, message, "report", run)


def test_an_error_line_has_no_control_characters_and_no_secret(tmp_path: Path) -> None:
    code, _, err = call("train", f"{tmp_path}/a\x1b[31m\rb")
    assert (code, "\x1b" in err, "\r" in err) == (3, False, False)
    assert "hush" not in call("teach", "storeroom", "https://me:hush@host/v1?api_key=hush", "--out", tmp_path / "x")[2]


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_answers_at_once(verb: str) -> None:
    def seconds(*words: str) -> float:
        started = time.monotonic()
        shown = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        assert "Usage:" in shown.stdout
        return time.monotonic() - started

    bare = "import typer; app = typer.Typer(); app.command()(lambda: None); app(['--help'])"
    ratios: list[float] = []
    while not ratios or (min(ratios) >= 2 and len(ratios) < 6):  # more tries for a busy machine
        # Measured side by side, because half a second on a free machine is several seconds on a busy one.
        least = seconds("-c", bare)
        ratios.append(seconds("-m", "tinythinker", *([verb] if verb else []), "--help") / least)
    assert min(ratios) < 2, "help takes twice as long as typer alone: something heavy is imported"


WITHOUT_TORCH = """
import sys
from tinythinker.cli.main import main
try:
    main()
except SystemExit as end:
    print("torch" in sys.modules)
    sys.exit(end.code)
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "run TMP/none.jsonl --out TMP/r student.init=scratch"),
        (5, "run storeroom --out TMP/r student.init=pretrained student.name=./none"),
        (5, "ask none where? -o up -o down"),
        (3, "ask RUN where? -o up"),
        (5, "predict none RUN/questions/test.jsonl"),
        (2, "predict RUN RUN/questions/test.jsonl --out TMP/a.txt"),
        (5, "probe none"),
        (2, "evaluate RUN evaluate.split=train"),
        (5, "train RUN student.init=pretrained student.name=./none --force"),
        (3, "study TMP/none.jsonl --out TMP/s --methods majority"),
        (5, "bench --student none --out TMP/b.json"),
        (2, "bench train.nonsense=1 --out TMP/b.json"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_before_torch_is_loaded(
    run: Path, tmp_path: Path, code: int, words: str
) -> None:
    command = [
        sys.executable,
        "-c",
        WITHOUT_TORCH,
        *words.replace("RUN", str(run)).replace("TMP", str(tmp_path)).split(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (code, "False")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "run --help",
        "settings",
        "settings --task csqa",
        "report RUN",
        "cost MINE teacher.llm.model=m student.init=scratch",
    ],
)
def test_what_needs_no_student_never_loads_torch(run: Path, mine: Path, words: str) -> None:
    command = words.replace("RUN", str(run)).replace("MINE", str(mine)).split()
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "False"


def test_try_prints_the_request_the_replies_and_where_they_are_kept(mine: Path, tmp_path: Path) -> None:
    def answer(request: Request) -> Answer:
        return Answer(body=chat([rationale_text(request, "x" * 20)], usage=(2_000, 50)))

    with serving(answer) as server:
        words = ("teacher.llm.model=m", f"teacher.llm.base_url={server.url}", "student.init=scratch")
        code, out, err = call("try", mine, *words, "--questions", "2", "--out", tmp_path / "run")
    assert code == 0, err
    assert len(server.requests) == 2
    assert out.startswith("[system]\n")
    assert "2 of 2 replies could be read" in out
    assert f"kept in {tmp_path / 'run'}: `tinythinker teach` or `run` with the same settings" in err


def test_try_needs_a_model(mine: Path) -> None:
    refused(2, "setting teacher.llm.model: found nothing, expected the name of a model", "try", mine)
