"""The CDN in a file and in the environment: what switches it on, what it needs, and what is never shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.cdn import Cdn
from config.cdn_environment import CDN_VARIABLES, FILES, SECRETS
from config.document import document
from config.load import Loaded, parse
from config.masking import is_secret
from config.problems import ConfigError, path_of
from config.show import show
from tests.tree import ROOT

SITE = "servers: [http://a:1]\ntrusted_proxies: [10.0.0.0/8]\n"


def loaded(text: str = "", **environ: str) -> Loaded:
    return parse(SITE + text, "f", environ)


def cdn(text: str = "", **environ: str) -> Cdn:
    found = loaded(text, **environ).config.cdn
    assert found is not None
    return found


def warnings(text: str = "", **environ: str) -> list[str]:
    return [str(problem) for problem in loaded(text, **environ).warnings]


def problems(text: str = "", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        loaded(text, **environ)
    return [str(problem) for problem in raised.value.problems]


# What switches it on.


@pytest.mark.parametrize("text", ["cdn: true", "cdn: local", "cdn: {}", "cdn: {provider: local}"])
def test_the_one_that_needs_no_account_takes_a_word(text: str) -> None:
    assert cdn(text) == Cdn()
    assert warnings(text) == []


@pytest.mark.parametrize("text", ["", "cdn: null", "cdn: false"])
def test_the_provider_in_the_environment_switches_it_on_and_nothing_else_does(text: str) -> None:
    every = dict.fromkeys(CDN_VARIABLES.keys() - FILES.keys(), "1")
    every["CDN_PROVIDER"] = ""
    assert loaded(text, **every).config.cdn is None
    assert cdn(text, CDN_PROVIDER="local") == Cdn()


def test_every_variable_says_its_setting_over_the_file() -> None:
    said = {
        "CDN_PROVIDER": "cloudflare",
        "CDN_URL": "https://cdn.example.com",
        "CDN_API_KEY": "a-token",
        "CDN_HOSTS": "a.example.com, b.example.com",
        "CDN_MAX_UPLOAD_BYTES": "52428800",
        "CDN_UPLOAD_SOURCE_DIRS": "/srv/a,/srv/b",
        "CDN_LOCAL_ROOT": "/srv/cdn",
        "CDN_IMAGE_KEYS": f"{'n' * 16},{'o' * 16}",
        "CDN_IMAGE_SOURCES": "https://media.example.com/,https://*.example.org/u/",
        "CDN_CF_ZONE_ID": "zone",
        "CDN_CF_ACCOUNT_ID": "0123",
        "CDN_CF_EMAIL": "a@example.com",
        "CDN_CF_STORAGE": "images",
        "CDN_CF_PLAN": "pro",
        "CDN_R2_BUCKET": "files",
        "CDN_R2_ACCESS_KEY_ID": "key-id",
        "CDN_R2_SECRET": "r2-secret",
        "CDN_AWS_DISTRIBUTION_ID": "E1",
        "CDN_AWS_BUCKET": "bucket",
        "CDN_AWS_REGION": "eu-central-1",
        "CDN_AWS_PREFIX": "site/",
        "CDN_AWS_IMAGE_STYLE": "thumbor",
        "CDN_AWS_CACHE_TAG_HEADER": "x-tags",
        "CDN_AWS_FREE_PATHS": "7",
        "CDN_BUNNY_PULL_ZONE_ID": "42",
        "CDN_BUNNY_STORAGE_ZONE": "zone",
        "CDN_BUNNY_STORAGE_PASSWORD": "storage-password",
        "CDN_BUNNY_STORAGE_HOST": "uk.storage.bunnycdn.com",
        "CDN_BUNNY_TOKEN_KEY": "token-key",
        "CDN_ENDPOINT_API": "http://127.0.0.1:1",
        "CDN_ENDPOINT_STORAGE": "http://127.0.0.1:2",
        "CDN_ENDPOINT_STATISTICS": "http://127.0.0.1:3",
    }
    assert said.keys() == CDN_VARIABLES.keys() - FILES.keys()
    found = cdn("cdn: {provider: bunny, url: 'https://other.example', cloudflare: {zone_id: other, batch: 9}}", **said)
    for name, value in said.items():
        setting: object = found
        for piece in CDN_VARIABLES[name].split(".")[1:]:
            setting = getattr(setting, piece)
        told = ",".join(setting) if isinstance(setting, tuple) else str(setting)
        assert told == value.replace(", ", ","), name
    assert found.cloudflare.batch == 9


@pytest.mark.parametrize("text", ["cdn: true", "cdn: local", "cdn: {images: true}", "cdn: {images: {quality: 80}}"])
def test_a_variable_fills_in_whatever_form_the_file_has(text: str) -> None:
    found = cdn(text, CDN_URL="https://cdn.example.com", CDN_IMAGE_KEYS="k" * 16)
    assert (found.provider, found.url) == ("local", "https://cdn.example.com")
    assert found.images is not None
    assert found.images.secrets == ("k" * 16,)


def test_pictures_that_the_file_switches_off_stay_off() -> None:
    assert cdn("cdn: {images: false}", CDN_IMAGE_KEYS="k" * 16).images is None


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_be_in_a_file_that_a_variable_names(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("0123456789abcdef0\n")
    assert cdn(CDN_PROVIDER="local", **{f"{name}_FILE": str(file)}) == cdn(
        CDN_PROVIDER="local", **{name: "0123456789abcdef0"}
    )
    assert problems(CDN_PROVIDER="local", **{f"{name}_FILE": str(file), name: "x"}) == [
        f"{name}_FILE: {SECRETS[name]}: says what {name} says too: keep one of them"
    ]
    (missing,) = problems(CDN_PROVIDER="local", **{f"{name}_FILE": str(tmp_path / "nix")})
    assert missing == f"{name}_FILE: {SECRETS[name]}: needs the file {tmp_path / 'nix'}: No such file or directory"
    file.write_bytes(b"\xff" * 70_000)
    assert problems(CDN_PROVIDER="local", **{f"{name}_FILE": str(file)})[0].endswith("it has more than 64 KiB")


# What is never shown.


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_shown_and_no_fault_repeats_one(name: str) -> None:
    secret = "hunter2-hunter2-hunter2"
    found = loaded(CDN_PROVIDER="local", **{name: secret})
    assert is_secret(path_of(SECRETS[name]))
    assert secret not in str(document(found.config))
    assert secret not in show(found.config)
    told = problems("cdn: {provider: [], images: {secrets: [short-one]}}", **{name: "hunter2"})
    assert not any("hunter2" in problem or "short-one" in problem for problem in told)


def test_what_is_not_set_is_shown_as_empty() -> None:
    found = document(loaded("cdn: true").config)["cdn"]
    assert isinstance(found, dict)
    assert (found["api_key"], found["images"]["secrets"]) == ("", [])


# What is needed.


@pytest.mark.parametrize("provider", ["cloudflare", "aws", "bunny"])
def test_a_provider_elsewhere_needs_the_url_of_its_clients(provider: str) -> None:
    told = problems(f"cdn: {provider}")
    assert told[0] == f"f:3:6: cdn.url: is needed by {provider}: where clients reach the CDN; set it, or CDN_URL"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cloudflare, cloudflare: {zone_id: z}", "cdn.api_key: without cdn.api_key there are no purges and statistics"),
        (
            "cloudflare, api_key: a",
            "without cdn.cloudflare.zone_id there are no purges and statistics; set it, or CDN_CF_ZONE_ID",
        ),
        ("cloudflare, api_key: a", "without cdn.cloudflare.bucket there are no uploads; set it, or CDN_R2_BUCKET"),
        ("cloudflare, cloudflare: {storage: images}", "without cdn.api_key and cdn.cloudflare.account_id there are no"),
        (f"cloudflare, api_key: {'0a' * 18}0", "has the form of a Global API Key: say in cloudflare.email whose it is"),
        ("aws", "without cdn.aws.distribution_id there are no purges and statistics"),
        ("aws", "without cdn.aws.bucket there are no uploads; set it, or CDN_AWS_BUCKET"),
        ("bunny", "without cdn.api_key and cdn.bunny.pull_zone_id there are no purges and statistics; set it, or"),
        ("bunny", "without cdn.bunny.storage_zone there are no uploads"),
        ("bunny, aws: {bucket: b}", "cdn.aws: has no effect: the provider is bunny"),
        ("local, api_key: x", "cdn.api_key: has no effect: the local provider needs no account"),
        ("local, images: {sign: false}", "cdn.images.sign: is false: whoever can reach the site"),
        ("bunny, endpoints: {api: 'http://proxy.example'}", "cdn.endpoints.api: is http://: credentials can be read"),
    ],
)
def test_what_is_missing_is_told_with_what_cannot_be_had_without_it(text: str, told: str) -> None:
    found = warnings(f"cdn: {{url: 'https://cdn.example.com', provider: {text}}}")
    assert any(told in warning for warning in found), found
    assert all(warning.startswith("f:3:") for warning in found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "cloudflare, cloudflare: {bucket: b}",
            "cdn.cloudflare.access_key_id: is needed by cloudflare",
        ),
        ("cloudflare, cloudflare: {bucket: b}", "cdn.cloudflare.secret_access_key: is needed by cloudflare"),
        ("bunny, bunny: {storage_zone: z}", "cdn.bunny.storage_password: is needed by bunny: files are kept in a"),
        ("aws, api_key: only-one-half", "cdn.api_key: must be KEYID:SECRET"),
        ("aws, aws: {image_url_style: 'w={width}'}", "must be none, thumbor, or a template with {url} in it"),
        ("local, images: {secrets: [short]}", "cdn.images.secrets[0]: must have at least 16 characters"),
        ("local, images: {formats: []}", "cdn.images.formats: must have one at least"),
        ("local, images: {path: /cdn/img/}", "cdn.images.path: must not begin as /cdn/"),
    ],
)
def test_what_cannot_be_is_refused(text: str, told: str) -> None:
    found = problems(f"cdn: {{url: 'https://cdn.example.com', provider: {text}}}")
    assert any(told in problem for problem in found), found
    assert not any("only-one-half" in problem or "short]" in problem for problem in found)


def test_with_all_that_it_needs_a_provider_is_warned_of_nothing() -> None:
    said = {"CDN_URL": "https://cdn.example.com", "CDN_API_KEY": "id:secret"}
    cloudflare = {
        "CDN_CF_ZONE_ID": "0" * 32,
        "CDN_CF_ACCOUNT_ID": "0" * 32,
        "CDN_R2_BUCKET": "b",
        "CDN_R2_ACCESS_KEY_ID": "k",
    }
    assert warnings(CDN_PROVIDER="cloudflare", **said, **cloudflare, CDN_R2_SECRET="s") == []
    assert warnings(CDN_PROVIDER="aws", **said, CDN_AWS_DISTRIBUTION_ID="ED", CDN_AWS_BUCKET="media") == []
    bunny = {"CDN_BUNNY_PULL_ZONE_ID": "1", "CDN_BUNNY_STORAGE_ZONE": "z", "CDN_BUNNY_STORAGE_PASSWORD": "p"}
    assert warnings(CDN_PROVIDER="bunny", **said, **bunny) == []


def test_what_was_not_looked_at_is_not_missed() -> None:
    text = SITE + "cdn: {provider: bunny, url: '${URL}', api_key: '${KEY}', bunny: {pull_zone_id: 1}}"
    found = parse(text, "f", {"URL": "https://cdn.example.com", "KEY": "k"}, look=False)
    assert not any("cdn.api_key" in str(problem) and "without" in str(problem) for problem in found.warnings)


def test_the_page_tells_every_variable_and_marks_those_that_are_secret() -> None:
    page = (ROOT / "docs/cdn.md").read_text()
    rows = page[page.index("### In the environment") : page.index("## The API")]
    told = {name: bool(star) for name, star in re.findall(r"`(CDN_[A-Z0-9_]+)`(\*?)", rows)}
    assert told == {name: name in SECRETS for name in CDN_VARIABLES.keys() - FILES.keys()}


# Beside other routes.


def test_what_a_file_says_of_the_cdns_routes_leaves_the_site_its_own() -> None:
    config = loaded("cdn: true\nroutes: {cdn-files: {methods: [GET]}}\n").config
    assert list(config.routes) == ["cdn-files", "default", "cdn-images"]
    assert config.routes["default"].pool == "default"
    assert config.routes["cdn-files"].methods == ("GET",)


def test_a_cdn_alone_needs_no_servers() -> None:
    config = parse("cdn: true", "f", {}).config
    assert list(config.pools) == ["cdn"]
    assert list(config.routes) == ["cdn-files", "cdn-images"]


def test_a_switched_off_cdn_is_no_reason_to_have_no_servers() -> None:
    with pytest.raises(ConfigError, match="must name a server"):
        parse("cdn: false", "f", {})


def test_a_route_where_the_cdn_is_hears_of_the_setting_and_not_of_a_route_that_nobody_wrote() -> None:
    (problem,) = problems("cdn: true\nroutes: {x: {match: /cdn/**, pool: default}, y: {pool: default}}\n")
    assert "routes.x: must match something else than cdn.local.path" in problem


def test_no_other_route_reaches_the_files_past_the_guards_of_their_own() -> None:
    (problem,) = problems("cdn: true\nroutes: {x: {match: /x/**, pool: cdn}, y: {pool: default}}\n")
    assert "routes.x.pool: must be another one than cdn" in problem


def test_pictures_are_behind_the_guards_that_are_written_before_files() -> None:
    text = """
auth: {staff: {api_keys: {keys: {a: "sha256:%s"}}}}
cdn: true
routes:
  cdn-files: {auth: staff, access: {deny: [192.0.2.0/24]}}
""" % ("0" * 64)
    routes = loaded(text).config.routes
    assert routes["cdn-images"].auth == ("staff",)
    assert routes["cdn-images"].access == routes["cdn-files"].access
    assert loaded(text + "  cdn-images: {auth: []}\n").config.routes["cdn-images"].auth == ()


def test_a_file_is_stored_once_whatever_query_it_is_asked_with() -> None:
    config = loaded("cdn: true\n").config
    assert config.routes["cdn-files"].cache == "cdn-files"
    assert config.cache.rules["cdn-files"].ignore_query == ("*",)


# What was nearly right.


@pytest.mark.parametrize(
    ("name", "meant"),
    [("CDN_PROVIDR", "CDN_PROVIDER"), ("CDN_URLL", "CDN_URL"), ("CDN_API_KEYFILE", "CDN_API_KEY_FILE")],
)
def test_a_variable_that_is_nearly_one_of_ours_is_warned_of(name: str, meant: str) -> None:
    assert warnings("", **{name: "secret-value"}) == [f'{name}: is no variable that is read: did you mean "{meant}"?']


@pytest.mark.parametrize("name", ["CDN_HOST_OF_ANOTHER_PROGRAM", "CDNURL", "MY_CDN_PROVIDER", "CDN_"])
def test_variables_of_others_are_none_of_our_business(name: str) -> None:
    assert warnings("", **{name: "x"}) == []


@pytest.mark.parametrize(
    ("said", "meant"),
    [("Cloudflare", "cloudflare"), ("cloudfare", "cloudflare"), ("LOCAL", "local"), ("buny", "bunny")],
)
def test_a_provider_that_is_nearly_one_is_told_with_that(said: str, meant: str) -> None:
    (told,) = problems(f"cdn: {{provider: {said}, url: 'https://a.example'}}")
    assert f'did you mean "{meant}"?' in told
    (told,) = problems("", CDN_PROVIDER=said)
    assert told.startswith("CDN_PROVIDER: ")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("aws, aws: {bucket: No_Good}", "cdn.aws.bucket: is not 3 to 63 small letters"),
        ("aws, aws: {distribution_id: abc}", "cdn.aws.distribution_id: is not capital letters and digits"),
        ("aws, aws: {region: mars}", "cdn.aws.region: is not a region such as eu-central-1"),
        ("cloudflare, cloudflare: {zone_id: short}", "cdn.cloudflare.zone_id: is not 32 hex digits"),
        ("bunny, api_key: k, images: {sources: ['http://a.example/']}", "sources[0]: is http://: pictures can be read"),
    ],
)
def test_what_has_an_unlikely_form_is_warned_of(settings: str, told: str) -> None:
    assert any(told in one for one in warnings(f"cdn: {{url: 'https://a.example', provider: {settings}}}"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("provider: aws, url: 'https://a', aws: {cache_tag_header: bad header}", "must be the name of a header field"),
        ("images: {presets: {a: {fit: cover, width: 5}}}", "presets.a.fit: cover needs both width and height"),
    ],
)
def test_what_can_not_be_is_a_problem(settings: str, told: str) -> None:
    (found,) = problems(f"cdn: {{{settings}}}")
    assert told in found


def test_a_format_that_is_none_is_one_problem() -> None:
    (told,) = problems("cdn: {images: {formats: [gif]}}")
    assert "formats[0]: must be" in told


def test_bunny_alone_and_nobody_else_let_in_is_warned_of() -> None:
    site = "servers: [http://a:1]\ntrusted_proxies: [bunny]\nrequire_cdn: "
    for required, warned in (
        ("refuse", True),
        ("log", False),
        ("{mode: refuse, allow: [10.0.0.0/8]}", False),
        (f"{{mode: refuse, secret: {'a1' * 16}}}", False),
    ):
        found = [str(one) for one in parse(site + required, "f", {}).warnings]
        assert any("refuses everybody until Bunny's networks have been fetched" in one for one in found) is warned
