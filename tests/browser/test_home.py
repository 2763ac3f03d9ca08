"""The home page in a real browser: what a person sees in the first minute."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from footfall.registry.base import Scope
from footfall.settings import AuthMode, Settings
from tests.browser.chromium import chromium
from tests.running import Running, running

PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
SLOW_MS = 20_000
CLOSED = Settings(auth=AuthMode.ON)


class Opened:
    """A page, and what went wrong or elsewhere while it was open."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        self.elsewhere: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        page.on(
            "request", lambda sent: None if sent.url.startswith((url, "blob:")) else self.elsewhere.append(sent.url)
        )


@asynccontextmanager
async def opened(browser: Browser, footfall: Running, path: str = "/", **options: object) -> AsyncIterator[Opened]:
    context = await browser.new_context(user_agent=PERSON, **options)  # type: ignore[arg-type]
    context.set_default_timeout(SLOW_MS)
    page = await context.new_page()
    found = Opened(page, footfall.url)
    await page.goto(footfall.url + path)
    try:
        yield found
    finally:
        await context.close()
    assert found.elsewhere == [], "the page asked another server"


async def test_it_shows_that_it_runs_and_counts_the_first_event_as_it_arrives(tmp_path: Path) -> None:
    async with chromium() as browser, running(tmp_path) as footfall, opened(browser, footfall) as home:
        page = home.page
        await expect(page.locator("#state-text")).to_have_text("Everything works", timeout=SLOW_MS)
        await expect(page.locator("#queue")).to_have_text(footfall.queue.kind, timeout=SLOW_MS)
        await expect(page.locator("#worker")).to_have_text("running", timeout=SLOW_MS)
        await expect(page.locator("#waiting")).to_contain_text("Waiting for the first event", timeout=SLOW_MS)
        await expect(page.locator("#curl")).to_contain_text(f"{footfall.url}/api/event", timeout=SLOW_MS)
        await footfall.send(site_id="shop", user_id="anna")
        row = page.locator("#sites li")
        await expect(row.locator(".name")).to_have_text("shop", timeout=SLOW_MS)
        await expect(row.locator(".views b")).to_have_text("1", timeout=SLOW_MS)
        await footfall.send(site_id="shop", user_id="ben")
        await expect(row.locator(".views b")).to_have_text("2", timeout=SLOW_MS)
        await expect(row.locator(".visitors b")).to_have_text("2", timeout=SLOW_MS)
        await expect(page.locator("#waiting")).to_be_hidden(timeout=SLOW_MS)
        await row.locator("a").click()
        await expect(page.locator("body")).to_contain_text('"total_views":2', timeout=SLOW_MS)
        assert home.faults == []


async def test_the_button_sends_a_real_event_and_the_command_it_shows_is_the_one_that_works(tmp_path: Path) -> None:
    async with chromium() as browser, running(tmp_path) as footfall, opened(browser, footfall) as home:
        page = home.page
        await page.get_by_role("button", name="Send one from here").click()
        await expect(page.locator("#sent")).to_contain_text("safe on disk", timeout=SLOW_MS)
        await expect(page.locator("#sites .name")).to_have_text("my-website", timeout=SLOW_MS)
        curl = await page.locator("#curl").inner_text()
        body = curl.split("-d '", 1)[1].rstrip("'")
        assert (await footfall.http.post("/api/event", content=body)).status_code == 202
        await expect(page.locator("#sites .views b")).to_have_text("2", timeout=SLOW_MS)
        assert home.faults == []


async def test_the_javascript_it_shows_is_javascript_that_works(tmp_path: Path) -> None:
    async with chromium() as browser, running(tmp_path) as footfall, opened(browser, footfall) as home:
        await home.page.get_by_role("tab", name="JavaScript").click()
        shown = await home.page.locator("#js").inner_text()
        await home.page.evaluate(f"(async () => {{ {shown} }})()")
        await expect(home.page.locator("#sites .name")).to_have_text("my-website", timeout=SLOW_MS)


async def test_where_the_door_is_closed_a_key_opens_it_for_this_tab(tmp_path: Path) -> None:
    async with chromium() as browser, running(tmp_path, CLOSED) as footfall, opened(browser, footfall) as home:
        page = home.page
        await footfall.send(site_id="shop")
        await expect(page.get_by_role("heading", name="Reading needs a key here")).to_be_visible(timeout=SLOW_MS)
        await expect(page.locator("#sites")).to_be_hidden(timeout=SLOW_MS)
        command = '.venv/bin/footfall keys create "My browser" --scope read'
        await expect(page.locator("#make-key")).to_have_text(command, timeout=SLOW_MS)
        await page.get_by_label("API key").fill("ff_wrong")
        await page.get_by_role("button", name="Use it").click()
        await expect(page.locator("#key-error")).to_contain_text("Bearer", timeout=SLOW_MS)
        token = (await footfall.key(Scope.READ))["authorization"].removeprefix("Bearer ")
        await page.get_by_label("API key").fill(token)
        await page.get_by_role("button", name="Use it").click()
        await expect(page.locator("#sites .name")).to_have_text("shop", timeout=SLOW_MS)
        await expect(page.locator("#locked")).to_be_hidden(timeout=SLOW_MS)
        assert await page.evaluate("localStorage.length") == 0
        assert token not in await page.content()
        await page.get_by_role("button", name="Forget the key").click()
        await expect(page.locator("#locked")).to_be_visible(timeout=SLOW_MS)
        assert await page.evaluate("sessionStorage.length") == 0


async def test_the_tabs_work_with_the_keyboard_alone(tmp_path: Path) -> None:
    async with chromium() as browser, running(tmp_path) as footfall, opened(browser, footfall) as home:
        page = home.page
        await page.locator("#tab-curl").focus()
        await page.keyboard.press("ArrowRight")
        await expect(page.locator("#tab-js")).to_be_focused(timeout=SLOW_MS)
        await expect(page.locator("#panel-js")).to_be_visible(timeout=SLOW_MS)
        await expect(page.locator("#panel-curl")).to_be_hidden(timeout=SLOW_MS)


CONTRASTS = """() => {
  const light = (rgb) => rgb.map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(each).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const hasText = [...node.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
    if (!hasText || !node.checkVisibility()) continue;
    const [one, two] = [light(parts(getComputedStyle(node).color).slice(0, 3)), light(behind(node))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${node.tagName} ${node.textContent.trim().slice(0, 40)}`);
  }
  return found;
}"""


async def test_every_text_can_be_read_and_nothing_is_cut_off_in_light_and_dark_wide_and_narrow(tmp_path: Path) -> None:
    async with chromium() as browser, running(tmp_path) as footfall:
        await footfall.send(site_id="a-site-with-a-name-that-is-longer-than-a-phone-is-wide.example.org")
        for scheme in ("light", "dark"):
            for width in (1280, 360):
                for path in ("/", "/docs#stats"):
                    size = {"width": width, "height": 800}
                    async with opened(browser, footfall, path, viewport=size, color_scheme=scheme) as seen:
                        await expect(seen.page.locator("#sites li, .operation").first).to_be_visible(timeout=SLOW_MS)
                        where = f"{path} {scheme} {width}"
                        assert await seen.page.evaluate(CONTRASTS) == [], where
                        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                        assert await seen.page.evaluate(overflow) == 0, where
                        assert seen.faults == [], where


async def test_the_description_of_the_api_shows_every_route(tmp_path: Path) -> None:
    async with chromium() as browser, running(tmp_path) as footfall, opened(browser, footfall, "/docs") as docs:
        paths = (await footfall.http.get("/openapi.json")).json()["paths"]
        operations = sum(len(methods) for methods in paths.values())
        await expect(docs.page.locator(".operation")).to_have_count(operations, timeout=SLOW_MS)
        await docs.page.locator("#event summary").click()
        await expect(docs.page.locator("#event")).to_contain_text("user-123", timeout=SLOW_MS)
        assert docs.faults == []
