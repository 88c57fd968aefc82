from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinythinker.core.errors import DataError, SettingsError
from tinythinker.core.run import differences
from tinythinker.settings.describe import describe_settings, known_keys
from tinythinker.settings.resolve import bound_of, load_settings, override, parse_override, upgrade, validate
from tinythinker.settings.schema import TASKS, DataSettings, in_round


def test_later_sources_win_over_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train:\n  batch_size: 16\n  learning_rate: 1e-3\n")
    settings = load_settings("csqa", ["train.learning_rate=2e-3"], file)
    assert (settings.train.batch_size, settings.train.learning_rate) == (16, 0.002)
    assert settings.train.epochs == 10  # the preset's


@pytest.mark.parametrize("task", ["csqa", "obqa", "strategyqa"])
def test_presets_carry_the_published_hyper_parameters(task: str) -> None:
    settings = load_settings(task)
    train, reflect = settings.train, settings.reflect
    assert (train.learning_rate, train.warmup, train.batch_size, train.epochs) == (5e-4, 0.1, 64, 10)
    assert (settings.stages.interval, settings.stages.template, settings.seed) == (100, "paper", 42)
    assert settings.student.max_prompt_tokens is None  # the official code cuts no prompt in phase 1
    assert (reflect.rounds, reflect.samples_per_question, reflect.temperature) == (5, (10,), (0.7,))
    assert (reflect.beta, reflect.alpha, reflect.learning_rate, reflect.batch_size) == (0.5, 0.5, 5e-6, 32)
    assert (reflect.epochs, reflect.reference, reflect.stages) == (
        10,
        "previous",
        ("recall", "analyze"),
    )


def test_every_preset_loads() -> None:
    assert sorted(TASKS) == ["csqa", "obqa", "storeroom", "strategyqa"]
    for task in TASKS:
        assert load_settings(task).task == task


def test_an_unknown_key_is_refused_and_the_nearest_known_key_suggested() -> None:
    with pytest.raises(
        SettingsError,
        match=r"'reflect.round': found no such setting, expected one of .*; did you mean 'reflect.rounds'",
    ):
        load_settings("storeroom", ["reflect.round=3"])


def test_an_unknown_key_in_a_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("trian: {epochs: 3}\n")
    with pytest.raises(SettingsError, match=r"'trian.epochs'.*'train.epochs'"):
        load_settings("storeroom", [], tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("reflect.beta=0", r"setting reflect\.beta: found 0, expected greater than 0"),
        ("train.epochs=many", r"setting train\.epochs: found 'many', expected a valid integer"),
        ("stages.plan=all", r"setting stages\.plan: found 'all', expected 'full', 'summarize'"),
        ("storeroom.annotated=1.5", r"setting storeroom\.annotated: found 1\.5, expected less than or equal to 1"),
        ("train=3", r"train: found 3, expected a group of settings"),
        ("seed", r"setting: found 'seed', expected key\.path=value"),
        ("task=obqa", r"settings, task: found 'obqa', expected no such key"),
        ("reflect.temperature=[1.0, 0]", r"setting reflect\.temperature: found 0, expected greater than 0"),
        ("reflect.samples_per_question=1", r"setting reflect\.samples_per_question: found 1, expected greater than or"),
        ("reflect.beta=.inf", r"setting reflect\.beta: found inf, expected a finite number"),
    ],
)
def test_a_wrong_value_is_a_one_line_error_that_names_the_key(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings("storeroom", [override])


def test_shares_that_leave_no_training_questions_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"split\.valid \+ split\.test: found 1\.1, expected less than 1"):
        load_settings("mine.csv", ["split.valid=0.6", "split.test=0.5"])


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"task: found 'csq', expected one of .* \(did you mean 'csqa'\?\)"):
        load_settings("csq")


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.yaml: found no such file"):
        load_settings("csqa", [], tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1e-4", 1e-4),
        ("a=3", 3),
        ("a=null", None),
        ("a=true", True),
        ("a=yes", "yes"),
        ("a=x=y", "x=y"),
        ("a=[r, s]", ["r", "s"]),
        ("a=2024-01-05", "2024-01-05"),
        ("a=2024-13-05", "2024-13-05"),
    ],
)
def test_an_override_is_read_as_yaml_with_common_number_formats(text: str, value: object) -> None:
    assert parse_override(text) == ("a", value)


def test_settings_survive_a_round_trip_through_the_manifest() -> None:
    settings = load_settings("csqa", ["data_dir=some/where", "student.sentencepiece=a.model"])
    assert type(settings).model_validate(settings.plain()) == settings


def test_every_setting_has_a_meaning_and_a_type() -> None:
    lines = list(describe_settings())
    assert [line.key for line in lines] == known_keys()
    assert all(line.meaning.endswith((".", ")")) for line in lines), [
        x.key for x in lines if not x.meaning.endswith(".")
    ]
    allowed = {line.key: line.allowed for line in lines}
    assert allowed["reflect.beta"] == "number > 0"
    assert allowed["reflect.samples_per_question"] == "list of integer ≥ 2"
    assert allowed["reflect.patience"] == "integer | null ≥ 1"


def test_a_folder_name_may_look_like_a_number() -> None:
    assert load_settings("csqa", ["data_dir=2024"]).data_dir == Path("2024")


def test_keys_of_a_settings_file_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("1: 2\n")
    with pytest.raises(SettingsError, match=r"a\.yaml:1: found the key .1., which is no text without quotes"):
        load_settings("csqa", [], tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["reflect.loss=none", "reflect.alpha=0"],
            r"reflect\.alpha with reflect\.loss=none: found 0\.0, expected more",
        ),
        (["reflect.loss=ipo", "reflect.label_smoothing=0.1"], r"label_smoothing with reflect\.loss=ipo: found 0\.1"),
        (
            ["student.family=causal", "student.size=t5-base"],
            r"student\.size with student\.family=causal: found 't5-base'",
        ),
        (
            ["reflect.sampling=uncertain", "reflect.samples_per_question=[8, 2]"],
            r"samples_per_question with reflect\.sampling=uncertain: found \[8, 2\], expected 3",
        ),
        (["reflect.on_policy=0.5", "reflect.stages=[analyze]"], r"reflect\.on_policy without recall"),
        (
            ["reflect.loss=none", "reflect.reference=initial"],
            r"reflect\.reference with reflect\.loss=none: found 'initial'",
        ),
        (
            ["student.init=pretrained", "student.family=causal"],
            r"student\.family with student\.init=pretrained: found 'causal'",
        ),
        (["student.chat_template=true"], r"student\.chat_template with student\.init=scratch: found True"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings("storeroom", overrides)


def test_a_setting_by_round_takes_one_value_or_several_and_repeats_the_last() -> None:
    one, several = (
        load_settings("storeroom", [f"reflect.temperature={value}"]).reflect.temperature
        for value in ("0.7", "[1, 0.5]")
    )
    assert [in_round(one, number) for number in (1, 2, 3)] == [0.7, 0.7, 0.7]
    assert [in_round(several, number) for number in (1, 2, 3)] == [1.0, 0.5, 0.5]


def test_an_old_name_still_works_and_says_its_new_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("teacher: {source: openai, model: m, samples: 3}\n")
    settings = load_settings("csqa", ["student.lora_rank=4", "teacher.waves=2"], file)
    assert settings.teacher.llm is not None
    assert (settings.teacher.llm.model, settings.teacher.llm.samples, settings.teacher.llm.waves) == ("m", 3, 2)
    assert settings.student.lora is not None
    assert (settings.student.lora.rank, settings.student.lora.alpha) == (4, 32.0)
    said = capsys.readouterr().err
    assert "old.yaml: teacher.samples is now called teacher.llm.samples; the old name still works" in said
    assert "settings: student.lora_rank is now called student.lora.rank" in said


def test_what_an_older_version_wrote_down_for_a_teacher_it_did_not_have_becomes_null() -> None:
    written = {"teacher.source": "ecqa", "teacher.model": None, "teacher.samples": 8, "student.lora_rank": None}
    assert upgrade(written) == {"teacher.source": "ecqa", "teacher.llm": None, "student.lora": None}
    assert upgrade({"teacher.wrong": 0.1}) == {"storeroom.wrong": 0.1}
    assert upgrade({"seed": 3}) == {"seed": 3}


def test_a_presets_optional_group_counts_once_it_is_opened() -> None:
    assert load_settings("obqa").teacher.llm is None
    asked = load_settings("obqa", ["teacher.source=openai", "teacher.llm.model=m"]).teacher.llm
    assert asked is not None
    assert asked.samples == 4


def test_an_optional_group_can_be_closed_again() -> None:
    with_adapters = load_settings("csqa", ["student.lora.rank=4"])
    assert override(with_adapters, ["student.lora=null"]).student.lora is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["student.lora.alpha=8"], r"setting student\.lora\.rank: found nothing, expected a value"),
        (["teacher.source=openai"], r"setting teacher\.llm\.model: found nothing, expected the name of a model"),
        (["teacher.llm.model=m"], r"setting teacher\.source with teacher\.llm\.model=m: found 'ecqa'"),
        (["student.lora=3"], r"student\.lora: found 3, expected a group of settings"),
        (["train.epochs=null"], "epochs and max_steps .*: found null twice, expected a number"),
    ],
)
def test_a_group_without_what_it_needs_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings("csqa", overrides)


def test_without_epochs_training_ends_at_max_steps() -> None:
    assert load_settings("csqa", ["train.epochs=null", "train.max_steps=7"]).train.max_steps == 7


@pytest.mark.parametrize(
    "address",
    [
        "https://me:hush@host/v1",
        "https://host/v1?api_key=hush",
        "https://host/v1;api_key=hush",
        "https://host/v1/api_key=hush",
        "https://host/v1#hush",
        "https://me:hush%40host/v1",
        "https://me:hush",
        "me:hush@host",
        "hush",
        "[https://me:hush@host/v1]",
        "{https://me:hush@host/v1: 1}",
    ],
)
def test_an_address_that_may_hold_a_secret_is_refused_and_not_repeated(address: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        f"teacher: {{source: openai, llm: {{model: x, base_url: {json.dumps(address)}}}}}\n"
    )
    overrides = ["teacher.source=openai", "teacher.llm.model=x", f"teacher.llm.base_url={address}"]
    for given, config in ((overrides, None), ([], tmp_path / "a.yaml")):
        with pytest.raises(SettingsError) as caught:
            load_settings("csqa", given, config)
        assert "hush" not in str(caught.value)


def test_a_key_given_twice_is_refused_also_with_its_group_written_out(tmp_path: Path) -> None:
    for text in ("seed: 1\nseed: 2\n", "train.epochs: 1\ntrain: {epochs: 2}\n"):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(SettingsError, match=r"a\.yaml.*: found the key '.*' twice"):
            load_settings("csqa", [], tmp_path / "a.yaml")


def test_a_key_of_a_thousand_parts_is_an_unknown_setting() -> None:
    with pytest.raises(SettingsError, match="found no such setting"):
        load_settings("csqa", [".".join("a" * 2000) + "=1"])


def test_a_date_is_text_in_a_file_as_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("teacher: {licence: 2024-01-31}\n")
    assert load_settings("csqa", [], tmp_path / "a.yaml").teacher.licence == "2024-01-31"


def test_a_setting_that_is_a_mapping_is_one_setting(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("teacher: {source: openai, llm: {model: m, request: {top_p: 0.9, a.b: {c: [1]}}}}")
    settings = load_settings("csqa", ["teacher.llm.request.reasoning_effort=low"], file)
    fields = {"top_p": 0.9, "a.b": {"c": [1]}, "reasoning_effort": "low"}
    assert settings.teacher.llm is not None
    assert settings.teacher.llm.request == fields
    assert validate(settings.plain()) == settings
    assert bound_of(settings).flat["teacher.llm.request"] == fields
    assert "teacher.llm.request" in known_keys()


def test_an_older_run_without_more_fields_counts_as_having_none() -> None:
    settings = load_settings("csqa", ["teacher.source=openai", "teacher.llm.model=m"])
    bound = bound_of(settings)
    older = {key: value for key, value in bound.flat.items() if key != "teacher.llm.request"}
    assert differences(older, bound.flat, bound.defaults) == []


def test_columns_are_one_name_or_several_and_a_number_is_a_name() -> None:
    data = load_settings("mine.csv", ["data.question=[scene, 2]", "data.options=choices", "data.answer=5"]).data
    assert (data.question, data.options, data.answer) == (("scene", "2"), ("choices",), "5")
    with pytest.raises(SettingsError, match=r"setting data\.answer_base: found 2, expected less than or equal to 1"):
        load_settings("mine.csv", ["data.answer_base=2"])
    with pytest.raises(SettingsError, match=r"setting data\.recall with data\.analyses: found null, expected a column"):
        load_settings("mine.csv", ["data.analyses=why"])


def test_a_run_of_an_older_version_has_no_settings_of_columns() -> None:
    older = {key: value for key, value in load_settings("mine.csv").plain().items() if key != "data"}
    assert validate(older).data == DataSettings()


def test_any_file_that_is_there_may_be_a_task(tmp_path: Path) -> None:
    (tmp_path / "mine.dat").write_text("")
    for task in (str(tmp_path / "mine.dat"), "none.xlsx", "hub:owner/name"):
        assert load_settings(task).task == task
    with pytest.raises(SettingsError, match=r"expected one of csqa, .* a file of questions, or hub:OWNER/NAME"):
        load_settings("none.dat")
