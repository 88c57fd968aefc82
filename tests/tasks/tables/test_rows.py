from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinythinker.core.errors import DataError, SettingsError
from tinythinker.settings.schema import DataSettings
from tinythinker.tasks.tables.rows import Sheet, read_rows

ROWS = [{"question": "Where,\nreally?", "A": "up", "B": "down; left"}, {"question": "Où?", "A": "là", "B": "|"}]


def table(separator: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator)
    writer.writerows([list(ROWS[0]), *(list(row.values()) for row in ROWS)])
    return out.getvalue().encode()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


def workbook(**sheets: Sequence[Sequence[Any]]) -> bytes:
    """A small Excel file, written by hand."""

    def cell(value: Any) -> str:
        if isinstance(value, bool):
            return f'<c t="b"><v>{int(value)}</v></c>'
        if isinstance(value, int | float):
            return f"<c><v>{value}</v></c>"
        return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>' if value else "<c/>"

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    doc = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    numbers = range(1, len(sheets) + 1)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
        f'"application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{kind}.worksheet+xml"/>' for n in numbers
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r" Type="{doc}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{doc}"><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in zip(numbers, sheets, strict=True))
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        + "".join(f'<Relationship Id="r{n}" Type="{doc}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers)
        + "</Relationships>",
    }
    for n, lines in zip(numbers, sheets.values(), strict=True):
        rows = "".join(f"<row>{''.join(map(cell, line))}</row>" for line in lines)
        parts[f"xl/worksheets/sheet{n}.xml"] = f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, text in parts.items():
            file.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return out.getvalue()


def read(folder: Path, content: bytes, data: DataSettings | None = None) -> Sheet:
    (folder / "mine").write_bytes(content)  # the name says nothing
    return read_rows(folder / "mine", data)


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda: "".join(json.dumps(row) + "\n" for row in ROWS).encode(), "JSON Lines, utf-8"),
        (lambda: "\n\n".join(json.dumps(row, indent=1) for row in ROWS).encode(), "JSON Lines, utf-8"),
        (lambda: json.dumps(ROWS).encode("utf-16"), "JSON, utf-16"),
        (lambda: table(","), "CSV with commas, utf-8"),
        (lambda: table(";"), "CSV with semicolons, utf-8"),
        (lambda: table("|"), "CSV with bars, utf-8"),
        (lambda: table("\t"), "TSV with tabs, utf-8"),
        (parquet, "Parquet"),
    ],
)
def test_a_file_is_what_its_content_says_packed_or_not(tmp_path: Path, make: Callable[[], bytes], form: str) -> None:
    for content in (make(), gzip.compress(make())):
        found = read(tmp_path, content)
        assert found.form == form
        assert [line.fields for line in found.rows] == ROWS


def test_json_rows_have_the_line_they_begin_on(tmp_path: Path) -> None:
    assert [line.line for line in read(tmp_path, b'\n[\n{"a": 1},\n\n{"a":\n2}, {"a": 3}]\n').rows] == [3, 5, 6]
    assert [line.line for line in read(tmp_path, b'{"a": 1}\n\n{"a": 2}').rows] == [1, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": 2', r"mine:2: found malformed JSON \(Expecting ',' delimiter"),
        (b'{"a": 1} {"a": 2}', r"mine:1: found malformed JSON \(a value that goes on behind its end\)"),
        (b'[{"a": 1},]', r"mine:1: found malformed JSON \(a value that goes on behind its end\)"),
        (b'[{"a": 1}', r"mine:1: found malformed JSON \(a list without an end"),
        (b'[{"a": 1}]\n\n[]', r"mine:1: found malformed JSON \(a list without an end, or with something behind it"),
        (b'[{"a": 1},\n3]', r"mine:2: found 3, expected a JSON object"),
        (b'[\n{"a": 1,\n"a": 2}]', r"mine:2: found malformed JSON \(field 'a' twice\)"),
        (b"q,A\n1,2,3\n", r"mine:2: found '1 cells too many', expected 2 cells"),
        (b"q,q\n1,2\n", r"mine:1: found \['q', 'q'\], expected distinct column names"),
        (b'q,A\n"x"y,2\n', r"mine:2: found malformed CSV .* expected cells with commas"),
        (b'q,A\nx, "y, z"\n', r"mine:2: found malformed CSV \(a blank before a quote\)"),
        (b"q,A;B\n1,2;3\n", r"mine:1: found commas and semicolons in the first line"),
        (b"q\x00,A", "found bytes that are zero"),
        (gzip.compress(b"q,A", mtime=0)[:-4], r"mine: found gzip that is damaged .* expected a whole file"),
        (b"PAR1 and no more", r"mine: found Parquet that is damaged"),
    ],
)
def test_a_damaged_file_is_one_line_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_the_separator_is_the_one_that_divides_all_lines_alike(tmp_path: Path) -> None:
    found = read(tmp_path, b"question (short, please);A;B\nIs it, so?;yes;no\nWhy, and how, come?;a, b;c\n")
    assert (found.form, [len(line.fields) for line in found.rows]) == ("CSV with semicolons, utf-8", [3, 3])


def test_a_first_line_may_tell_the_separator(tmp_path: Path) -> None:
    found = read(tmp_path, b"sep=;\r\nq;A\r\nx, y;z\r\n")
    assert [(line.line, line.fields) for line in found.rows] == [(3, {"q": "x, y", "A": "z"})]


def test_blanks_around_cells_and_rows_without_content_are_dropped_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, b"\n q , A , B ,\n x , y ,\n,,\n \n z , y , w ,\n")
    assert [line.fields for line in found.rows] == [{"q": "x", "A": "y", "B": ""}, {"q": "z", "A": "y", "B": "w"}]
    assert found.passed_over == (4, 5)


def test_numbers_and_missing_values_of_parquet_are_plain_json(tmp_path: Path) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1.0, None], "b": [["x"], None], "c": [{"label": [1]}, None]}), sink)
    found = read(tmp_path, sink.getvalue())
    assert [line.fields for line in found.rows] == [{"a": 1, "b": ["x"], "c": {"label": [1]}}]
    assert found.passed_over == (2,)


class TestExcel:
    @pytest.fixture(autouse=True)
    def _needs_its_reader(self) -> None:
        pytest.importorskip("python_calamine")

    def test_a_sheet_is_a_table(self, tmp_path: Path) -> None:
        lines: list[list[Any]] = [
            ["question", "A", "B", "answer"],
            [" Where? ", "up", 8, 1],
            ["", "", "", ""],
            ["So?", "yes", "no", True],
        ]
        found = read(tmp_path, workbook(First=lines))
        assert [line.fields for line in found.rows] == [
            {"question": "Where?", "A": "up", "B": 8, "answer": 1},
            {"question": "So?", "A": "yes", "B": "no", "answer": True},
        ]
        assert ([line.line for line in found.rows], found.passed_over) == ([2, 4], (3,))

    def test_one_of_several_sheets_is_named_and_an_empty_one_does_not_count(self, tmp_path: Path) -> None:
        content = workbook(First=[["q", "A"], ["x", "y"]], Second=[["q", "A"], ["z", "w"]], Third=[])
        with pytest.raises(
            SettingsError, match=r"data\.sheet for .*mine: found None, expected one of 'First', 'Second'"
        ):
            read(tmp_path, content)
        assert read(tmp_path, content, DataSettings(sheet="Second")).form == "Excel, sheet Second"
        assert len(read(tmp_path, workbook(First=[["q", "A"], ["x", "y"]], Second=[])).rows) == 1
        with pytest.raises(SettingsError, match=r"data\.sheet for .*found 'Fourth', expected one of"):
            read(tmp_path, content, DataSettings(sheet="Fourth"))

    def test_a_damaged_workbook_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="found a workbook that is damaged"):
            read(tmp_path, workbook(First=[["q"]])[:300])


def test_without_its_reader_a_workbook_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinythinker.tasks.tables.rows.find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"no package python-calamine .* install it with `pip install 'tinythinker\[excel\]"
    ):
        read(tmp_path, workbook(First=[["q"]]))


def test_settings_that_do_not_suit_the_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"data\.sheet for .*found 'x', expected no such setting"):
        read(tmp_path, b"q,A\n", DataSettings(sheet="x"))
