"""The forms of the sales report: which one a client gets, and what CSV does with texts that a spreadsheet would run."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_service.analytics.csv_table import csv_table, neutralised
from query_service.analytics.report import By, as_csv, figures, report
from query_service.http.negotiation import NotAcceptableError, chosen
from shared.views.analytics import SalesReport, average_order_value

OFFERS = ("application/json", "text/csv")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], "application/json"),
        ([""], "application/json"),
        (["*/*"], "application/json"),
        (["text/csv"], "text/csv"),
        (["TEXT/CSV; charset=utf-8"], "text/csv"),
        (["text/*"], "text/csv"),
        (["text/csv, application/json"], "application/json"),
        (["application/json;q=0.5", "text/csv"], "text/csv"),
        (["text/csv;q=0.9, */*;q=0.1"], "text/csv"),
        (["*/*, application/json;q=0"], "text/csv"),
        (["text/html, application/xhtml+xml, */*;q=0.8"], "application/json"),
        (["application/json;q=nonsense, text/csv"], "text/csv"),
    ],
)
def test_the_preferred_form_is_sent(accept: list[str], expected: str) -> None:
    assert chosen(accept, OFFERS) == expected


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0, text/csv;q=0", "image/*"])
def test_a_client_that_accepts_neither_form_is_told_which_there_are(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match=r"application/json or text/csv") as refused:
        chosen([accept], OFFERS)
    assert (refused.value.status, refused.value.headers) == (406, {"Vary": "Accept"})


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2), max_size=5
    )
)
def test_a_reader_of_rfc_4180_gets_every_text_back(rows: list[list[str]]) -> None:
    text = csv_table(("a", "b"), rows).decode()
    assert text.endswith("\r\n")
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found == [["a", "b"], *([neutralised(cell) for cell in row] for row in rows)]
    for row, read in zip(rows, found[1:], strict=True):
        assert row == [cell.removeprefix("'") if cell.startswith("'") else cell for cell in read]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝"])
def test_a_text_that_a_spreadsheet_would_run_is_shown_as_text(start: str) -> None:
    assert neutralised(f"{start}HYPERLINK(1)").startswith("'" + start)
    assert csv_table(("a",), [[f"{start}x", -5]]).decode().splitlines()[-1].endswith(",-5")


def test_a_report_as_csv_has_a_header_its_rows_and_the_total_last() -> None:
    rows = [("=North", figures(2, 5, 1005, 1)), (None, figures(1, 1, 2000, 1)), ("Gone", figures(0, 0, 0, 0))]
    found = report("2026-03", By.REGION, ["EUR", "USD"], rows, figures(3, 6, 3005, 2))
    assert SalesReport.model_validate(found).currencies == ["EUR", "USD"]
    assert as_csv(found).decode().split("\r\n") == [
        "row,key,currency,orders,items,revenue,average_order_value,customers",
        "region,,EUR,1,1,2000,2000,1",
        "region,'=North,EUR,2,5,1005,503,1",
        "total,,EUR,3,6,3005,1002,2",
        "",
    ]


def test_a_report_of_nothing_has_a_total_of_nothing() -> None:
    found = report("2026-03", By.CATEGORY, [], [], figures(0, 0, 0, 0))
    assert found["total"] == {"orders": 0, "items": 0, "revenue": 0, "average_order_value": None, "customers": 0}
    assert as_csv(found).decode().split("\r\n")[1] == "total,,,0,0,0,,0"


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_an_average_is_the_nearest_minor_unit_with_halves_up(revenue: int, orders: int) -> None:
    average = average_order_value(revenue, orders)
    assert average is not None
    assert -orders <= 2 * (revenue - average * orders) < orders
