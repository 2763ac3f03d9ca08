"""Source and channel of a visit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.enrich import source
from footfall.enrich.data.sources import CLICKS, SOURCES
from footfall.enrich.source import is_spam_referrer, site_of, source_of, split_referrer, take_campaign
from footfall.enrich.spam import SPAM_HOSTS, is_spam_host
from footfall.event import SHORT_TEXT_CHARS_MAX

CHANNELS = {
    "Direct", "Cross-network", "Paid Shopping", "Paid Search", "Paid Social", "Paid Video", "Display", "Paid Other",
    "Organic Shopping", "Organic Social", "Organic Video", "Organic Search", "AI Assistants", "Email", "Affiliates",
    "Referral", "Audio", "SMS", "Mobile Push", "Unassigned",
}  # fmt: skip


@pytest.mark.parametrize(
    ("referrer", "stored", "name", "channel"),
    [
        ("https://www.google.co.uk/search?q=private+words", "google.co.uk/search", "Google", "Organic Search"),
        ("https://duckduckgo.com/", "duckduckgo.com", "DuckDuckGo", "Organic Search"),
        ("https://www.bing.com/", "bing.com", "Bing", "Organic Search"),
        ("https://search.yahoo.com/", "search.yahoo.com", "Yahoo", "Organic Search"),
        ("https://yandex.ru/clck/x", "yandex.ru/clck/x", "Yandex", "Organic Search"),
        ("https://l.facebook.com/l.php?u=x", "l.facebook.com/l.php", "Facebook", "Organic Social"),
        ("https://t.co/AbC", "t.co/AbC", "X", "Organic Social"),
        ("https://news.ycombinator.com/item?id=1", "news.ycombinator.com/item", "Hacker News", "Organic Social"),
        ("https://old.reddit.com/r/python", "old.reddit.com/r/python", "Reddit", "Organic Social"),
        ("android-app://com.linkedin.android/", "com.linkedin.android", "LinkedIn", "Organic Social"),
        ("https://m.youtube.com/watch?v=1", "m.youtube.com/watch", "YouTube", "Organic Video"),
        ("https://chatgpt.com/", "chatgpt.com", "ChatGPT", "AI Assistants"),
        ("https://www.perplexity.ai/search/x", "perplexity.ai/search/x", "Perplexity", "AI Assistants"),
        ("https://gemini.google.com/app", "gemini.google.com/app", "Gemini", "AI Assistants"),
        ("https://mail.google.com/mail/u/0", "mail.google.com/mail/u/0", "Gmail", "Email"),
        ("android-app://com.google.android.gm/", "com.google.android.gm", "Gmail", "Email"),
        ("https://www.amazon.de/dp/1", "amazon.de/dp/1", "Amazon", "Organic Shopping"),
        ("https://news.google.com/", "news.google.com", "Google News", "Referral"),
        ("https://blog.example.org/post/?a=b#c", "blog.example.org/post/", "blog.example.org", "Referral"),
        ("https://google.evil.com/", "google.evil.com", "google.evil.com", "Referral"),
        ("https://notgoogle.com/", "notgoogle.com", "notgoogle.com", "Referral"),
        ("http://name:secret@host.example:8080/x", "host.example/x", "host.example", "Referral"),
        ("http://[2001:db8::1]:3000/x", "[2001:db8::1]/x", "[2001:db8::1]", "Referral"),
        ("example.net/page?x=1", "example.net/page", "example.net", "Referral"),
        ("//cdn.example/x", "cdn.example/x", "cdn.example", "Referral"),
        ("https://shop.example.com/cart?x", "", "", "Direct"),
        ("https://www.shop.example.com/", "", "", "Direct"),
        ("", "", "", "Direct"),
        ("-", "", "", "Direct"),
        ("about:blank", "", "", "Direct"),
        ("javascript:alert(1)", "", "", "Direct"),
        ("https:///nohost", "", "", "Direct"),
        ("https://bad host/x", "", "", "Direct"),
    ],
)
def test_a_referrer_names_source_and_channel(referrer: str, stored: str, name: str, channel: str) -> None:
    found = source_of(referrer, "", "www.shop.example.com:443")
    assert (found.referrer, found.source, found.channel) == (stored, name, channel)


@pytest.mark.parametrize(
    ("query", "name", "channel"),
    [
        ("utm_source=google&utm_medium=cpc", "Google", "Paid Search"),
        ("utm_source=Bing&utm_medium=ppc", "Bing", "Paid Search"),
        ("utm_source=fb&utm_medium=paid-social", "Facebook", "Paid Social"),
        ("utm_source=partner&utm_medium=paid_social", "partner", "Paid Social"),
        ("utm_source=youtube&utm_medium=cpv", "YouTube", "Paid Video"),
        ("utm_source=youtube&utm_medium=cpm", "YouTube", "Paid Video"),
        ("utm_source=adnet&utm_medium=cpm", "adnet", "Display"),
        ("utm_source=adnet&utm_medium=banner", "adnet", "Display"),
        ("utm_source=adnet&utm_medium=cpa", "adnet", "Paid Other"),
        ("utm_source=amazon&utm_medium=cpc", "Amazon", "Paid Shopping"),
        ("utm_source=google&utm_medium=cpc&utm_campaign=spring-shopping", "Google", "Paid Shopping"),
        ("utm_source=google&utm_medium=cpc&utm_campaign=cross-network-1", "Google", "Cross-network"),
        ("utm_source=catalogue&utm_campaign=shop", "catalogue", "Organic Shopping"),
        ("utm_source=catalogue&utm_medium=link&utm_campaign=workshop", "catalogue", "Referral"),
        ("utm_source=catalogue&utm_medium=link&utm_campaign=eshop", "catalogue", "Organic Shopping"),
        ("utm_source=linkedin", "LinkedIn", "Organic Social"),
        ("utm_source=acme&utm_medium=social-media", "acme", "Organic Social"),
        ("utm_source=acme&utm_medium=in-video", "acme", "Organic Video"),
        ("utm_source=acme&utm_medium=organic", "acme", "Organic Search"),
        ("utm_source=chatgpt.com", "ChatGPT", "AI Assistants"),
        ("utm_source=weekly&utm_medium=E-Mail", "weekly", "Email"),
        ("utm_source=newsletter", "newsletter", "Email"),
        ("utm_source=acme&utm_medium=affiliate", "acme", "Affiliates"),
        ("utm_source=acme&utm_medium=referral", "acme", "Referral"),
        ("utm_source=acme&utm_medium=audio", "acme", "Audio"),
        ("utm_source=acme&utm_medium=sms", "acme", "SMS"),
        ("utm_source=acme&utm_medium=web-push", "acme", "Mobile Push"),
        ("utm_source=firebase", "firebase", "Mobile Push"),
        ("utm_source=direct&utm_medium=none", "", "Direct"),
        ("utm_medium=nobody-knows", "", "Unassigned"),
        ("gclid=abc", "Google", "Paid Search"),
        ("wbraid=abc&fbclid=x", "Google", "Paid Search"),
        ("msclkid=abc", "Bing", "Paid Search"),
        ("ttclid=abc", "TikTok", "Paid Social"),
        ("dclid=abc", "Google", "Display"),
        ("fbclid=abc", "Facebook", "Organic Social"),
        ("srsltid=abc", "Google", "Organic Shopping"),
        ("mc_cid=abc", "Mailchimp", "Email"),
        ("_hsenc=abc", "", "Email"),
        ("irclickid=abc", "", "Affiliates"),
        ("ref=producthunt", "Product Hunt", "Organic Social"),
        ("source=somebody", "somebody", "Referral"),
        ("q=shoes&page=2", "", "Direct"),
        ("gclid=", "", "Direct"),
    ],
)
def test_a_campaign_names_source_and_channel(query: str, name: str, channel: str) -> None:
    found = source_of("", query, "")
    assert (found.source, found.channel) == (name, channel)


def test_utm_source_speaks_before_the_referrer_and_the_referrer_before_a_click_id() -> None:
    assert source_of("https://t.co/x", "utm_source=weekly&gclid=1", "").source == "weekly"
    both = source_of("https://www.bing.com/", "gclid=1", "")
    assert (both.source, both.channel, both.click_id) == ("Bing", "Paid Search", "gclid")


def test_a_click_id_is_kept_by_name_and_never_by_value() -> None:
    found = source_of("", "GCLID=who-clicked-this&utm_source=google", "")
    assert found.click_id == "gclid"
    assert not any("who-clicked" in text for text in found)


def test_campaign_parameters_are_decoded_trimmed_and_cut() -> None:
    found = take_campaign("utm_source=a%20b+c&UTM_Medium=%FF%zz&utm_campaign=" + "x" * 999 + "&utm_source=second")
    assert found.utm_source == "a b c"
    assert found.utm_medium == "\ufffd%zz"
    assert found.utm_campaign == "x" * SHORT_TEXT_CHARS_MAX


@pytest.mark.parametrize(
    "referrer",
    [
        "http://semalt.semalt.com/crawler.php?u=http://example.com",
        "http://www.darodar.com/",
        "https://site3.free-share-buttons.com",
        "http://17-free-share-buttons.com/",
        "http://compliance-julianna.top/x",
        "http://eu-cookie-law-enforcement-zz.xyz/",
        "http://kabinet-my-beeline.ru/",
        "tattooha.com",
        "http://www.SEMALT.com:80/",
    ],
)
def test_a_spammer_is_known_by_host_parent_or_family(referrer: str) -> None:
    assert is_spam_referrer(referrer)


@pytest.mark.parametrize(
    "referrer",
    [
        "",
        "-",
        "https://www.google.com/search?q=semalt.com",
        "https://example.com/semalt.com",
        "https://notsemalt.example/",
        "https://compliance-week.com/",
        "https://uptime.com/",
        "https://seo-services-london.example/",
        "https://traffic.example.org/",
        "https://mysite.tumblr.com/",
    ],
)
def test_an_honest_referrer_is_no_spam(referrer: str) -> None:
    assert not is_spam_referrer(referrer)


def test_no_known_source_is_a_spammer() -> None:
    for _, name, hosts, _ in SOURCES:
        for host in hosts.split():
            assert not is_spam_host(host.replace(".*", ".com")), name


def test_every_host_of_the_tables_finds_its_own_entry() -> None:
    for kind, name, hosts, _ in SOURCES:
        for host in hosts.split():
            for ending in (".com", ".de", ".co.uk") if host.endswith(".*") else ("",):
                found = site_of(host.removesuffix(".*") + ending)
                assert found is not None
                assert (found.name, found.kind) == (name, kind), host + ending


def test_every_click_id_names_a_known_source_and_channel() -> None:
    for name, (owner, channel) in CLICKS.items():
        assert not owner or owner.lower() in source._BY_NAME, name
        assert channel in CHANNELS, name


def test_spam_hosts_are_lower_case_hosts() -> None:
    assert len(SPAM_HOSTS) > 300
    assert all(split_referrer(f"http://{host}/") == (host, "") for host in SPAM_HOSTS)


@given(st.text(), st.text(), st.text())
def test_any_strings_have_a_channel(referrer: str, query: str, hostname: str) -> None:
    found = source_of(referrer, query, hostname)
    assert found.channel in CHANNELS
    assert "?" not in found.referrer
    assert "#" not in found.referrer


@given(st.from_regex(r"(?s)https?://[^?#]*\?.*"), st.from_regex(r"(utm_[a-z]+|ref|gclid)=.*&.*"))
def test_any_address_and_campaign_have_a_channel_and_no_query_is_kept(referrer: str, query: str) -> None:
    found = source_of(referrer, query, "")
    assert found.channel in CHANNELS
    assert "?" not in found.referrer
    assert is_spam_referrer(referrer) in {True, False}


@given(st.text(st.characters(codec="ascii", categories=["Ll", "Nd", "Po", "Pd"]), max_size=60))
def test_the_caches_of_hosts_change_nothing(host: str) -> None:
    assert site_of(host) == site_of.__wrapped__(host)
    assert is_spam_host(host) == is_spam_host.__wrapped__(host)
