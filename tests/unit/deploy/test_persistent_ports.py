"""A port on record comes back unless somebody else has it; a record that makes no sense is no record."""

import socket
from pathlib import Path

import pytest

from deploy.servers import leftovers, ports
from deploy.servers.persistent_ports import FILE, PersistentPorts


def test_ports_are_the_same_from_start_to_start(tmp_path: Path) -> None:
    first = PersistentPorts(tmp_path, "one", "other")
    again = PersistentPorts(tmp_path, "one", "other")
    assert (again["one"], again["other"]) == (first["one"], first["other"])
    assert again.changed == []


def test_one_that_is_taken_by_then_is_replaced_and_the_new_one_is_kept(tmp_path: Path) -> None:
    before = PersistentPorts(tmp_path, "one", "other")
    with socket.create_server(("127.0.0.1", before["one"])):
        after = PersistentPorts(tmp_path, "one", "other")
    assert after["other"] == before["other"]
    assert after.changed == [("one", before["one"], after["one"])]
    assert PersistentPorts(tmp_path, "one", "other")["one"] == after["one"]


def test_after_a_lost_race_all_are_others(tmp_path: Path) -> None:
    chosen = PersistentPorts(tmp_path, "one")
    before = chosen["one"]
    chosen.choose_new_ports()
    assert chosen["one"] != before
    assert PersistentPorts(tmp_path, "one")["one"] == chosen["one"]


def test_the_ports_of_others_in_the_same_folder_stay_on_record(tmp_path: Path) -> None:
    one = PersistentPorts(tmp_path, "one")
    PersistentPorts(tmp_path, "other")
    assert PersistentPorts(tmp_path, "one")["one"] == one["one"]


@pytest.mark.parametrize("record", ['{"one": "x"}', '{"one": 80}', '{"one": null}', "[]", "nonsense"])
def test_a_record_without_sense_is_no_record(tmp_path: Path, record: str) -> None:
    (tmp_path / FILE).write_text(record)
    assert ports.LOWEST <= PersistentPorts(tmp_path, "one")["one"] <= ports.HIGHEST
    assert set(leftovers.read(tmp_path / FILE)) == {"one"}
