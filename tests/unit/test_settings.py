"""Settings: strict, all faults together, and the example file tells the truth."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from footfall.errors import Misconfigured
from footfall.settings import VARIABLES, AuthMode, Settings, as_text, load, place_of

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_nothing_set_gives_every_default() -> None:
    assert load({}, None).settings == Settings()
    assert set(load({}, None).origins.values()) == {"default"}


def test_every_setting_has_a_variable_and_every_variable_a_setting() -> None:
    assert [name.lower() for name in VARIABLES] == list(Settings.__struct_fields__)


def test_the_environment_wins_over_the_file_and_both_over_the_default(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PORT=4000\nQUEUE_ATTEMPTS=7\n")
    loaded = load({"PORT": "5000"}, env_file)
    assert (loaded.settings.port, loaded.settings.queue_attempts) == (5000, 7)
    assert (loaded.origins["PORT"], loaded.origins["QUEUE_ATTEMPTS"], loaded.origins["HOST"]) == (
        "environment",
        ".env",
        "default",
    )


def test_all_faults_are_reported_together_each_with_name_value_and_what_is_allowed() -> None:
    with pytest.raises(Misconfigured) as caught:
        load({"USE_SQS": "yep", "QUEUE_CONCURRENCY": "0", "PORT": "http", "TRUSTED_PROXIES": "10.0.0.0/99"}, None)
    assert caught.value.problems == (
        "PORT: 'http' is not 1 to 65535",
        "USE_SQS: 'yep' is not true or false",
        "QUEUE_CONCURRENCY: '0' is not 1 to 1000",
        "TRUSTED_PROXIES: '10.0.0.0/99' is not addresses or CIDRs, with commas",
    )


def test_a_secret_is_never_shown_not_even_when_it_is_wrong() -> None:
    with pytest.raises(Misconfigured) as caught:
        load({"MONGODB_URI": "postgres://me:hunter2@host/db"}, None)
    assert "hunter2" not in str(caught.value)
    settings = load({"REDIS_PASSWORD": "hunter2", "MONGODB_URI": "mongodb://me:hunter2@host/db"}, None).settings
    assert "hunter2" not in as_text(settings, "REDIS_PASSWORD") + as_text(settings, "MONGODB_URI")


def test_values_are_read_as_their_types() -> None:
    settings = load(
        {
            "AUTH": "ON",
            "CORS_ORIGINS": "https://a.example, https://b.example/",
            "TRUSTED_PROXIES": "10.0.0.1, fd00::/8",
            "FSYNC": "off",
        },
        None,
    ).settings
    assert settings.auth is AuthMode.ON
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.1/32", "fd00::/8"]
    assert settings.fsync is False


def test_a_cluster_without_its_server_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"CLICKHOUSE_CLUSTER: .* CLICKHOUSE_URL"):
        load({"CLICKHOUSE_CLUSTER": "main"}, None)
    assert load({"CLICKHOUSE_CLUSTER": "main", "CLICKHOUSE_URL": "http://h:8123"}, None).settings.clickhouse_cluster


def test_an_address_is_shown_without_its_secrets() -> None:
    assert place_of("mongodb+srv://me:hunter2@one,two:27018/shop?authSource=admin") == "one,two:27018/shop"
    assert place_of("https://me:p@ss@ch.example:8443/events?password=hunter2") == "ch.example:8443/events"
    assert place_of("http://ch.example:8123") == "ch.example:8123"
    assert place_of("https://me:hunt?er2@ch.example") == "(hidden)"


def test_the_example_lists_every_variable_once_with_its_default() -> None:
    listed = [
        line.removeprefix("#").split("=")[0]
        for line in EXAMPLE.read_text().splitlines()
        if "=" in line and not line.startswith("# ")
    ]
    assert listed == list(VARIABLES)
    example = {name: value for name, value in dotenv_values(EXAMPLE).items() if value}
    assert load({name: value for name, value in example.items() if value}, None).settings == Settings()


def test_a_name_in_the_file_that_is_nearly_ours_is_a_fault_and_any_other_is_not(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("QUEUE_ATEMPTS=5\nDATABASE_URL=postgres://x\n")
    with pytest.raises(Misconfigured) as caught:
        load({}, env_file)
    assert caught.value.problems == ("QUEUE_ATEMPTS: is not a setting; QUEUE_ATTEMPTS is",)


def test_a_file_that_is_not_text_is_a_fault(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes("PORT=5".encode("utf-16"))
    with pytest.raises(Misconfigured, match="UTF-8"):
        load({}, env_file)


def test_a_host_that_can_not_be_one_is_told_with_the_other_faults() -> None:
    with pytest.raises(Misconfigured) as caught:
        load({"HOST": "bad host!", "PORT": "99999"}, None)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["HOST", "PORT"]
