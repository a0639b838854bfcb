"""alyx.yaml and the environment: what is taken, what is refused, and how a fault is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from alyx import config
from alyx.base import units
from alyx.base.errors import SourceError


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        Path("alyx.yaml").write_text(text)

    return write


def refused(text, write, env=None):
    write(text)
    with pytest.raises(SourceError) as caught:
        config.load(env=env or {})
    return [str(fault) for fault in caught.value.faults]


def test_without_a_file_every_key_has_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = config.load(env={})
    assert found.file is None
    assert found.values["server.host"] == "127.0.0.1"
    assert found.values["server.port"] == 8090
    assert found.values["server.max_body_size"] == 10 * 1024 * 1024
    assert found.values["auth.jwt.refresh_ttl"] == 7 * 86400
    assert found.values["realtime.poll_interval"] == pytest.approx(0.02)
    assert found.database_path == Path("data/alyx.db")
    assert found.later == []


def test_an_empty_file_is_all_defaults(write):
    write("# nothing yet\n")
    assert config.load(env={}).values["server.port"] == 8090


def test_a_config_file_that_is_named_but_missing_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        config.load(tmp_path / "nope.yaml", env={})


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "my.yaml").write_text("schema: s.yaml\nmigrations: ../m\ndatabase: {path: x.db}\n")
    found = config.load(tmp_path / "deep" / "my.yaml", env={})
    assert found.schema_file == tmp_path / "deep" / "s.yaml"
    assert found.migrations_folder == tmp_path / "deep" / ".." / "m"
    assert found.database_path == tmp_path / "deep" / "x.db"


def test_every_unknown_key_is_refused_with_its_line_and_the_nearest_one(write):
    faults = refused("server:\n  prot: 1\nlogging:\n  levle: info\nfoo: 1\nauth: {jwt: {secrt: x}}\n", write)
    assert [fault.split(":")[1] for fault in faults] == ["2", "4", "5", "6"]
    assert "did you mean `port`?" in faults[0]
    assert "did you mean `level`?" in faults[1]
    assert "unknown key `foo`" in faults[2]
    assert "did you mean `secret`?" in faults[3]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("server: {port: 70000}", "from 0 to 65535"),
        ("server: {port: '8090'}", "whole number"),
        ("server: {port: true}", "whole number"),
        ("server: {workers: 0}", "from 1 to 256 or `auto`"),
        ("server: {max_body_size: ten}", "a size such as `10MB`"),
        ("server: {max_body_size: -1}", "a size such as `10MB`"),
        ("server: 3", "a map is needed"),
        ("server: {cors: {allowed_origins: 'https://a.b'}}", "a list of texts"),
        ("server: {cors: {allowed_origins: [a.b]}}", "not an origin"),
        ("server: {cors: {allowed_origins: ['https://a.b/']}}", "not an origin"),
        ("server: {cors: {allowed_origins: ['*'], allow_credentials: true}}", "needs the origins by name"),
        ("server: {trusted_proxies: [10.0.0.0/99]}", "not an address or a network"),
        ("server: {host: 1}", "text is needed"),
        ("schema: ''", "a path is needed"),
        ("database: {synchronous: ful}", "did you mean `full`?"),
        ("database: {url: 'mysql://x'}", "sqlite:///data/alyx.db"),
        ("database: {url: 'sqlite://data.db'}", "sqlite:///data/alyx.db"),
        ("database: {url: 'sqlite:///:memory:'}", "name a file"),
        ("database: {url: 'sqlite:///a.db?mode=ro'}", "no parameters"),
        ("database: {url: 'postgresql://u@h/d'}", "only SQLite"),
        ("database: {url: 'sqlite:///a.db', path: b.db}", "keep one"),
        ("auth: {jwt: {access_ttl: 30}}", "did you mean `30s`?"),
        ("auth: {jwt: {access_ttl: 30 s}}", "a duration"),
        ("auth: {jwt: {access_ttl: 0s}}", "longer than 0"),
        ("limits: {statement: 0s}", "longer than 0"),
        ("admin_ui: {path: noslash}", "starts with `/`"),
        ("docs: {title: '${}'}", "begins the name of an environment variable"),
        ("docs: {title: 'x ${A B} y'}", "begins the name of an environment variable"),
        ("auth: {allow_registration: 'yes'}", "`true` or `false`"),
        ("auth: {oauth: {google: {id: x}}}", "unknown key `id`"),
        ("auth: {oauth: {google: x}}", "a map is needed"),
        ("limits: {requests: 200}", "not a rate"),
        ("limits: {json_depth: 0}", "from 1 to 256"),
        ("[1, 2]", "must be a map"),
        ("server: {port: 1}\nserver: {port: 2}", "stands twice"),
        ("dev: {generate_languages: ts}", "a list of texts"),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence(write, text, part):
    faults = refused(text, write)
    assert len(faults) == 1
    assert part in faults[0]
    assert faults[0].startswith("alyx.yaml:")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("30s", 30), ("15m", 900), ("168h", 604800), ("7d", 604800), ("1h30m", 5400), ("1.5s", 1.5)],
)
def test_durations(text, seconds):
    assert units.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "count"), [("10MB", 10 << 20), ("32KB", 32 << 10), ("1GB", 1 << 30), ("1 MiB", 1 << 20), ("12", 12), (7, 7)]
)
def test_sizes(text, count):
    assert units.size(text) == count


def test_every_key_can_be_set_by_the_environment_which_wins(write):
    write("server: {port: 1, host: a}\ndatabase: {path: a.db}\n")
    env = {
        "ALYX_SERVER_PORT": "9000",
        "ALYX_SERVER_CORS_ALLOWED_ORIGINS": "https://a.b, https://c.d",
        "ALYX_DATABASE_URL": "sqlite:////tmp/x%20y.db",
        "ALYX_METRICS_ENABLED": "false",
        "ALYX_AUTH_JWT_SECRET": "1234",
        "ALYX_LIMITS_REQUESTS": "off",
        "ALYX_AUTH_OAUTH_GOOGLE_CLIENT_ID": "me",
        "ALYX_SERVER_HOST": "",
    }
    found = config.load(env=env)
    assert found.values["server.port"] == 9000
    assert found.values["server.cors.allowed_origins"] == ("https://a.b", "https://c.d")
    assert found.database_path == Path("/tmp/x y.db")
    assert found.values["metrics.enabled"] is False
    assert found.values["auth.jwt.secret"] == "1234"
    assert found.values["limits.requests"] is None
    assert found.values["server.host"] == "a"
    assert found.later == ["auth.oauth.google.client_id"]
    assert found.warnings == ()


def test_a_bad_variable_is_an_error_beside_those_of_the_file(write):
    faults = refused("servr: 1", write, {"ALYX_SERVER_PORT": "many", "ALYX_DATABASE_URL": "postgres://h/d"})
    assert any("environment: ALYX_SERVER_PORT: a whole number" in fault for fault in faults)
    assert any("environment: ALYX_DATABASE_URL: PostgreSQL" in fault for fault in faults)
    assert any("did you mean `server`?" in fault for fault in faults)


def test_an_unknown_alyx_variable_is_a_warning_with_the_nearest_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = config.load(env={"ALYX_SERVER_PROT": "1", "ALYXIS": "2", "HOME": "/"})
    assert len(found.warnings) == 1
    assert "ALYX_SERVER_PROT" in found.warnings[0]
    assert "did you mean ALYX_SERVER_PORT?" in found.warnings[0]


def test_variables_in_values_are_filled_in_and_then_read_by_the_type_of_the_key(write):
    write(
        'server:\n  port: ${PORT}\n  host: "${HOST:-0.0.0.0}"\n  workers: ${N:-3}\n'
        'auth: {jwt: {secret: "a-${S}-b"}}\ndocs: {title: "$${x} costs $5"}\n'
    )
    found = config.load(env={"PORT": "81", "S": "007", "N": ""})
    assert found.values["server.port"] == 81
    assert found.values["server.host"] == "0.0.0.0"
    assert found.values["server.workers"] == 3
    assert found.values["auth.jwt.secret"] == "a-007-b"
    assert found.values["docs.title"] == "${x} costs $5"


def test_a_list_may_come_from_variables(write):
    write('server: {cors: {allowed_origins: "${ORIGINS}"}, trusted_proxies: ["${PROXY}"]}')
    found = config.load(env={"ORIGINS": "https://a.b,https://c.d", "PROXY": "10.0.0.1"})
    assert found.values["server.cors.allowed_origins"] == ("https://a.b", "https://c.d")
    assert found.values["server.trusted_proxies"] == ("10.0.0.1",)


def test_a_missing_variable_is_an_error_that_names_it(write):
    (fault,) = refused("server:\n  port: ${NO_SUCH}\n", write)
    assert fault.startswith("alyx.yaml:2: server.port: the environment variable NO_SUCH is not set")


def test_a_secret_never_stands_in_an_error(write):
    (fault,) = refused("auth: {jwt: {secret: [hunter2hunter2]}}", write)
    assert "hunter2" not in fault


def test_keys_of_later_versions_are_taken_checked_and_named(write):
    write("mail: {host: smtp.example.com, port: 25}\nadmin_ui: {path: /a}\nserver: {port: 1}\nfunctions: f\n")
    assert config.load(env={}).later == ["functions", "mail.host", "mail.port", "admin_ui.path"]


def test_live_queries_are_set_by_their_own_keys_and_have_places_of_their_own(write):
    write("realtime: {max_connections: 7, max_connections_per_user: 2, max_subscriptions_per_client: 3}\n")
    found = config.load(env={"ALYX_LIMITS_REALTIME_MESSAGES": "5/s", "ALYX_REALTIME_MAX_CONNECTIONS_PER_ADDRESS": "0"})
    live = found.realtime()
    assert live is not None
    assert (live.max_connections, live.max_connections_per_user, live.max_connections_per_address) == (7, 2, 0)
    assert (live.max_subscriptions, live.messages) == (3, units.Rate(5, 1.0))
    assert found.server().max_connections == 10_007
    write("realtime: {enabled: false}\n")
    assert config.load(env={}).realtime() is None
    assert config.load(env={}).server().max_connections == 10_000


CONTRACT = """
    schema migrations functions server.host server.port server.workers server.max_body_size
    server.cors.allowed_origins server.trusted_proxies database.url database.path database.synchronous
    auth.jwt.secret auth.jwt.access_ttl auth.jwt.refresh_ttl auth.jwt.issuer auth.jwt.audience
    auth.password.min_length auth.allow_registration auth.require_verification auth.rate_limit.login.max
    auth.rate_limit.login.window auth.rate_limit.register.max auth.rate_limit.register.window
    auth.rate_limit.password_reset.max auth.rate_limit.password_reset.window auth.hide_accounts realtime.enabled
    realtime.poll_interval realtime.max_connections realtime.max_subscriptions_per_client realtime.retention
    logging.level logging.format docs.enabled docs.title metrics.enabled metrics.token mail.host mail.port
    mail.tls mail.user mail.password mail.from mail.base_url admin_ui.enabled admin_ui.path dev.watch
    dev.auto_migrate dev.auto_generate dev.generate_languages dev.generate_output limits.headers limits.json_depth
    limits.filter limits.expand_rows limits.statement limits.batch limits.create_many limits.requests
    limits.realtime_messages
"""


def test_every_key_of_the_contract_is_known():
    named = set(CONTRACT.split())
    assert named <= {key.name for key in config.KEYS}


def test_no_two_keys_share_a_variable():
    names = [key.env for key in config.KEYS]
    assert len(names) == len(set(names))
