"""The supervisor with real child processes: all ready or none, no death unnoticed, nothing left behind."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.run.child import Program
from deploy.run.deployables import DEPLOYABLES, environment
from deploy.run.supervisor import ChildExitedError, Supervisor
from deploy.servers.accounts.urls import ACCOUNTS
from deploy.servers.provide import Servers, from_environment
from shared.runtime.setting_values import variable

pytestmark = pytest.mark.timeout(60)

STEADY = "print('tidemark ready: {name}', flush=True); import time; time.sleep(60)"
FAILING = "import sys; print('no database'); sys.exit(3)"
LATE_FAILURE = "print('tidemark ready: {name}', flush=True); import sys, time; time.sleep(0.3); sys.exit('lost it')"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STEADY
UP = """
import asyncio, sys
from deploy.run.child import Program
from deploy.run.supervisor import Supervisor, run_until_stopped
programs = [Program(name, (sys.executable, "-c", code.format(name=name)), {{}}) for name, code in {programs!r}]
sys.exit(asyncio.run(run_until_stopped(Supervisor(), programs)))
"""


def program(name: str, code: str = STEADY) -> Program:
    return Program(name, (sys.executable, "-c", code.format(name=name)), {"PATH": os.environ["PATH"]})


async def test_start_returns_when_all_are_ready_and_stop_leaves_none() -> None:
    async with Supervisor(None) as supervisor:
        await supervisor.start([program("a"), program("b")])
        pids = [supervisor.pid(name) for name in ("a", "b")]
        assert all(psutil.pid_exists(pid) for pid in pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_child_that_fails_at_its_start_is_named_with_its_reason_and_last_words() -> None:
    async with Supervisor(None) as supervisor:
        with pytest.raises(ChildExitedError, match=r"(?s)b died: exit code 3.*no database"):
            await supervisor.start([program("a"), program("b", FAILING)])


async def test_a_program_that_does_not_exist_is_named() -> None:
    async with Supervisor(None) as supervisor:
        with pytest.raises(ChildExitedError, match="ghost died: it could not be started"):
            await supervisor.start([Program("ghost", ("/nowhere/ghost",), {})])


async def test_a_child_that_never_gets_ready_is_named() -> None:
    async with Supervisor(None) as supervisor:
        with pytest.raises(ChildExitedError, match="a died: not ready within"):
            await supervisor.start([program("a", "import time; time.sleep(60)")], ready_within=0.5)


async def test_a_death_is_noticed_and_a_kill_on_request_is_none() -> None:
    async with Supervisor(None) as supervisor:
        await supervisor.start([program("a"), program("b")])
        watching = asyncio.create_task(supervisor.unexpected_exit())
        await supervisor.kill("a")
        assert not supervisor.running("a")
        await supervisor.restart("a")
        assert not watching.done()
        os.kill(supervisor.pid("b"), signal.SIGSEGV)
        death = await asyncio.wait_for(watching, 10)
        assert (death.name, death.reason) == ("b", "SIGSEGV")


async def test_work_that_is_watched_over_ends_with_the_first_death_and_not_with_its_own_patience() -> None:
    async with Supervisor(None) as supervisor:
        await supervisor.start([program("a"), program("b", LATE_FAILURE)])
        began = time.monotonic()
        with pytest.raises(ChildExitedError, match=r"(?s)b died: exit code 1.*lost it"):
            await supervisor.supervise(asyncio.sleep(30))
        assert time.monotonic() - began < 10
    async with Supervisor(None) as supervisor:
        await supervisor.start([program("a")])
        assert await supervisor.supervise(asyncio.sleep(0, "done")) == "done"


async def test_restart_gives_a_new_process_and_waits_until_it_is_ready() -> None:
    async with Supervisor(None) as supervisor:
        await supervisor.start([program("a")])
        before = supervisor.pid("a")
        await supervisor.restart("a")
        assert supervisor.pid("a") != before
        assert supervisor.running("a")
        assert not psutil.pid_exists(before)


async def test_what_does_not_stop_in_time_is_killed() -> None:
    supervisor = Supervisor(None)
    await supervisor.start([program("a", STUBBORN)])
    pid = supervisor.pid("a")
    await supervisor.stop(within=0.3)
    assert not psutil.pid_exists(pid)


async def test_a_killed_child_takes_its_own_children_with_it() -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen(['/bin/sleep', '60']); print('pid', p.pid, flush=True); " + STEADY
    )
    output = io.StringIO()
    async with Supervisor(output) as supervisor:
        await supervisor.start([program("a", code)])
        grandchild = psutil.Process(int(output.getvalue().split("pid ")[1].split()[0]))
        await supervisor.kill("a")
        assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


async def test_every_line_bears_its_childs_name_even_the_unfinished_and_the_undecodable() -> None:
    code = r"import sys; sys.stdout.buffer.write(b'one\ntwo \xff\nthree'); sys.stdout.flush(); " + STEADY.replace(
        "'t", r"'\nt"
    )
    output = io.StringIO()
    async with Supervisor(output) as supervisor:
        await supervisor.start([program("a", code), program("longer")])
    lines = [line for line in output.getvalue().splitlines() if line.startswith("a ")]
    assert lines[:4] == ["a      │ one", "a      │ two �", "a      │ three", "a      │ tidemark ready: a"]


async def test_colour_is_only_for_terminals() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    for output, colour in ((plain, None), (coloured, True)):
        async with Supervisor(output, colour=colour) as supervisor:
            await supervisor.start([program("a")])
    assert "\x1b[" not in plain.getvalue()
    assert coloured.getvalue().startswith("\x1b[36ma │ \x1b[0m")


async def test_a_megabyte_without_a_line_break_is_passed_on_and_stops_nothing() -> None:
    output = io.StringIO()
    async with Supervisor(output) as supervisor:
        await supervisor.start([program("a", "print('x' * 1_000_000); " + STEADY)])
    assert output.getvalue().count("x") == 1_000_000


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_up_stops_cleanly_when_asked(sent: signal.Signals) -> None:
    with _up([("a", STEADY), ("b", STEADY)]) as up:
        pids = _children(up, 2)
        up.send_signal(sent)
        assert up.wait(20) == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_up_says_which_died_and_why_and_stops_the_rest() -> None:
    with _up([("a", STEADY), ("b", LATE_FAILURE)]) as up:
        _, errors = up.communicate(timeout=20)
        assert up.returncode == 1
    assert "b died: exit code 1; its last output:" in errors
    assert "lost it" in errors


def test_children_end_when_their_supervisor_is_killed() -> None:
    with _up([("a", STEADY)]) as up:
        pids = _children(up, 1)
        up.kill()
        up.wait()
    deadline = time.monotonic() + 5
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_runs(pid) for pid in pids)


@pytest.fixture
def servers() -> Servers:
    names = (
        "RABBITMQ_URL",
        "WRITE_DB_URL",
        "SUMMARY_DB_URL",
        "SEARCH_DB_URL",
        "TELEMETRY_DB_URL",
        "PROCESSES_DB_URL",
        "OPERATIONS_DB_URL",
        "KEYS_DB_URL",
        "ANALYTICS_REDIS_URL",
    )
    found = from_environment(
        {f"TIDEMARK_{name}": f"x://owner@{name}" for name in names}
        | {
            "TIDEMARK_SEARCH_READER_URL": "x://reader@search",
            "TIDEMARK_RELAY_WRITE_DB_URL": "x://relay@write",
            "TIDEMARK_QUERY_RABBITMQ_URL": "x://query@bus",
        }
    )
    assert found is not None
    return found


@pytest.mark.parametrize("name", DEPLOYABLES)
def test_a_deployable_sees_the_stores_it_works_on_and_no_others(name: str, servers: Servers) -> None:
    base = {"TIDEMARK_WRITE_DB_URL": "x://inherited", "TIDEMARK_LANES": "2", "PATH": "/bin"}
    given = environment(name, servers, base)
    assert {key for key in given if key.endswith("_URL")} == {variable(setting) for setting in ACCOUNTS[name]}
    assert given["TIDEMARK_LANES"] == "2"
    assert "x://inherited" not in given.values()


def test_only_the_command_service_sees_the_write_database_and_the_query_service_reads_as_a_reader(
    servers: Servers,
) -> None:
    seeing = {name for name in DEPLOYABLES if "TIDEMARK_WRITE_DB_URL" in environment(name, servers, {})}
    assert seeing == {"worker", "relay", "http"}
    assert environment("query", servers, {})["TIDEMARK_SEARCH_DB_URL"] == "x://reader@search"
    assert environment("search", servers, {})["TIDEMARK_SEARCH_DB_URL"] == "x://owner@SEARCH_DB_URL"


def test_a_deployables_own_url_is_its_alone_and_the_others_keep_the_plain_one(servers: Servers) -> None:
    assert environment("relay", servers, {})["TIDEMARK_WRITE_DB_URL"] == "x://relay@write"
    assert environment("worker", servers, {})["TIDEMARK_WRITE_DB_URL"] == "x://owner@WRITE_DB_URL"
    assert environment("query", servers, {})["TIDEMARK_RABBITMQ_URL"] == "x://query@bus"
    assert environment("relay", servers, {})["TIDEMARK_RABBITMQ_URL"] == "x://owner@RABBITMQ_URL"


def test_the_settings_that_servers_hand_on_name_the_same_servers_to_another_process(servers: Servers) -> None:
    again = from_environment(servers.environ())
    assert again is not None
    assert {name: again.environ_of(name) for name in ACCOUNTS} == {name: servers.environ_of(name) for name in ACCOUNTS}
    assert again.environ() == servers.environ()


def _up(programs: list[tuple[str, str]]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", UP.format(programs=programs)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _children(up: subprocess.Popen[str], count: int) -> list[int]:
    assert up.stdout is not None
    for _ in range(count):
        assert "tidemark ready" in up.stdout.readline()
    return [child.pid for child in psutil.Process(up.pid).children()]


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
