"""Unit tests of devenv.toml: services, profiles, and the errors about each of them."""

from pathlib import Path
from typing import Any

import pytest

from devenv import config
from devenv.config import Config
from devenv.gcp.tables import ConfigError
from devenv.schema import CommandService, PostgresService
from devenv.tomlfile import merge


def _with(tmp_path: Path, text: str) -> Config:
    (tmp_path / "devenv.toml").write_text(text)
    return config.load(tmp_path)


TOML = """\
[stack]
profile = "cloud"

[secrets]
key = "{token:30}"

[services.web]
command = ["{python}", "web.py", "--port", "{port}"]
port = 8000
account = "web"
url = "public"
env = { KEY = "{secrets.key}", DB = "{postgres.url}" }
env_from = ["shared"]
needs = ["tables", "mail"]
ready = { http = "/health" }
watch = ["*.py", "./src//**/./*.js"]

[services.tables]
command = ["make", "tables"]
once = true
inputs = ["tables.sql"]
needs = ["postgres"]

[services.postgres]
port = 5432

[services.mail]

[env.shared]
REGION = "us"

[facts]
page = "{services.web.local_url}"

[summary]
rows = [["Page", "{facts.page}"]]

[run]
service = "web"

[profiles.cloud.services.gcp]

[profiles.cloud.env.shared]
REGION = "{gcp.region}"

[profiles.plain]
switch = "PLAIN"
[profiles.plain.services]
mail = false

[profiles.plain-docker]
on = ["plain"]
jobs = "docker"

[gcp]
iam = "strict"
accounts = ["web"]
bindings = [
  # a comment
  { member = "web", role = "roles/run.viewer" },
  { member = "web", role = "roles/run.invoker" },
]

[[gcp.queues]]
name = "runs"

[[gcp.queues]]
name = "mails"
max_attempts = 5

[[gcp.jobs]]
name = "job"
image = "job:1"
account = "job"
env = { A = "1" }
"""


def test_services_have_their_tables(tmp_path: Path) -> None:
    ours = _with(tmp_path, TOML).stacks[("cloud",)]

    web = ours.services["web"]
    assert isinstance(web, CommandService)
    assert (web.port, web.needs) == (8000, ("tables", "mail"))
    assert web.watch == ("*.py", "src/**/*.js")
    assert isinstance(ours.services["postgres"], PostgresService)
    ports = {"web": 8000, "postgres": 5432, "mail": 8025, "smtp": 1025, "gcp": 4588}
    assert ours.wanted_ports() == ports


def test_profile_adds_replaces_and_removes(tmp_path: Path) -> None:
    ours = _with(tmp_path, TOML)

    assert ours.stacks[("cloud",)].env["shared"] == {"REGION": "{gcp.region}"}
    assert ours.stacks[("plain",)].env["shared"] == {"REGION": "us"}
    assert "mail" not in ours.stacks[("plain",)].services
    assert "gcp" not in ours.stacks[("plain",)].services


def test_profile_with_on_lies_on_another_when_jobs_say_so(tmp_path: Path) -> None:
    ours = _with(tmp_path, TOML)

    assert ours.modes == ("cloud", "plain")
    assert ours.layers("plain") == ("plain",)
    assert ours.layers("plain", jobs="docker") == ("plain", "plain-docker")
    assert ours.layers("cloud", jobs="docker") == ("cloud",)


@pytest.mark.parametrize(
    ("base", "overlay", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": False}, {}),
        ({"a": True}, {"a": False}, {"a": False}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_merge_follows_documented_rule(
    base: dict[str, Any], overlay: dict[str, Any], merged: dict[str, Any]
) -> None:
    assert merge(base, overlay) == merged


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"devenv\.toml is not there"):
        config.load(tmp_path)


def test_unknown_profile_is_refused_with_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"devenv\.toml has no profile 'moon'; it has cloud, plain"
    ):
        _with(tmp_path, TOML).layers("moon")


def test_file_without_default_profile_is_a_stack_of_its_own(tmp_path: Path) -> None:
    config = _with(tmp_path, TOML.replace('profile = "cloud"\n', ""))

    plain = config.stacks[config.layers(config.about.profile)]
    assert plain.layers == ()
    assert set(plain.services) == {"web", "tables", "postgres", "mail"}
    assert "gcp" in config.stacks[config.layers("cloud")].services


@pytest.mark.parametrize("name", ["folder", "bytes"])
def test_unreadable_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    if name == "folder":
        (tmp_path / "devenv.toml").mkdir()
    else:
        (tmp_path / "devenv.toml").write_bytes(b"[stack]\nname = '\xff'\n")

    with pytest.raises(ConfigError, match=r"devenv\.toml( cannot be read: Is a d|:2: not UTF-8)"):
        config.load(tmp_path)


def test_profiles_on_one_mode_overlay_it_in_the_order_of_the_file(tmp_path: Path) -> None:
    further = '[profiles.second]\non = ["plain", "cloud"]\njobs = "docker"\n\n[gcp]\n'
    ours = _with(tmp_path, TOML.replace("[gcp]\n", further, 1))

    layers = ours.layers("plain", jobs="docker")

    assert layers == ("plain", "plain-docker", "second")
    assert ours.stacks[layers].layers == layers


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('redis = "redis://localhost:1"', "unknown key 'redis'"),
        (
            'external = "mail.local"',
            r"external is 'mail\.local'; it must look like smtp://HOST:PORT",
        ),
        (
            'external_page = "http://mail.local"',
            r"it must look like http://HOST:PORT or https://HOST:PORT",
        ),
        ("external = 1025", r"services\.mail\.external is 1025"),
    ],
)
def test_invalid_external_server_is_refused_by_name(
    tmp_path: Path, line: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _with(tmp_path, f"[services.mail]\n{line}\n")


TUNNEL = """\

[services.tunnel]
target = "web"
paths = [ { path = "/a", callers = "tasks_account" }, { path = "/a", callers = "job_accounts" } ]"""
ERRORS = [
    # types and keys
    ("port = 8000", "port = 0", "9: services.web.port is 0; it must be greater than"),
    ("port = 8000", "port = '8000'", "9: services.web.port is '8000'; it must be a whole number"),
    ("port = 8000", "port = true", "9: services.web.port is True; it must be a whole number"),
    ("port = 8000", "prt = 1", "9: services.web has the unknown key 'prt'; known are account"),
    ('ready = { http = "/health" }', "ready = { htp = 1 }", "15: services.web.ready has the unk"),
    ('url = "public"', 'url = "open"', "11: services.web.url is 'open'; it must be '', 'pub"),
    ('DB = "{postgres.url}"', "DB = 1", "12: services.web.env.DB is 1; it must be a text"),
    ('REGION = "us"', "REGION = 1", "30: env.shared.REGION is 1; it must be a text"),
    ('iam = "strict"', 'iam = "loose"', "56: gcp.iam is 'loose'; it must be 'off', "),
    ('"roles/run.invoker"', "3", "61: gcp.bindings[1].role is 3; it must be a text"),
    ('iam = "strict"', 'project = "shop"', "56: gcp.project is 'shop'; it must look like my-project: 6 to 30 lowercase letters, digits and hyphens, a letter"),
    ('iam = "strict"', 'project = "example.com:shop"', "56: gcp.project is 'example.com:shop'; it"),
    ('iam = "strict"', 'number = "shop"', "56: gcp.number is 'shop'; it must look like 1234567"),
    ('iam = "strict"', 'region = "Mars"', "56: gcp.region is 'Mars'; it must look like us-west1"),
    ('accounts = ["web"]', 'accounts = ["Web"]', "57: gcp.accounts[0] is 'Web'; it must look like web: 1 to 30 lowercase letters"),
    ("max_attempts = 5", "max_attempts = 'x'", "69: gcp.queues[1].max_attempts"),
    ('name = "mails"', "", "67: gcp.queues[1].name is missing"),
    ('{ A = "1" }', "{ A = 1 }", "75: gcp.jobs[0].env.A is 1; it must be a text"),
    ('["make", "tables"]', '"make"', "19: services.tables.command is 'make'; it must be an array"),
    ('http = "/health"', 'log = "("', "15: services.web.ready.log is '('; it must be a regular exp"),
    ('watch = ["*.py",', 'watch = ["/x",', "16: services.web.watch[0] is '/x'; it must look like"),
    ('["tables.sql"]', '["../x"]', "21: services.tables.inputs[0] is '../x'; it must look like"),
    ('["tables.sql"]', '["x**"]', "21: services.tables.inputs[0] is 'x**'; it must look like"),
    ("env = { KEY =", 'env = { "A=B" =', "12: services.web.env.A=B is no variable"),
    ('REGION = "us"', '"" = "us"', "30: env.shared. is no variable"),
    ("port = 8000", 'port = 8000\nfolder = "x"', "10: services.web.folder is 'x'; there is no such f"),
    ('["make", "tables"]', '[""]', "18: services.tables has a `command` whose program is empty"),
    ("[stack]", "[stack", "1: Expected ']' at the end of a table"),
    ("[stack]", "[harbours]", "1: unknown table [harbours]; known are [stack]"),
    ('"{token:30}"', '"secret"', "5: secrets.key is 'secret'; it must be the form of a random"),
    ("port = 8000", 'debugger = "lunch"', "9: services.web.debugger is 'lunch'; it must look like launch or"),
    ("port = 8000", 'port = 1\npage = "admin"', "10: services.web.page is 'admin'; it must look like /admin"),
    ("[services.mail]", '[services.oidc]\nredirect_uris = ["web"]', "28: services.oidc.redirect_uris[0] is 'web'; it must look like http://"),
    ("[facts]", "[checks.tools]\ncommand = []", "33: checks.tools.command is []; it must have at least 1 item."),
    # contradictions
    ('command = ["make", "tables"]', "", "18: services.tables needs `command`, or the `image`"),
    ("once = true", "once = false", "18: services.tables needs `once`, as it has `inputs`"),
    ("port = 8000", "", "7: services.web needs a `port`, as it has a `url`"),
    ('account = "web"', "", "7: services.web needs an `account`, as it has a `url`"),
    ('http = "/health"', 'http = "/h", tcp = true', "7: services.web needs exactly one of `http`"),
    ("once = true", "once = true\nport = 1", "18: services.tables cannot be `once` and have a"),
    ('["make", "tables"]', '["x"]\nimage = "x"\nport = 1', "18: services.tables needs `image_port`"),
    ('on = ["plain"]', "", "51: profiles.plain-docker needs both `on` and one of `jobs`"),
    ("port = 8000", 'port = 1\nimage_port = 1\nimage = "x"\ndebugger = "PORT"', "7: services.web cannot have an `image` and a `debugger`"),
    ("once = true", 'once = true\ndebugger = "launch"', '18: services.tables needs a `command` that begins with "{python}" for `deb'),
    ("once = true", 'once = true\npage = "/x"', "18: services.tables needs a `port`, as it has a `page`"),
    ("port = 5432", TUNNEL.replace("job_", "tasks_"), "28: services.tunnel.paths[1].callers is 'tasks_accounts'; it must be 'tasks_account', "),
    ("port = 5432", TUNNEL, "28: services.tunnel.paths is [{'path': '/a', "),
    # names of others
    ("port = 5432", TUNNEL.replace("/a", "/b", 1).replace("web", "tables"), "27: services.tunnel.target is 'tables'; it must be a service with a `port`: web."),
    ('"tables", "mail"', '"tables", "post"', "14: services.web.needs has 'post', which does not"),
    ('["shared"]', '["sharde"]', "13: services.web.env_from has 'sharde', which does not exist"),
    ('accounts = ["web"]', "", "10: services.web.account has 'web', which does not exist"),
    ('service = "web"', 'service = "wep"', "39: run.service has 'wep', which does not exist"),
    ('profile = "cloud"', 'profile = "clod"', "2: stack.profile is 'clod'; it must be one of clo"),
    ('on = ["plain"]', 'on = ["plane"]', "52: profiles.plain-docker.on has 'plane'; known are"),
    ("mail = false", "post = false", "49: post is false, but there is no post to remove"),
    ('needs = ["postgres"]', 'needs = ["web"]', "14: Services need each other: web → tables → web."),
    # references
    ('DB = "{postgres.url}"', 'DB = "{oidc.url}"', "12: services.web.env.DB has the unknown reference {oidc.url}. It needs a table [services.oidc]."),
    ("{secrets.key}", "{secrets.kee}", "12: services.web.env.KEY has the unknown reference {sec"),
    ('"{port}"', '"{prt}"', "8: services.web.command[3] has the unknown reference {prt}"),
    ("{gcp.region}", "{gcp.rgn}", "44: env.shared.REGION has the unknown reference {gcp.rgn}"),
    ('REGION = "us"', 'REGION = "{gcp.region}"', "30: env.shared.REGION has the unknown referen"),
    ("{services.web.local_url}", "{services.w.url}", "33: facts.page has the unknown reference"),
    ('{ A = "1" }', '{ A = "{services.w.url}" }', "75: gcp.jobs[0].env.A has the unknown reference"),
    ("{facts.page}", "{web.page}", "36: summary.rows[0][1] has the unknown reference {web.page}"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "complaint"), ERRORS)
def test_error_names_file_line_key_and_allowed_values(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    assert before in TOML
    with pytest.raises(ConfigError) as caught:
        _with(tmp_path, TOML.replace(before, after, 1))

    assert str(caught.value).startswith(f"devenv.toml:{complaint}")


def test_error_of_local_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "devenv.local.toml").write_text("[tunnel]\nprovider = 'pigeon'\n")

    with pytest.raises(ConfigError, match=r"devenv\.local\.toml:2: tunnel\.provider is 'pigeon'"):
        _with(tmp_path, "")


def test_empty_file_is_a_stack_without_services(tmp_path: Path) -> None:
    assert _with(tmp_path, "").stacks[()].services == {}
