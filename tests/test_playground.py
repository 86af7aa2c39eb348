"""The playground in a real browser over the real service: what it shows, sends, keeps to itself, and is like to use."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from laconic.service.keys import new
from laconic.service.pages import FILES
from laconic.service.settings import Settings

from .browser import PICTURES, browsing, chromium, settled
from .conftest import serving

IMAGES = Path(__file__).parent.parent / "docs" / "images"
EMOJI = "🦜 The parrot 👩‍👩‍👧 signed nothing. 🖋️ The treaty was signed by Ada 𝒜da in 1932. 🎉 Lunch 🍲 was good."
NASTY = "It's $HOME and `id` and \\ and \"quotes\"; 100 % of <b>it</b> is text.\nJSON\n'; echo owned; '"
QUESTION = "Who signed the treaty?"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service of its own: with a cache, which is what moves with the slider."""
    with serving(Settings(workers=1)) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    if chromium() is None:
        pytest.skip("no Chromium on this machine: see .ci/browser")
    with browsing() as found:
        yield found


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Open]:
    """Opens the page; at the end nothing has left its origin, broken its policy or failed in its scripts."""
    contexts, left, troubles = [], [], []

    def opened(where: str = "/", *, address: str = url, **options: Any) -> Any:
        contexts.append(context := browser.new_context(**options))
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        page = context.new_page()
        page.on("request", lambda r: left.append(r.url) if not r.url.startswith(address) else None)
        page.on("pageerror", lambda e: troubles.append(str(e)))
        page.on("console", lambda m: troubles.append(m.text) if "Content Security Policy" in m.text else None)
        page.set_default_timeout(10_000)
        page.goto(address + where)
        settled(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert left == []
    assert troubles == []


def paste(page: Any, *documents: str, question: str = QUESTION) -> None:
    page.get_by_label("Question").fill(question)
    page.get_by_label("Documents", exact=True).fill("\n---\n".join(documents))
    settled(page)


def slide(page: Any, value: float) -> None:
    page.locator("#value").evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')) }", value)
    settled(page)


def show_curl(page: Any) -> None:
    """Open the command; the page fills it in when the browser tells it so, which is after the click."""
    page.get_by_text("The same with curl").click()
    page.locator("#curl:not(:empty)").wait_for()


def shown(page: Any) -> list[str]:
    return page.locator("article p").all_text_contents()


def marked(page: Any) -> list[str]:
    joined = "ps => ps.map((p) => [...p.querySelectorAll('mark')].map((m) => m.textContent).join(''))"
    return page.locator("article p").evaluate_all(joined)


def forwards(url: str) -> float:
    found = re.findall(r"^laconic_lane_forwards_total\S* (\S+)", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return sum(map(float, found))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
        ("", "application/json"),
    ],
)
def test_browsers_get_the_page_and_programs_json(address: str, accept: str, kind: str) -> None:
    """`GET /` is HTML to who asks for it, JSON to everyone else, and caches can tell."""
    answer = httpx.get(address, headers={"accept": accept})
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["vary"] == "accept"
    assert kind == "text/html" or answer.json()["service"] == "laconic"


def test_files_are_ours_alone(address: str) -> None:
    """Every file goes out under a strict policy, names nothing outside, and no other file can be had."""
    for name, path in FILES.items():
        answer = httpx.get(f"{address}/playground/{name}")
        assert answer.content == path.read_bytes()
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert re.findall(rb"https?://(?!www\.w3\.org/2000/svg)", answer.content) == []
        assert b"innerHTML" not in answer.content
        assert len(answer.text.splitlines()) < 300
    for name in ("pages.py", "..%2fpages.py", "%2e%2e/pages.py", "none.js"):
        assert httpx.get(f"{address}/playground/{name}").json()["error"]["code"] == "not_found"


def test_sample_is_answered(visit: Open) -> None:
    """The page opens with a question and documents, and shows what of them is kept, in figures and in place."""
    page = visit()
    assert page.locator("article").count() == 5
    assert "Emily Warren Roebling took over" in "".join(marked(page))
    before, after = (int(page.locator(f"#tokens-{w}").text_content()) for w in ("in", "out"))
    assert 0 < after <= 0.3 * before
    assert re.search(r"infer \d", page.locator("#timing").text_content())
    assert f"{after} of {before} tokens kept" in page.get_by_role("status").text_content()


def test_slider_selects_again_without_a_forward(visit: Open, url: str) -> None:
    """Pasted documents are scored once; every move of the slider, unit and view is answered from the cache."""
    page = visit()
    paste(page, "The treaty was signed by Ada. It rained all day. Lunch was late.", "Paris has bridges. They are old.")
    assert page.locator("#cache").text_content() == "0/2"
    ran, kept = forwards(url), []
    for rate in (0.9, 0.5, 0.2):
        slide(page, rate)
        assert page.locator("#cache").text_content() == "2/2"
        kept.append(set("".join(marked(page)).split()))
    assert len(kept[0]) > len(kept[1]) > len(kept[2]) > 0
    page.get_by_label("Unit").select_option("sentence")
    page.get_by_label("Scores").check()
    settled(page)
    assert page.locator("article .h9").count() >= 1
    assert page.locator("#legend").is_visible()
    assert forwards(url) == ran


@pytest.mark.parametrize(
    ("kind", "value", "said"), [("tokens", 7, "7 tokens"), ("threshold", 0.25, "0.25"), ("recall", 0.9, "90 %")]
)
def test_every_kind_of_budget(visit: Open, kind: str, value: float, said: str) -> None:
    """The slider speaks all four budgets, in words too."""
    page = visit()
    page.locator("#kind").select_option(kind)
    slide(page, value)
    assert page.locator("#shown").text_content() == said
    assert page.locator("#value").get_attribute("aria-valuetext").startswith(said)
    assert page.get_by_role("alert").text_content() == ""
    assert kind != "tokens" or int(page.locator("#tokens-out").text_content()) <= value


def test_coded_text_is_shown_as_kept(visit: Open) -> None:
    """What `meta.v1` made has no place in the source: it stands there itself, in every view."""
    page = visit()
    page.get_by_label("Recipe").select_option("meta.v1")
    slide(page, 1)
    paste(page, "".join(f"10:00:{n % 60:02d} INFO worker handled request {n} at once\n" for n in range(80)), "Short.")
    coded, short = marked(page)
    assert coded.startswith("Shorthand:")
    assert short == "Short."
    for view in ("Scores", "Kept only"):
        page.get_by_label(view).check()
        assert marked(page) == shown(page) == [coded, short]


def test_offsets_are_characters(visit: Open, url: str) -> None:
    """Beyond the basic plane Python and JavaScript count differently: the page marks what the service kept."""
    page = visit()
    paste(page, EMOJI, EMOJI.upper())
    for rate in (0.2, 0.5, 0.8):
        slide(page, rate)
        body = {"query": QUESTION, "documents": [{"text": EMOJI}, {"text": EMOJI.upper()}], "budget": {"rate": rate}}
        found = httpx.post(f"{url}/v1/compress", json=body).json()
        assert marked(page) == [d["text"] for d in found["documents"]]
        assert shown(page) == [EMOJI, EMOJI.upper()]


def test_runs_partition_any_text(visit: Open) -> None:
    """Whatever the text, its runs are the text, and kept runs are its spans as Python cuts them."""
    chance, cases = random.Random(0), []
    for _ in range(200):
        text = "".join(chance.choices("a é字🦜\u200d👩\n \u0301", k=chance.randrange(30)))
        cut = sorted(chance.sample(range(len(text) + 1), 2 * chance.randrange((len(text) + 1) // 2 + 1)))
        spans = list(zip(cut[::2], cut[1::2], strict=True))
        scores = [(i, i + 1, chance.random()) for i in range(len(text)) if chance.random() < 0.7]
        cases.append((text, spans, scores))
    cut_up = """async (cases) => {
        const { runs } = await import('/playground/text.js');
        return cases.map(([t, spans, scores]) => runs(t, spans, scores, { low: 0, high: 1 }));
    }"""
    for (text, spans, _), found in zip(cases, visit().evaluate(cut_up, cases), strict=True):
        assert "".join(r["text"] for r in found) == text
        assert "".join(r["text"] for r in found if r["kept"]) == "".join(text[a:b] for a, b in spans)


def test_pasted_markup_stays_text(visit: Open) -> None:
    """Nothing pasted, linked or answered is read as HTML."""
    page = visit()
    attack = '<img src=x onerror="document.title=1"><script>document.title=2</script> Ada signed it.'
    paste(page, attack)
    page.get_by_label("Reader").fill("<img src=x>")
    settled(page)
    assert "<img src=x>" in page.get_by_role("alert").text_content()
    page.get_by_label("Reader").fill("")
    settled(page)
    assert shown(page) == [attack]
    assert page.locator("main img, main script").count() == 0
    assert page.title() == "laconic playground"


def test_newest_request_wins(visit: Open) -> None:
    """An answer that comes after a newer question was asked is not shown, and its request is given up."""
    page, held = visit(), []
    page.route("**/v1/compress", lambda route: held.append(route) if not held else route.continue_())
    with page.expect_request("**/v1/compress"):
        page.get_by_label("Documents", exact=True).fill("Old text that takes long.")
    assert page.locator("#articles").get_attribute("aria-busy") == "true"
    paste(page, "New text, asked for later.")
    held[0].fulfill(status=200, body="{}")  # to nobody
    page.wait_for_timeout(100)
    assert shown(page) == ["New text, asked for later."]


def test_curl_does_the_same(visit: Open) -> None:
    """The copied command runs in a shell as it is, whatever the documents hold, and gives what the page shows."""
    page = visit()
    paste(page, NASTY, EMOJI)
    show_curl(page)
    page.get_by_role("button", name="Copy curl").click()
    page.get_by_text("Curl copied.").first.wait_for()
    assert page.get_by_role("status").text_content() == "Curl copied."
    command = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert [d["text"] for d in json.loads(done.stdout)["documents"]] == marked(page)
    assert done.stderr == ""


def test_state_travels_in_the_fragment(visit: Open) -> None:
    """A copied link opens the same form elsewhere; no server ever sees what is in it."""
    page = visit()
    paste(page, EMOJI, NASTY.replace("\n", " "))
    page.get_by_label("Unit").select_option("sentence")
    slide(page, 0.55)
    page.get_by_label("Scores").check()
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Link copied.").first.wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    sent: list[str] = []
    other = visit()
    other.on("request", lambda r: sent.append(r.url))
    other.goto("about:blank")
    other.goto(link)
    settled(other)
    assert shown(other) == shown(page)
    assert other.locator("#shown").text_content() == "55 %"
    assert other.get_by_label("Unit").input_value() == "sentence"
    assert other.get_by_label("Scores").is_checked()
    assert sent
    assert not any(link.partition("#")[2][:20] in u for u in sent)
    slide(other, 0.25)  # a link once made stays true, as soon as it is packed
    other.wait_for_url(lambda url: url != link)


def test_fragments_are_bounded(visit: Open) -> None:
    """What is no link, or a bomb, opens the sample; what is too long for a link is not made into one."""
    page = visit("/#zAAAA")
    assert page.locator("article").count() == 5
    pack = """async () => {
        const zeros = new Blob([new Uint8Array(2e7)]).stream().pipeThrough(new CompressionStream('deflate-raw'));
        const bytes = new Uint8Array(await new Response(zeros).arrayBuffer());
        return '#z' + btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join('')).replaceAll('+', '-')
            .replaceAll('/', '_').replaceAll('=', '');
    }"""
    bomb = page.evaluate(pack)
    assert len(bomb) < 32_000
    read = "async (hash) => (await import('/playground/state.js')).restored(hash)"
    for broken in ("#j!", "#z", "#j", "#section", "#jbnVsbA", "#j" + "A" * 40_000, bomb):  # bnVsbA: null
        assert page.evaluate(read, broken) in (None, {})
    noise = random.Random(0)
    page.get_by_label("Recipe").select_option("lexical.v1")
    paste(page, " ".join(f"{noise.getrandbits(64):x}" for _ in range(4000)))
    page.evaluate("history.replaceState(null, '', '/')")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Too long for a link.").first.wait_for()
    assert "#" not in page.url


def test_errors_come_in_the_one_shape(visit: Open) -> None:
    """A refused request shows its message, code, field and request id, and which control is wrong."""
    page = visit()
    page.get_by_label("Reader").fill("gpt-9")
    settled(page)
    alert = page.get_by_role("alert").text_content()
    assert all(part in alert for part in ("No reader 'gpt-9'", "404", "unknown_name", "param reader", "request "))
    assert page.get_by_label("Reader").get_attribute("aria-invalid") == "true"
    assert page.locator("#tokens-out").text_content() == "–"
    page.get_by_label("Reader").fill("")
    settled(page)
    assert page.get_by_role("alert").text_content() == ""
    page.route("**/v1/compress", lambda route: route.abort())
    slide(page, 0.4)
    assert "The service does not answer." in page.get_by_role("alert").text_content()


def test_key_stays_in_the_tab(browser: Any, visit: Open, tmp_path: Path) -> None:
    """Where there are keys the page asks for one, sends it as Bearer, and puts it into nothing that is passed on."""
    key, lines = new("team")
    (tmp_path / "keys.toml").write_text(lines)
    with serving(Settings(api_keys_file=tmp_path / "keys.toml", workers=1)) as address:
        page = visit(address=address)
        assert "unauthorized" in page.get_by_role("alert").text_content()
        page.get_by_label("Key, where the service asks for one").fill(key)
        page.keyboard.press("Enter")
        settled(page)
        page.locator("article").first.wait_for()
        show_curl(page)
        assert "Bearer $LACONIC_API_KEY" in page.locator("#curl").text_content()
        page.get_by_role("button", name="Copy link").click()
        page.wait_for_url("**#*")
        assert key not in page.content() + page.url
        assert page.evaluate("Object.values(localStorage).length + document.cookie.length") == 0
        page.reload()
        settled(page)
        assert page.locator("article").count() == 5


FOCUS = """(() => {
    const e = document.activeElement;
    return [e.id || e.name || e.tagName, getComputedStyle(e).outlineStyle];
})()"""


def test_keyboard_alone(visit: Open, url: str) -> None:
    """Tab reaches every control in the order it is read, focus is seen, and arrows move the slider."""
    page, seen = visit(), []
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus[0] == "BODY":
            break
        seen.append(focus[0])
        assert focus[1] != "none", focus
    order = ["link", "question", "sample", "clear", "documents", "recipe", "unit", "reader", "kind", "value", "view"]
    assert [name for name in seen if name in order] == order
    page.locator("#value").focus()
    ran = forwards(url)
    page.keyboard.press("ArrowRight")
    settled(page)
    assert page.locator("#shown").text_content() == "31 %"
    assert forwards(url) == ran
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("Scores").is_checked()


AXE = "async () => (await axe.run()).violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.html).slice(0, 3)])"


@pytest.mark.parametrize("look", ["desktop", "dark", "phone"])
def test_accessible(visit: Open, look: str) -> None:
    """axe-core finds nothing to complain of: light, dark and on a phone; with marks, with scores, with an error."""
    pytest.importorskip("axe_playwright_python", reason="axe-core is not installed: pip install axe-playwright-python")
    page = visit(**PICTURES[look])
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())  # past the page's policy, as tests may
    show_curl(page)
    assert page.evaluate(AXE) == []
    page.get_by_label("Scores").check()
    assert page.evaluate(AXE) == []
    page.get_by_label("Reader").fill("gpt-9")
    settled(page)
    assert page.get_by_role("alert").text_content()
    assert page.evaluate(AXE) == []


def test_fits_every_width(visit: Open) -> None:
    """No width makes the page scroll sideways, and the slider is as wide as a thumb needs."""
    page = visit()
    for width in (320, 390, 700, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#value").bounding_box()["width"] >= 200


def test_wishes_of_the_reader(visit: Open) -> None:
    """Dark is dark, and who wants no motion gets none."""
    page = visit(color_scheme="dark", reduced_motion="reduce")
    back = "getComputedStyle(document.body).backgroundColor"
    assert sum(map(int, re.findall(r"\d+", page.evaluate(back)))) < 150
    page.evaluate("document.querySelector('#articles').ariaBusy = 'true'")
    assert page.evaluate("getComputedStyle(document.querySelector('#articles')).transitionDuration") == "0s"
    page.emulate_media(color_scheme="light")
    assert sum(map(int, re.findall(r"\d+", page.evaluate(back)))) > 600


def test_pictures_are_small() -> None:
    """Every picture is in the docs, under 200 kB."""
    for name in PICTURES:
        assert (IMAGES / f"playground-{name}.png").stat().st_size < 200_000


def test_the_apis_page_is_whole_without_anybody_else(browser: Any, visit: Open, url: str) -> None:
    """`/docs` shows every operation and can try them, under the one policy, and has nothing from elsewhere."""
    answer = httpx.get(f"{url}/docs")
    assert (
        answer.headers["content-security-policy"]
        == httpx.get(f"{url}/playground/app.js").headers["content-security-policy"]
    )
    assert "<script>" not in answer.text
    with browser.new_context() as context:
        page, errors, asked = context.new_page(), [], []
        page.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.set_default_timeout(20_000)
        page.goto(f"{url}/docs")
        page.locator(".opblock").first.wait_for()
        operations = [v for path in httpx.get(f"{url}/openapi.json").json()["paths"].values() for v in path]
        assert page.locator(".opblock").count() == len(operations)
        page.locator("#operations-default-version_version_get .opblock-summary-control").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.locator(".live-responses-table .response").first.wait_for()
        assert httpx.get(f"{url}/version").json()["version"] in page.locator(".live-responses-table").text_content()
        assert page.locator(".validator, img[src*=validator]").count() == 0
    assert errors == []
    assert [a for a in asked if not a.startswith((url, "data:"))] == []


def test_an_apis_page_of_a_proxys_prefix(browser: Any, compressor: Any) -> None:
    """Below a prefix the page finds its files and its description."""
    with serving(Settings(root_path="/tools/laconic"), compressor) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}/tools/laconic/docs")
        page.locator(".opblock").first.wait_for(timeout=20_000)
        assert page.get_by_label("Servers").or_(page.locator(".servers select")).input_value() == "/tools/laconic"
