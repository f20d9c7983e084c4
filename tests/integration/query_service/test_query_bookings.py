"""A practice's bookings as they are read: names, lists by doctor, patient, status and local day, free times, and doctors found by words.

The rows are written by the projections themselves, in the order in which the events came.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.port import Advance, Commit
from shared.read_models import is_of, named
from tests import practice
from tests.shop import run

pytestmark = pytest.mark.usefixtures("shop")

MIDNIGHT = datetime(2026, 3, 28, 23, tzinfo=UTC)
"""In Berlin; the clocks are set forward in this night, at 01:00 UTC."""
EVENING = MIDNIGHT + timedelta(hours=22, minutes=45)
"""A quarter of an hour before the day is over: it has 23 hours."""
BERLIN = "d-berlin"


class Stores:
    def __init__(self, url: str) -> None:
        self.stores: dict[str, SummaryStore | SearchStore] = {"summary": SummaryStore(url), "search": SearchStore(url)}

    async def apply(self, *advances: Advance) -> None:
        for name, store in self.stores.items():
            read = [each for each in advances if is_of(named(name).kinds, each.stream)]
            await store.commit(Commit(read))


@pytest.fixture(scope="module")
async def written(query_urls: tuple[str, str]) -> AsyncIterator[Stores]:
    """Bookings first, then the doctors and patients whose they are."""
    stores = Stores(query_urls[0])
    cancelled = booked("cancelled", MIDNIGHT + timedelta(hours=12))
    moved = booked("moved", MIDNIGHT + timedelta(days=3))
    await stores.apply(
        run("bookings/late-before", booked("late-before", MIDNIGHT - timedelta(minutes=5), minutes=15)),
        run("bookings/first", booked("first", MIDNIGHT + timedelta(minutes=10)), practice.confirmed("first")),
        run("bookings/at-the-jump", booked("at-the-jump", MIDNIGHT + timedelta(hours=2), patient_id="p-b")),
        run("bookings/cancelled", cancelled, practice.cancelled(cancelled)),
        run("bookings/last", booked("last", EVENING), practice.confirmed("last"), practice.completed("last")),
        run("bookings/next-day", booked("next-day", EVENING + timedelta(minutes=15))),
        run("bookings/moved", moved, practice.moved(moved, starts_at=MIDNIGHT + timedelta(hours=5), minutes=30)),
        run("bookings/unknown", practice.requested("unknown", doctor_id="d-nobody", patient_id="p-nobody")),
    )
    await stores.apply(
        run(f"doctors/{BERLIN}", practice.doctor(BERLIN, name="Dr Änne Groß", speciality="Dermatology")),
        run("doctors/d-utc", practice.doctor("d-utc", name="Dr Bert Grossmann", speciality="Ear & throat", zone="UTC")),
        run("patients/p-a", practice.patient("p-a", name="Paul")),
    )
    yield stores
    for store in stores.stores.values():
        await store.close()


def booked(booking_id: str, starts_at: datetime, *, minutes: int = 15, patient_id: str = "p-a") -> Any:
    return practice.requested(booking_id, patient_id=patient_id, doctor_id=BERLIN, starts_at=starts_at, minutes=minutes)


async def listed(client: httpx.AsyncClient, path: str, **params: Any) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await client.get(path, params=params | cursor)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        found += [item["booking_id"] for item in document["items"]]
        if document["next_cursor"] is None:
            return found
        cursor = {"cursor": document["next_cursor"]}


@pytest.mark.usefixtures("written")
async def test_a_booking_has_the_names_of_its_patient_and_doctor_though_they_came_later(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/bookings/moved")
    found = answer.json()
    assert {name: found[name] for name in ("patient_id", "patient_name", "doctor_id", "doctor_name", "status")} == {
        "patient_id": "p-a",
        "patient_name": "Paul",
        "doctor_id": BERLIN,
        "doctor_name": "Dr Änne Groß",
        "status": "pending",
    }
    assert (found["starts_at"], found["ends_at"]) == ("2026-03-29T04:00:00Z", "2026-03-29T04:30:00Z")
    assert (found["version"], found["held"]) == (2, None)
    unknown = (await client.get("/bookings/unknown")).json()
    assert (unknown["patient_name"], unknown["doctor_name"]) == (None, None)
    assert (await client.get("/bookings/nothing")).json()["type"] == "urn:tidemark:problem:booking-not-found"


async def test_a_rename_is_in_every_answer_and_its_etag_and_changes_no_booking(
    client: httpx.AsyncClient, written: Stores, query_urls: tuple[str, str]
) -> None:
    await written.apply(
        run("bookings/kept", practice.requested("kept", doctor_id="d-new", patient_id="p-new")),
        run("doctors/d-new", practice.doctor("d-new", name="Dr Old", speciality=None)),
        run("patients/p-new", practice.patient("p-new")),
    )
    before = await client.get("/bookings/kept")
    await written.apply(
        run("doctors/d-new", practice.doctor_renamed("d-new", name="Dr New", speciality=None), expected=1)
    )
    await written.apply(run("patients/p-new", practice.patient_renamed("p-new", name="Petra"), expected=1))
    after = await client.get("/bookings/kept")
    assert (after.json()["doctor_name"], after.json()["patient_name"]) == ("Dr New", "Petra")
    assert [each.headers["etag"].split("-")[0] for each in (before, after)] == ['"1.1.1', '"1.2.2']
    for path in ("/bookings", "/doctors/d-new/bookings"):
        answer = await client.get(path, params={"doctor_id": "d-new"} if path == "/bookings" else {})
        assert [item["doctor_name"] for item in answer.json()["items"]] == ["Dr New"]
    assert (await client.get("/doctors/d-new")).json()["name"] == "Dr New"
    assert (await client.get("/search/doctors?q=new")).json()["items"][0]["doctor_id"] == "d-new"
    assert (await client.get("/search/doctors?q=old")).json()["items"] == []


@pytest.mark.usefixtures("written")
async def test_a_local_day_of_23_hours_has_the_bookings_that_start_in_it(client: httpx.AsyncClient) -> None:
    day = {"from": "2026-03-29", "to": "2026-03-30", "limit": 2}
    in_it = ["first", "at-the-jump", "moved", "cancelled", "last"]
    assert await listed(client, "/bookings", doctor_id=BERLIN, **day) == in_it
    assert await listed(client, f"/doctors/{BERLIN}/bookings", **day) == in_it
    assert await listed(client, "/bookings", doctor_id=BERLIN, **day | {"to": "2026-03-31"}) == [*in_it, "next-day"]
    # In UTC the day is another one.
    in_utc = ["at-the-jump", "moved", "cancelled", "last", "next-day"]
    assert await listed(client, "/patients/p-a/bookings", **day) == [each for each in in_utc if each != "at-the-jump"]
    assert await listed(client, "/bookings", **day) == in_utc


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"doctor_id": BERLIN, "status": "completed"}, ["last"]),
        ({"doctor_id": BERLIN, "patient_id": "p-b"}, ["at-the-jump"]),
        ({"patient_id": "p-a", "status": "confirmed"}, ["first"]),
        ({"status": "cancelled"}, ["cancelled"]),
        ({"doctor_id": "d-nobody"}, ["unknown"]),
        ({"doctor_id": "d-none"}, []),
        ({"from": "2026-03-29T04:00:00Z", "to": "2026-03-29T04:00:01Z"}, ["moved"]),
        ({"from": "2026-03-29T04:00:00Z", "to": "2026-03-29T04:00:00Z"}, []),
    ],
)
async def test_filters_keep_what_they_say(
    client: httpx.AsyncClient, filters: dict[str, str], expected: list[str]
) -> None:
    assert await listed(client, "/bookings", **filters) == expected


@pytest.mark.usefixtures("written")
async def test_free_times_are_what_bookings_leave_of_a_day(client: httpx.AsyncClient) -> None:
    day = {"from": "2026-03-29", "to": "2026-03-30"}
    found = (await client.get(f"/doctors/{BERLIN}/free-times", params=day)).json()
    assert (found["time_zone"], found["from"], found["to"]) == (
        "Europe/Berlin",
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z",
    )
    refused = (await client.get(f"/doctors/{BERLIN}/free-times", params=day | {"from": "xx"})).json()
    assert refused["errors"][0]["message"].startswith("must be a date (2026-03-29: the start of that day in the doctor")
    of_all = (await client.get("/bookings?from=xx")).json()
    assert of_all["errors"][0]["message"].startswith("must be a date (2026-03-01, midnight UTC)")
    # The one of the evening before reaches ten minutes into the day; the cancelled one takes nothing.
    assert [(item["starts_at"][5:16], item["ends_at"][5:16], item["minutes"]) for item in found["items"]] == [
        ("03-28T23:25", "03-29T01:00", 95),
        ("03-29T01:15", "03-29T04:00", 165),
        ("03-29T04:30", "03-29T21:45", 1035),
    ]
    long = (await client.get(f"/doctors/{BERLIN}/free-times", params=day | {"minutes": 165})).json()
    assert [item["minutes"] for item in long["items"]] == [165, 1035]
    empty = (await client.get("/doctors/d-utc/free-times", params={"from": "2026-10-01", "to": "2026-11-01"})).json()
    assert [item["minutes"] for item in empty["items"]] == [31 * 24 * 60]
    october = {"from": "2026-10-25", "to": "2026-10-26"}
    assert (await client.get(f"/doctors/{BERLIN}/free-times", params=october)).json()["items"][0]["minutes"] == 1500


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        (f"/doctors/{BERLIN}/free-times?from=2026-03-01&to=2026-05-01", 400, "to"),
        (f"/doctors/{BERLIN}/free-times?from=2026-03-02&to=2026-03-01", 400, "to"),
        (f"/doctors/{BERLIN}/free-times?from=2026-03-02", 400, ""),
        (f"/doctors/{BERLIN}/free-times?from=2026-03-02&to=2026-03-03&minutes=7", 400, "minutes"),
        (f"/doctors/{BERLIN}/free-times?from=2026-02-30&to=2026-03-03", 400, "from"),
        ("/bookings?from=2026-03-02&to=2026-03-01", 400, "to"),
        ("/bookings?status=gone", 400, "status"),
        ("/bookings?day=2026-03-01", 400, "day"),
        ("/search/doctors", 400, "q"),
        ("/doctors/d-none/free-times?from=2026-03-02&to=2026-03-03", 404, ""),
        ("/doctors/d-none/bookings", 404, ""),
        ("/patients/p-none/bookings", 404, ""),
        ("/patients/p-none", 404, ""),
    ],
)
async def test_what_cannot_be_answered_is_refused_by_name(
    client: httpx.AsyncClient, path: str, status: int, field: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    assert [error["field"] for error in answer.json().get("errors", [])] == ([field] if field else [])


@pytest.mark.usefixtures("written")
async def test_who_is_not_registered_has_bookings_all_the_same(client: httpx.AsyncClient) -> None:
    assert await listed(client, "/patients/p-b/bookings") == ["at-the-jump"]
    assert await listed(client, "/doctors/d-nobody/bookings") == ["unknown"]
    day = {"from": "2026-03-30", "to": "2026-03-31"}
    free = (await client.get("/doctors/d-nobody/free-times", params=day)).json()
    assert (free["time_zone"], [item["minutes"] for item in free["items"]]) == ("UTC", [540, 885])
    assert (await client.get("/doctors/d-nobody")).status_code == 404


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(
    ("query", "matched", "found"),
    [
        ("q=anne", "words", [BERLIN]),
        ("q=gross", "words", [BERLIN, "d-utc"]),
        ("q=derma", "words", [BERLIN]),
        ("q=throat+grossmann", "words", ["d-utc"]),
        ("q=gross&speciality=Dermatology", "words", [BERLIN]),
        ("speciality=Ear+%26+throat", "filters", ["d-utc"]),
        ("q=grossman+berd", "similar", ["d-utc"]),
        ("q=anne&speciality=Surgery", "words", []),
        ('q="grossman"', "words", []),
    ],
)
async def test_doctors_are_found_by_name_and_speciality(
    client: httpx.AsyncClient, query: str, matched: str, found: list[str]
) -> None:
    pages: list[str] = []
    cursor = ""
    while True:
        answer = (await client.get(f"/search/doctors?{query}&limit=1{cursor}")).json()
        pages += [item["doctor_id"] for item in answer["items"]]
        assert (answer["matched"], answer["total"]) == (matched, len(found))
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    assert pages == found


@pytest.mark.usefixtures("written")
async def test_history_and_documents_have_what_happened(client: httpx.AsyncClient) -> None:
    history = (await client.get("/bookings/last/history")).json()["items"]
    assert [entry["type"].removeprefix("bookings.") for entry in history] == [
        "booking-requested",
        "booking-confirmed",
        "booking-completed",
    ]
    doctor = (await client.get(f"/doctors/{BERLIN}")).json()
    assert (doctor["speciality"], doctor["time_zone"]) == ("Dermatology", "Europe/Berlin")
    assert (await client.get("/patients/p-a")).json()["email"] == "paul@example.org"
    for path in ("/bookings/last", f"/doctors/{BERLIN}", "/patients/p-a", "/bookings", "/search/doctors?q=anne"):
        tag = (await client.get(path)).headers["etag"]
        assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 304
