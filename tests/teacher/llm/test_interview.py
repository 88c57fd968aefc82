"""The whole path from questions to shared rationales, with a teacher played by a local server."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from tests.teacher.conftest import KEY
from tests.teacher.llm.server import Answer, Handler, Request, chat, played_apart, rationale_text, serving, stats
from tinythinker import api
from tinythinker.core.errors import SettingsError, TeacherError
from tinythinker.core.files import read_records
from tinythinker.core.records import Flaw, Question, Rejected
from tinythinker.core.seeds import derive_seed, seed_torch
from tinythinker.tasks.official import read_official
from tinythinker.teacher.llm.ledger import Reply
from tinythinker.teacher.rationales import read_rationales

MANY = 12


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of questions; two of them become validation and test."""
    lines = [
        {"id": f"q{i}", "question": f"Where is number {i}?", "options": ["up", "down", "left"], "answer": 0}
        for i in range(MANY)
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def perfect() -> Handler:
    marks = count(1)
    return lambda request: Answer(
        body=chat(
            [
                rationale_text(request, f"{derive_seed(0, mark := next(marks)):x}{derive_seed(1, mark):x}")
                for _ in range(request.n)
            ]
        )
    )


def settings(url: str, *more: str) -> list[str]:
    return [
        "teacher.source=openai",
        "teacher.llm.model=played",
        f"teacher.llm.base_url={url}",
        "teacher.llm.samples=3",
        "teacher.llm.backoff_seconds=0.001",
        "teacher.llm.input_price=1000",
        "teacher.llm.output_price=2000",
        *more,
    ]


def test_teach_writes_rationales_with_header_quality_and_usage(mine: Path, tmp_path: Path) -> None:
    with serving(perfect()) as server:
        run = api.start(str(mine), tmp_path / "run", *settings(server.url))
        quality = api.teach(run)
    header, rationales = read_rationales(run.rationales)
    train = read_records(run.questions("train"), Question)
    assert len(rationales) == 3 * len(train) == quality.rationales
    assert {rationale.label for rationale in rationales} == {"A"}
    assert header is not None
    assert (header.source, header.teacher, header.task, header.questions) == ("openai", "played", "mine.jsonl", 10)
    assert header.settings["samples"] == 3
    assert "terms of its provider" in header.licence
    assert server.url not in run.rationales.read_text()
    usage = json.loads(run.usage.read_text())
    assert (usage["requests"], usage["completions"], usage["cost"]) == (10, 30, 2.0)  # 10 x (100 + 2 x 50) / 1000
    assert quality.cost_per_rationale == pytest.approx(2.0 / 30)


def test_the_key_is_nowhere_in_the_run_directory(mine: Path, tmp_path: Path) -> None:
    with serving(perfect()) as server:
        run = api.start(str(mine), tmp_path / "run", *settings(server.url))
        api.teach(run)
        api.report(run)
    files = [path for path in run.root.rglob("*") if path.is_file()]
    assert len(files) >= 9
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_paid_completions_survive_force_and_are_not_requested_again(mine: Path, tmp_path: Path) -> None:
    with serving(perfect()) as server:
        words = settings(server.url)
        api.teach(api.start(str(mine), tmp_path / "run", *words))
        again = api.start(str(mine), tmp_path / "run", *settings(server.url, "teacher.llm.keep=1"), force=True)
        assert api.teach(again).rationales == 10
        more = api.start(str(mine), tmp_path / "run", *settings(server.url, "teacher.llm.samples=4"), force=True)
        assert api.teach(more).rationales == 40
    assert [request.n for request in server.requests] == [3] * 10 + [1] * 10


def contrary(request: Request) -> Answer:
    """Says B in two of three completions for two of the questions, regardless of the gold label."""
    texts = []
    for i in range(request.n):
        text = rationale_text(request, f"{random.random()}" * 3)
        is_contrary = "number 1?" in request.json["messages"][-1]["content"] and not (i == 0 and request.n == 3)
        texts.append(text.replace("A is correct", "A is incorrect").replace("B is incorrect", "B is correct"))
        if not is_contrary:
            texts[-1] = text
    return Answer(body=chat(texts))


def test_gold_labels_stay_and_the_questions_the_teacher_contradicts_are_listed(mine: Path, tmp_path: Path) -> None:
    with serving(contrary) as server:
        run = api.start(str(mine), tmp_path / "run", *settings(server.url, "split.valid=0.1", "seed=1"))
        quality = api.teach(run)
    assert {question.gold for question in read_records(run.questions("train"), Question)} == {"A"}
    assert [own.question_id for own in quality.disagreements] == ["q1"]
    assert quality.disagreements[0].majority_text == "down"
    assert quality.rejected["disagrees"] == 2 + 2 + 2  # two of every three, in each of three waves
    api.report(run)
    page = run.report.read_text()
    assert "Where is number 1?" in page
    assert "1 questions where most of the teacher's verdicts contradict the gold label" in page


def test_the_teachers_majority_replaces_the_label_if_requested_and_is_exported(mine: Path, tmp_path: Path) -> None:
    policy = "teacher.label_policy=teacher"
    with serving(contrary) as server:
        run = api.start(str(mine), tmp_path / "run", *settings(server.url, "seed=1", policy, "teacher.llm.waves=1"))
        quality = api.teach(run)
    golds = {question.id: question.gold for question in read_records(run.questions("train"), Question)}
    assert {name for name, gold in golds.items() if gold == "B"} == {"q1"}
    header, rationales = read_rationales(run.rationales)
    assert header is not None
    assert header.relabelled == {"q1": "B"}
    assert quality.relabelled == 1
    assert [own.label for own in rationales if own.question_id == "q1"] == ["B", "B"]

    shared = ["teacher.source=recorded", f"teacher.path={run.rationales}", "seed=1"]
    plain = api.teach(api.start(str(mine), tmp_path / "plain", *shared))
    assert plain.rejected == {"disagrees": 2}
    same = api.start(str(mine), tmp_path / "same", *shared, policy)
    api.teach(same)
    assert {q.id: q.gold for q in read_records(same.questions("train"), Question)} == golds


def test_more_waves_extend_a_finished_teach_until_later_verbs_use_it(mine: Path, tmp_path: Path) -> None:
    def garbled_at_first(request: Request) -> Answer:
        answer = play(request)
        return answer if len(server.requests) > 5 else Answer(body=chat(["garbled"] * request.n))

    play = perfect()
    with serving(garbled_at_first) as server:
        words = settings(server.url, "teacher.llm.concurrency=1")
        run = api.start(str(mine), tmp_path / "run", *words, "teacher.llm.waves=1")
        assert len(api.teach(run).missing) == 5
        assert len(api.teach(api.start(str(mine), tmp_path / "run", *words, "teacher.llm.waves=0")).missing) == 5
        assert api.teach(api.start(str(mine), tmp_path / "run", *words, "teacher.llm.waves=2")).missing == {}
        assert len(server.requests) == 15
        api.teach(api.start(str(mine), tmp_path / "run", *words, "teacher.llm.waves=9"))
    assert len(server.requests) == 15


def test_the_header_names_the_model_that_wrote_what_is_in_the_file(mine: Path, tmp_path: Path) -> None:
    def named(request: Request) -> Answer:
        model = request.json["model"].encode()
        return Answer(body=play(request).body.replace(b'"model": "played"', b'"model": "' + model + b'"'))

    play = perfect()
    with serving(named) as server:
        api.teach(api.start(str(mine), tmp_path / "run", *settings(server.url)))
        again = settings(server.url, "teacher.llm.model=other")
        run = api.start(str(mine), tmp_path / "run", *again, force=True)
        api.teach(run)
    header, _ = read_rationales(run.rationales)
    assert header is not None
    assert header.teacher == "other"


def test_the_report_of_an_unfinished_teach_shows_usage_and_how_to_continue(mine: Path, tmp_path: Path) -> None:
    with serving(perfect()) as server:
        words = settings(server.url, "teacher.llm.concurrency=1", "teacher.llm.max_tokens=10", "teacher.llm.examples=0")
        run = api.start(str(mine), tmp_path / "run", *words, "teacher.llm.budget=1.5")
        with pytest.raises(TeacherError, match=r"teacher\.llm\.budget=1\.5"):
            api.teach(run)
        api.report(run)
        page = run.report.read_text()
        assert "Not finished. So far, played has answered" in page
        assert "teacher.llm.waves=0" in page
        api.teach(api.start(str(mine), tmp_path / "run", *words, "teacher.llm.budget=null"))
        api.report(run)
    page = run.report.read_text()
    assert "Not finished" not in page
    assert "argues for A" in page
    assert "the terms of its provider apply" in page


def test_an_edited_prompt_is_reported(mine: Path, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.yaml"
    prompt.write_text("instruction: Explain.")
    with serving(perfect()) as server:
        words = settings(server.url, f"teacher.llm.prompt={prompt}")
        api.teach(api.start(str(mine), tmp_path / "run", *words))
        prompt.write_text("instruction: Explain better.")
        with pytest.raises(SettingsError, match=r"prompt\.yaml changed since `teach` read it.*--force"):
            api.teach(api.start(str(mine), tmp_path / "run", *words))
        api.teach(api.start(str(mine), tmp_path / "run", *words, force=True))
    assert len(server.requests) == 20


def test_rationales_of_another_split_are_used_where_they_match_and_that_is_reported(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(perfect()) as server:
        run = api.start(str(mine), tmp_path / "run", *settings(server.url))
        api.teach(run)
    shared = ["teacher.source=recorded", f"teacher.path={run.rationales}"]
    api.teach(api.start(str(mine), tmp_path / "same", *shared))
    assert "was made for other training questions" not in capsys.readouterr().err
    other = api.teach(api.start(str(mine), tmp_path / "other", *shared, "seed=3"))
    assert "was made for other training questions (10 of mine.jsonl, seed 42)" in capsys.readouterr().err
    assert other.rationales > 0
    assert other.rejected["not_train"] > 0


def test_a_teacher_that_only_babbles_is_an_error_that_shows_a_sample(mine: Path, tmp_path: Path) -> None:
    with serving(lambda request: Answer(body=chat(["hm"] * request.n))) as server:
        run = api.start(str(mine), tmp_path / "run", *settings(server.url, "teacher.llm.waves=1"))
        with pytest.raises(
            TeacherError, match=r"\(30 rejected; most like question q\d+: no_recall .*: 'hm'; it does not"
        ):
            api.teach(run)
    assert json.loads(run.usage.read_text())["completions"] == 30


def test_an_estimate_subtracts_what_a_run_has_received(mine: Path, tmp_path: Path) -> None:
    with serving(perfect()) as server:
        words = settings(server.url)
        assert api.cost(str(mine), *words).completions == 30
        api.teach(api.start(str(mine), tmp_path / "run", *words))
        left = api.cost(str(mine), *words, run=tmp_path / "run")
    assert (left.completions, left.received, left.cost) == (0, 30, 0.0)
    assert len(server.requests) == 10


def faulty_words(questions: int, url: str, out: Path, task: Path) -> list[str]:
    overrides = settings(
        url,
        "teacher.llm.samples=8",
        "teacher.llm.waves=40",
        "teacher.llm.timeout_seconds=2",
        "teacher.llm.backoff_seconds=0.02",
    )
    code = (
        "import sys; from tinythinker.settings.resolve import load_settings; "
        "from tinythinker.core.run import RunDirectory; "
        "from tinythinker.tasks.registry import load_task; from tinythinker.teacher.collect import collect_rationales; "
        "from pathlib import Path; s = load_settings(sys.argv[1], sys.argv[3:]); "
        "c = collect_rationales(s, load_task(s), RunDirectory(Path(sys.argv[2]))); "
        "print(len(c.rationales), len(c.quality.missing))"
    )
    return [sys.executable, "-c", code, str(task), str(out), *overrides, f"limit.train={questions}"]


def check_nothing_is_lost_or_paid_twice(
    questions: int, kills: int, task: Path, tmp_path: Path, seed: int = 0
) -> dict[str, int]:
    """Faulty teacher, process killed at random: every question is complete, and no answer is stored twice."""
    rng = random.Random(seed)
    out = tmp_path / "run"
    with played_apart(seed, faults=True) as url:
        words = faulty_words(questions, url, out, task)
        survived = 0
        for _ in range(kills):
            before = stats(url).get("requests", 0)
            target = before + rng.randrange(10, max(11, questions // 3))
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while process.poll() is None and stats(url).get("requests", 0) < target:
                    time.sleep(0.01)
                survived += process.poll() is not None
                process.send_signal(signal.SIGKILL)
        assert survived == 0, "it ended before it could be killed"
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        counts = stats(url)
    assert done.stdout.split() == [str(8 * questions), "0"]
    replies = read_records(out / "teacher" / "completions.jsonl", Reply, is_growing=True)
    texts = [completion.text for reply in replies for completion in reply.completions]
    assert len(set(texts)) == len(texts)
    # Requests in flight when a process was killed are lost; every other delivered completion is stored.
    lost = counts["delivered completions"] - len(texts)
    assert 0 <= lost <= kills * 32 * 8
    if not kills:
        assert lost == 0
    # A wave requests only what earlier waves left unusable: eight usable completions per question.
    assert sum(f"says {label}." in text for text in texts for label in "A") >= 8 * questions
    return counts


def test_every_question_is_complete_after_all_faults_and_kills_and_nothing_is_paid_twice(
    tmp_path: Path,
) -> None:
    task = tmp_path / "mine.jsonl"
    lines = [
        {"id": f"q{i}", "question": f"Where is number {i}?", "options": ["up", "down"], "answer": i % 2}
        for i in range(120)
    ]
    task.write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts = check_nothing_is_lost_or_paid_twice(60, 2, task, tmp_path)
    assert sum(number for name, number in counts.items() if name.startswith("fault") and "none" not in name) > 0


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("kills", [0, 5])
def test_a_thousand_commonsenseqa_questions_are_complete_after_all_faults(
    data_dir: Path, tmp_path: Path, kills: int
) -> None:
    questions = [entry.question for entry in read_official(data_dir / "csqa" / "train_rand_split.jsonl")]
    task = tmp_path / "csqa.jsonl"
    task.write_text(
        "".join(
            json.dumps(
                {
                    "id": own.id,
                    "question": own.stem,
                    "options": [option.text for option in own.options],
                    "answer": own.gold,
                }
            )
            + "\n"
            for own in questions[:1300]
        )
    )
    counts = check_nothing_is_lost_or_paid_twice(1000, kills, task, tmp_path)
    faults = {name for name, number in counts.items() if name.startswith("fault") and number}
    assert len(faults) == 10


@pytest.mark.slow
def test_a_third_party_server_is_asked_to_the_end_and_its_babble_is_rejected_by_flaw(
    mine: Path, tmp_path: Path
) -> None:
    model = make_babbler(tmp_path / "babbler")
    port = free_port()
    words = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--port", str(port)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    log = (tmp_path / "serve.log").open("w")
    with log, subprocess.Popen(words, stdout=log, stderr=log, env=environment) as process:
        try:
            wait_for(port, process, tmp_path / "serve.log")
            url = f"http://127.0.0.1:{port}/v1"
            overrides = settings(
                url,
                "teacher.llm.samples=2",
                "teacher.llm.waves=2",
                "teacher.llm.max_tokens=24",
                "teacher.llm.concurrency=2",
            )
            run = api.start(
                str(mine), tmp_path / "run", *overrides, f"teacher.llm.model={model}", "teacher.llm.examples=1"
            )
            with pytest.raises(TeacherError, match="found no usable rationale for 10 training questions"):
                api.teach(run)
        finally:
            process.kill()
    usage = json.loads(run.usage.read_text())
    assert usage["completions"] == 10 * 2 * 2
    rejected = read_records(run.rejected, Rejected)
    assert len(rejected) == 40
    assert {own.flaw for own in rejected} <= {Flaw.CUT, Flaw.NO_RECALL, Flaw.REFUSED}
    assert usage["failed_tries"] == {}


def make_babbler(folder: Path) -> Path:
    """A causal model with random weights and a chat template, as a Hugging Face folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    fast.save_pretrained(folder)
    seed_torch(0, "babbler")
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=8192,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    ).save_pretrained(folder)
    return folder


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers; fail with its output if it ends first."""
    import socket

    for _ in range(600):
        assert process.poll() is None, log.read_text()[-2000:]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(log.read_text()[-2000:])
