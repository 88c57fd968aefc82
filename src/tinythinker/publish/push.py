"""A run's last student and its card, sent to the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tinythinker.core.errors import DataError, SettingsError, TinyThinkerError, expected, first_line
from tinythinker.core.files import read_json, read_text
from tinythinker.core.records import Record
from tinythinker.core.run import RunDirectory
from tinythinker.publish.card import card, refuse_no_hub_name
from tinythinker.publish.private import private_in
from tinythinker.settings.resolve import validate
from tinythinker.settings.schema import RunSettings

CARD_FILE = "README.md"
"""What the Hub calls a model card."""
_WEIGHTS = (".safetensors", ".bin", ".model")
"""Endings of files that hold no readable text."""
_REFUSED = (401, 403)
_ADAPTERS = "adapter_config.json"


class SentFile(Record):
    """A file that goes to the Hub."""

    name: str
    bytes: int


class Pushed(Record):
    """What `push` sent, or would send."""

    name: str
    files: tuple[SentFile, ...]
    url: str | None
    """Where it can be seen; None if nothing was sent."""

    def lines(self) -> Iterator[str]:
        """The files as a table to print."""
        for file in self.files:
            yield f"{file.bytes:>14,}  {file.name}"


def push(
    run: RunDirectory,
    name: str,
    *,
    card_file: Path | None = None,
    licence: str | None = None,
    base_model: str | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> Pushed:
    """Send the folder of a run's last student, with a model card, to the Hub; makes the repository if there is none.

    Nothing is sent if a file of the folder names a folder or holds a key of this machine.

    Args:
        name: OWNER/NAME.
        card_file: your own card; None writes a new one (`card.card`).
        licence, base_model: for the new card.
        private: make a repository that only you see, if it is not there yet.
        dry_run: send nothing.

    Raises:
        SettingsError: the name does not have the Hub's form, or there is no token, or the Hub refuses it.
        StudentError: there is no student yet.
        DataError: a file cannot be read or holds something private, or the Hub cannot be reached.
    """
    refuse_no_hub_name(name, "name")
    told = card(run, name=name, licence=licence, base_model=base_model) if card_file is None else read_text(card_file)
    folder = run.student(run.trainings()[-1])
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name != CARD_FILE]
    _refuse_private(run, files, told if card_file is not None else "")
    sent = [SentFile(name=file.name, bytes=file.stat().st_size) for file in files]
    sent.append(SentFile(name=CARD_FILE, bytes=len(told.encode())))
    url = None if dry_run else _send(name, files, told, private=private)
    return Pushed(name=name, files=tuple(sent), url=url)


def _refuse_private(run: RunDirectory, files: list[Path], own_card: str) -> None:
    """Raise DataError if a text that would be sent names a folder of this machine or holds a key."""
    folders = [run.root, *_folders(validate(run.manifest().settings)), *_base_folders(files)]
    texts = {str(file): file for file in files if file.suffix not in _WEIGHTS}
    for name, text in [*((name, read_text(file)) for name, file in texts.items()), ("the card", own_card)]:
        if found := private_in(text, *folders):
            remedy = "take it out"
            if name.endswith(_ADAPTERS):
                remedy = "adapters need their base model there; train with student.lora.save=merged"
            raise DataError(f"{name}: found {found}, expected nothing of this machine; nothing was sent; {remedy}")


def _folders(settings: RunSettings) -> Iterator[Path]:
    """Absolute paths among the settings."""
    paths = [settings.data_dir, settings.teacher.path, Path(settings.student.name), Path(settings.task)]
    yield from (path for path in paths if path is not None and path.is_absolute())


def _base_folders(files: list[Path]) -> Iterator[Path]:
    """The folder of the base model that adapters lie on, if it is one."""
    for file in files:
        if file.name == _ADAPTERS:
            base = Path(str(read_json(file).get("base_model_name_or_path")))
            yield from [base] if base.is_absolute() else []


def _send(name: str, files: list[Path], told: str, *, private: bool) -> str:
    """Make the repository if need be, and commit all files at once. Returns the student's address."""
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if get_token() is None:
        raise SettingsError(
            "push: found no token of the Hugging Face Hub, expected one in HF_TOKEN, or from `hf auth login`; nothing "
            "was sent"
        )
    api = HfApi()
    operations = [CommitOperationAdd(file.name, file) for file in files]
    operations.append(CommitOperationAdd(CARD_FILE, told.encode()))
    try:
        address = api.create_repo(name, private=private or None, exist_ok=True)
        api.create_commit(name, operations, commit_message="Upload a tinythinker student")
    except Exception as error:  # noqa: BLE001 (the library, and the one that carries its requests, have errors of their own)
        raise _explained(name, error) from None
    return str(address)


def _explained(name: str, error: Exception) -> TinyThinkerError:
    """What to do about an error of the Hub, or on the way there."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _REFUSED:
        return SettingsError(
            expected(f"push {name}", f"status {status}", "a token (HF_TOKEN) that may write to this repository")
        )
    return DataError(
        f"push {name}: found the Hugging Face Hub not answering as it should ({first_line(error)}), expected a commit; "
        "run the command again, files that have arrived are not sent twice"
    )
