"""``tidemark verify`` on the command line: its exit codes, and its output for people and for programs."""

import asyncio
import json

import pytest
from typer.testing import CliRunner, Result

from deploy.cli.main import app
from deploy.servers.ports import free_port
from deploy.verify import command
from shared.runtime.settings import Settings
from tests.integration.verify.dataset import GENERATION, STREAMS, Dataset


async def verify(*arguments: str) -> Result:
    argv = ["verify", "--generation", str(GENERATION), "--patience", "0", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, app, argv)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--heal", "--no-content"],
        ["--heal", "--sample", "3"],
        ["--sample", "0"],
        ["--sample", "3", "--no-content"],
        ["--projection", "nowhere"],
        ["--generation", "0"],
    ],
)
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["verify", *arguments]).exit_code == 2


def test_a_read_model_in_redis_without_figures_is_one_line_and_exit_code_2(
    migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "FIGURES", {})
    result = CliRunner().invoke(app, ["verify", "--projection", "analytics"])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "tidemark: analytics cannot be verified: it is in Redis, and verify does not know what its figures should be"
    ]


async def test_all_equal_is_exit_code_0_and_anything_wrong_1(dataset: Dataset) -> None:
    result = await verify()
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "all equal"), result.output
    assert f"{STREAMS} streams" in result.stdout
    await dataset.summary.execute("UPDATE orders SET total = 1 WHERE order_id = 'o-4'")
    result = await verify("--projection", "summary")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "not equal"), result.output
    assert "orders/o-4" in result.stdout
    assert "tidemark projections rebuild summary" in result.stdout
    result = await verify("--projection", "summary", "--output", "json", "--limit", "0")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["equal"], report["counts"], report["findings"]) == (False, {"summary": {"different": 1}}, [])
    result = await verify("--projection", "summary", "--sample", "3", "--seed", "9")
    assert "seed 9" in result.stderr


async def test_an_unavailable_server_is_exit_code_3(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_ANALYTICS_REDIS_URL", f"redis://127.0.0.1:{free_port()}")
    result = await verify()
    assert result.exit_code == 3
    assert "tidemark: analytics: " in result.stderr
    monkeypatch.setenv("TIDEMARK_WRITE_DB_URL", f"postgresql://127.0.0.1:{free_port()}/nowhere")
    result = await verify("--projection", "summary")
    assert (result.exit_code, "write database" in result.stderr) == (3, True)
    monkeypatch.delenv("TIDEMARK_WRITE_DB_URL")
    assert (await verify()).exit_code == 2


async def test_a_missing_generation_is_reported(dataset: Dataset) -> None:
    result = await verify("--generation", "78", "--projection", "summary")
    assert result.exit_code == 3
    assert "summary" in result.stderr


async def test_each_verification_is_recorded_for_the_metrics(dataset: Dataset) -> None:
    await dataset.operations.execute("TRUNCATE verifications")
    assert (await verify()).exit_code == 0
    await dataset.write.execute(
        "UPDATE streams SET version = version + 1 WHERE stream = (SELECT min(stream) FROM streams)"
    )
    wrong = json.loads((await verify("--output", "json")).stdout)
    rows = await dataset.operations.fetch("SELECT complete, differences, details FROM verifications ORDER BY id")
    assert [(row["complete"], row["differences"] > 0) for row in rows] == [(False, False), (False, True)], (
        "another generation than the active one is not all there is"
    )
    assert json.loads(rows[1]["details"])["counts"] == wrong["counts"]
    assert "findings" not in json.loads(rows[1]["details"]), "they name streams"
