#!/usr/bin/env python3
"""Drives the page of `bantam serve` in a headless browser, as a person would, and takes pictures to be looked at.

    conformance/page.py target/debug/bantam smollm2.gguf pictures/ [--files DIR] [--only WORD]

Needs `pip install playwright` and a Chromium (`--browser`, else the one on the path). What a model decides (calls of tools,
thinking, failures) is played by scripted replies; everything else is the real server with a real model. `--files` takes the
page's files from a folder in place of those in the program, to try changes without a build.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

CHECKS = []
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
# A loaded machine answers slowly, and nothing here is about speed.
PATIENCE_MS = 120_000


def check(work):
    CHECKS.append(work)
    return work


class Desk:
    """A browser in front of a server."""

    def __init__(self, browser, address, pictures, files):
        self.browser, self.address, self.pictures, self.files = browser, address, pictures, files
        self.requests, self.faults = [], []

    def open(self, replies=None, setup=None, **options):
        """A page in a fresh profile. `replies` answer its chat requests, one after the other, the last again and again."""
        options.setdefault("viewport", {"width": 1280, "height": 820})
        context = self.browser.new_context(accept_downloads=True, **options)
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("weberror", lambda error: self.faults.append(str(error.error)))
        if self.files:
            context.route(lambda url: url == self.address or url.startswith(f"{self.address}page/"), self._from_disk)
        if setup:
            context.add_init_script(setup)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        page.on("dialog", lambda dialog: (self.faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
        if replies is not None:
            page.asked = []
            page.route("**/v1/chat/completions", lambda route: self._play(page, route, replies))
        page.goto(self.address)
        page.wait_for_selector(".dot.there, .notice")
        return page

    def _from_disk(self, route):
        name = route.request.url.removeprefix(self.address).removeprefix("page/") or "index.html"
        file = Path(self.files) / name
        headers = {**route.fetch().headers, "content-type": KINDS[file.suffix]}
        headers.pop("content-length", None)
        route.fulfill(body=file.read_bytes(), headers=headers)

    def _play(self, page, route, replies):
        reply = replies[min(len(page.asked), len(replies) - 1)]
        page.asked.append(route.request.post_data_json)
        if reply == "gone":
            route.abort("connectionrefused")
        elif isinstance(reply, dict):
            route.fulfill(status=reply["status"], headers=reply.get("headers", {}), json=reply["body"])
        else:
            route.fulfill(body=reply, headers={"content-type": "text/event-stream"})

    def picture(self, page, name):
        page.wait_for_timeout(150)
        page.screenshot(path=self.pictures / f"{name}.png")


def events(*deltas, finish="stop", usage=(20, 10), is_whole=True):
    """A stream of chunks, as the server sends it."""
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1], "prompt_tokens_details": {"cached_tokens": 5}}})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return text + ("data: [DONE]\n\n" if is_whole else "")


def say(text, size=7, **more):
    """A text in small pieces."""
    return events(*({"content": text[at : at + size]} for at in range(0, len(text), size)), **more)


def send(page, text):
    page.fill("#draft", text)
    page.press("#draft", "Enter")


def settled(page):
    """Waits until nothing is being answered."""
    page.wait_for_timeout(100)
    page.wait_for_selector("#stop", state="hidden")


def until(page, condition):
    """Waits for what a script says. The page's policy forbids playwright's own way, which makes scripts out of texts."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def texts(page, role):
    return [text.strip() for text in page.locator(f".message.{role} .content").all_inner_texts()]


def setting(page, name, value):
    if page.locator("#settings").is_hidden():
        page.click("[data-do=settings]")
    page.get_by_label(name, exact=False).first.fill(value)


# With real models


@check
def an_answer_comes_and_stays(desk):
    page = desk.open()
    expect(page.locator(".welcome h1")).to_contain_text("Ask")
    desk.picture(page, "welcome")
    setting(page, "Seed", "7")
    setting(page, "Max tokens", "160")
    desk.picture(page, "settings")
    page.click("[data-do=settings]")
    send(page, "Tell me about roosters, with a list.")
    page.wait_for_selector(".message.assistant .prose")
    desk.picture(page, "streaming")
    settled(page)
    before = texts(page, "assistant")
    assert len(before[0]) > 20, before
    expect(page.locator(".message.assistant .figures")).to_contain_text("tok/s")
    expect(page.locator("#gauge")).to_contain_text("of")
    page.reload()
    page.wait_for_selector(".dot.there")
    page.click(".entry-open")
    page.wait_for_selector(".message.assistant .prose")
    assert texts(page, "assistant") == before
    desk.picture(page, "answered")


@check
def an_answer_can_be_stopped_and_continued(desk):
    page = desk.open()
    setting(page, "Seed", "1")
    page.click("[data-do=settings]")
    send(page, "Count from one to two hundred in words.")
    until(page, "document.querySelector('.message.assistant .prose')?.innerText.length > 20")
    page.keyboard.press("Escape")
    settled(page)
    expect(page.locator(".message.assistant .problem")).to_contain_text("Stopped")
    desk.picture(page, "stopped")
    begun = page.inner_text(".message.assistant .prose")
    page.get_by_role("button", name="Continue").click()
    until(page, f"document.querySelector('.message.assistant .prose').innerText.length > {len(begun) + 10}")
    assert page.inner_text(".message.assistant .prose").startswith(begun[:-1])
    page.click("#stop")
    settled(page)


@check
def messages_branch(desk):
    page = desk.open()
    setting(page, "Max tokens", "12")
    page.click("[data-do=settings]")
    send(page, "Say something about hens.")
    settled(page)
    first = texts(page, "assistant")[0]
    page.click("button[aria-label='Answer again']")
    settled(page)
    expect(page.locator(".message.assistant .switcher")).to_contain_text("2/2")
    page.click(".message.assistant button[aria-label='Previous version']")
    assert texts(page, "assistant")[0] == first
    page.hover(".message.user")
    page.click(".message.user button[aria-label=Edit]")
    page.fill(".edit", "Say something about ducks.")
    desk.picture(page, "editing")
    page.press(".edit", "Enter")
    settled(page)
    expect(page.locator(".message.user .switcher")).to_contain_text("2/2")
    desk.picture(page, "branches")
    page.click(".message.user button[aria-label='Previous version']")
    assert texts(page, "assistant")[0] == first and texts(page, "user") == ["Say something about hens."]
    send(page, "And one more.")
    settled(page)
    assert len(texts(page, "assistant")) == 2
    page.reload()
    page.wait_for_selector(".dot.there")
    page.click(".entry-open")
    page.wait_for_selector(".message.user")
    assert texts(page, "user") == ["Say something about hens.", "And one more."]


@check
def tokens_show_their_alternatives(desk):
    page = desk.open()
    setting(page, "Max tokens", "24")
    setting(page, "Temperature", "0")
    page.click("[data-do=settings]")
    page.get_by_role("button", name="Tokens", exact=True).click()
    send(page, "What is the capital of France?")
    settled(page)
    text = texts(page, "assistant")[0]
    page.click("button[aria-label='Tokens and probabilities']")
    tokens = page.locator(".token").all_inner_texts()
    assert "".join(tokens).strip() == text, (tokens, text)
    page.locator(".token").nth(2).click()
    expect(page.locator(".alternative.it")).to_have_count(1)
    desk.picture(page, "tokens")
    page.keyboard.press("Tab")
    other = page.locator("button.alternative").first
    chosen = other.locator("code").inner_text().replace("␣", " ").strip()
    other.click()
    settled(page)
    expect(page.locator(".message.assistant .switcher")).to_contain_text("2/2")
    branched = texts(page, "assistant")[0]
    assert branched != text and chosen in branched, (chosen, branched)
    desk.picture(page, "branched-at-a-token")


@check
def two_answers_stand_beside_each_other(desk):
    page = desk.open()
    setting(page, "Max tokens", "60")
    page.click("[data-do=settings]")
    page.click(".picker.rival")
    desk.picture(page, "compare-menu")
    page.locator(".menu:visible .choice").nth(1).click()
    send(page, "Describe a small farm in two sentences.")
    page.wait_for_selector(".round")
    settled(page)
    left, right = texts(page, "assistant")
    assert left == right != "", "the same model with the same seed says the same"
    desk.picture(page, "compare")
    page.locator(".pick").last.click()
    expect(page.locator(".pick[aria-pressed=true]")).to_have_count(1)
    send(page, "Shorter.")
    settled(page)
    expect(page.locator(".round")).to_have_count(2)


@check
def conversations_are_found_exported_and_imported(desk):
    page = desk.open()
    setting(page, "Max tokens", "8")
    page.get_by_role("button", name="Use these for new chats").click()
    page.click("[data-do=settings]")
    for text in ["A question about the Café Zebra", "Another about penguins"]:
        page.click("[data-do=new]")
        send(page, text)
        settled(page)
    page.fill("#search", "cafe zebra")
    expect(page.locator(".found mark").first).to_be_visible()
    desk.picture(page, "search")
    page.locator(".found").last.click()
    assert "Zebra" in texts(page, "user")[0]
    page.fill("#search", "")
    with page.expect_download() as download:
        page.click("[data-do=export-all]")
    path = download.value.path()
    told = json.loads(Path(path).read_text())
    assert told["format"] == "bantam-conversations" and len(told["conversations"]) == 2
    other = desk.open()
    other.set_input_files("#file", path)
    expect(other.locator(".entry")).to_have_count(2)
    other.get_by_role("button", name="A question about the Café Zebra", exact=True).click()
    expect(other.locator(".message.user")).to_contain_text("Zebra")
    other.hover(".entry >> nth=0")
    other.locator(".entry [aria-label=Delete]").first.click()
    expect(other.locator(".entry")).to_have_count(1)
    desk.picture(other, "deleted")
    other.get_by_role("button", name="Undo").click()
    expect(other.locator(".entry")).to_have_count(2)
    other.set_input_files("#file", {"name": "x.json", "mimeType": "application/json", "buffer": b"{}"})
    expect(other.locator(".notice")).to_contain_text("no conversations")


@check
def the_keyboard_is_enough(desk):
    page = desk.open()
    setting(page, "Max tokens", "24")
    page.get_by_role("button", name="Use these for new chats").click()
    page.reload()
    page.wait_for_selector(".dot.there")
    press = page.keyboard.press
    page.keyboard.type("Name a bird.")
    press("Enter")
    settled(page)
    press("Alt+ArrowUp")
    expect(page.locator(".message.assistant")).to_be_focused()
    desk.picture(page, "focus")
    press("r")
    settled(page)
    expect(page.locator(".switcher")).to_contain_text("2/2")
    expect(page.locator(".message.assistant")).to_be_focused()
    press("ArrowLeft")
    expect(page.locator(".switcher")).to_contain_text("1/2")
    press("/")
    expect(page.locator("#draft")).to_be_focused()
    press("ArrowUp")
    expect(page.locator(".edit")).to_be_focused()
    press("Escape")
    press("?")
    expect(page.locator("dialog")).to_be_visible()
    desk.picture(page, "shortcuts")
    press("Escape")
    press("Control+Shift+O")
    page.keyboard.type("Second")
    press("Enter")
    settled(page)
    press("Control+k")
    page.keyboard.type("bird")
    page.wait_for_selector(".found")
    press("ArrowDown")
    press("Enter")
    expect(page.locator(".message.user").first).to_contain_text("Name a bird.")
    press("Control+.")
    page.keyboard.type("Be brief.")
    press("Escape")
    expect(page.locator("#settings")).to_be_hidden()
    stops = reachable(page)
    for name in ["New chat", "Search conversations", "Message", "Settings"]:
        assert any(name in stop for stop in stops), (name, stops)


def reachable(page):
    """What the tab key comes by, and that each is outlined."""
    page.evaluate("document.activeElement.blur()")
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, is_seen = page.evaluate(
            """() => { const e = document.activeElement; const s = getComputedStyle(e);
            return [e.ariaLabel || e.innerText || e.tagName, s.outlineStyle !== 'none' || e.id === 'draft' || e === document.body]; }"""
        )
        assert is_seen, f"no outline on {name}"
        stops.append(name)
    return stops


# With scripted replies

HOSTILE = """<img src=x onerror=alert(1)> and <script>alert(2)</script>

<svg onload=alert(3)><style>body{display:none}</style>

[click](javascript:alert(4)) [data](data:text/html,<script>alert(5)</script>) [ok](https://example.com/a?b=1)

![picture](https://evil.example/track.png) <iframe src="https://evil.example"></iframe>

| a | <b onmouseover=alert(6)>b</b> |
|---|---|
| <img src="https://evil.example/x.png"> | `<i>` |

```html"><script>alert(7)</script>
<script src="https://evil.example/x.js"></script>
```
"""


@check
def hostile_text_stays_text(desk):
    page = desk.open(replies=[say(HOSTILE)])
    send(page, "<img src=x onerror=alert(8)>")
    settled(page)
    for tag in ["script", "iframe", "svg[onload]", "style", "b", "i", "object", "embed", "form", "img"]:
        assert page.locator(f".message {tag}").count() == 0, tag
    for name in ["onerror", "onload", "onmouseover", "style", "srcdoc"]:
        assert page.locator(f".message .content [{name}]").count() == 0, name
    links = page.locator(".message a").evaluate_all("all => all.map((a) => [a.protocol, a.rel, a.target])")
    assert links and all(link[0] == "https:" and "noopener" in link[1] for link in links), links
    title = page.evaluate("document.title")
    assert "alert" not in title or "<" in title
    desk.picture(page, "hostile")


MARKDOWN = (Path(__file__).parent / "page.md").read_text()


@check
def markdown_is_drawn_as_it_grows(desk):
    page = desk.open(replies=[say(MARKDOWN, size=3)])
    send(page, "Show me all of it.")
    settled(page)
    for tag, count in [("h3", 1), ("table", 1), ("pre", 2), ("ol", 1), ("blockquote", 1), (".task", 2)]:
        assert page.locator(f".prose {tag}").count() >= count, tag
    whole = page.evaluate("document.querySelector('.prose').innerHTML")
    page.set_viewport_size({"width": 1280, "height": 1900})
    desk.picture(page, "markdown")
    page.reload()
    page.wait_for_selector(".dot.there")
    page.click(".entry-open")
    page.wait_for_selector(".prose")
    again = page.evaluate("document.querySelector('.prose').innerHTML")
    at = next((at for at, (a, b) in enumerate(zip(again, whole)) if a != b), min(len(again), len(whole)))
    assert again == whole, f"grown and whole differ: {whole[at - 60 : at + 60]!r} and {again[at - 60 : at + 60]!r}"


@check
def a_long_answer_stays_fast(desk):
    text = "\n\n".join(f"Paragraph {at} with **bold**, `code` and [a link](https://example.com/{at}).\n\n- one\n- two" for at in range(1500))
    page = desk.open(replies=[say(text, size=24)])
    begun = time.monotonic()
    send(page, "Go on and on.")
    settled(page)
    until(page, "document.querySelectorAll('.prose > *').length >= 3000")
    print(f"    {len(text) // 1000} kB of markdown in {len(text) // 24} pieces: {time.monotonic() - begun:.1f} s")
    page.evaluate("document.querySelector('#scroll').scrollTop = 0")
    page.wait_for_timeout(100)
    expect(page.locator("#latest")).to_be_visible()
    delays = page.evaluate(
        """async () => { const draft = document.getElementById('draft'); const all = [];
        for (let n = 0; n < 20; n += 1) { const t = performance.now(); draft.value += 'x'; draft.dispatchEvent(new Event('input'));
        await new Promise(requestAnimationFrame); all.push(performance.now() - t); } return all.sort((a, b) => a - b)[10]; }"""
    )
    print(f"    a key below it: {delays:.0f} ms (median)")


@check
def thinking_folds(desk):
    reply = events(*({"reasoning_content": word} for word in "First I *consider* the question. Then I am done.".split(" ")), {"content": "The answer is **42**."})
    page = desk.open(replies=[reply])
    send(page, "Think!")
    settled(page)
    fold = page.locator("details.thinking")
    assert fold.get_attribute("open") is None
    fold.locator("summary").click()
    expect(fold.locator(".prose")).to_be_visible()
    desk.picture(page, "thinking")


TOOLS = '[{"name": "weather", "description": "The weather in a city", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]'


@check
def tools_are_played_by_the_reader(desk):
    call = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]}
    more = [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in ['{"city"', ': "Ber', 'lin"}']]
    page = desk.open(replies=[events(call, *more, finish="tool_calls"), say("It is sunny in Berlin.")])
    page.get_by_role("button", name="Tools", exact=True).click()
    page.get_by_label("Tools as JSON").fill("[{")
    expect(page.locator("[data-part=tools] .note")).to_contain_text("no JSON")
    page.get_by_label("Tools as JSON").fill(TOOLS)
    desk.picture(page, "tools-settings")
    page.click("[data-do=settings]")
    send(page, "How is the weather in Berlin?")
    settled(page)
    expect(page.locator(".call")).to_contain_text("Berlin")
    desk.picture(page, "tool-call")
    page.get_by_label("Result of weather").fill('{"sky": "clear", "degrees": 24}')
    page.get_by_role("button", name="Give result").click()
    settled(page)
    assert texts(page, "assistant")[-1] == "It is sunny in Berlin."
    assert page.asked[0]["tools"][0]["function"]["name"] == "weather"
    said = page.asked[1]["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "tool"], said
    assert said[1]["tool_calls"][0]["function"]["arguments"] == '{"city": "Berlin"}' and said[2]["tool_call_id"] == "call_1"
    desk.picture(page, "tool-result")


@check
def json_is_held_against_its_schema(desk):
    page = desk.open(replies=[say('{"answer": "yes", "sure": true}'), say('{"answer": 5, "more": 1}'), say("Sorry, no.")])
    page.get_by_role("button", name="JSON", exact=True).click()
    page.get_by_role("button", name="Insert an example").first.click()
    expect(page.locator("[data-part=schema] .note")).to_contain_text("read")
    page.click("[data-do=settings]")
    for wanted in ["holds to the schema", "against the schema", "no JSON"]:
        send(page, "Answer.")
        settled(page)
        expect(page.locator(".verdict").last).to_contain_text(wanted)
    assert page.asked[0]["response_format"]["json_schema"]["schema"]["required"] == ["answer", "sure"]
    desk.picture(page, "json")


@check
def failures_say_what_can_be_done(desk):
    busy = {"status": 503, "headers": {"retry-after": "1"}, "body": {"error": {"message": "64 requests wait already"}}}
    full = {"status": 400, "body": {"error": {"message": "the prompt has 9000 tokens, and the context 8192", "code": "context_length_exceeded"}}}
    odd = {"status": 400, "body": {"error": {"message": "`response_format` is not supported by this server", "param": "response_format"}}}
    cut = say("This is only the begin", is_whole=False)
    page = desk.open(replies=[busy, say("Now."), full, odd, cut, "gone"])
    send(page, "One")
    expect(page.locator(".problem").last).to_contain_text("busy")
    desk.picture(page, "busy")
    settled(page)
    assert texts(page, "assistant") == ["Now."]
    for text, wanted in [("Two", "no longer fits"), ("Three", "refused"), ("Four", "not whole"), ("Five", "gone")]:
        send(page, text)
        settled(page)
        expect(page.locator(".problem:visible").last).to_contain_text(wanted)
        desk.picture(page, f"failure-{wanted.split()[-1]}")
    desk.faults = [fault for fault in desk.faults if "Failed to load resource" not in fault]


@check
def a_server_that_is_gone_leaves_the_conversations(desk):
    page = desk.open(replies=[say("Still here.")])
    send(page, "Are you there?")
    settled(page)
    page.route("**/v1/models", lambda route: route.abort("connectionrefused"))
    page.route("**/health", lambda route: route.abort("connectionrefused"))
    page.reload()
    expect(page.locator(".notice")).to_contain_text("does not answer")
    page.click(".entry-open")
    expect(page.locator(".message.assistant")).to_contain_text("Still here.")
    desk.picture(page, "gone")
    page.unroute("**/v1/models")
    page.unroute("**/health")
    expect(page.locator(".notice")).to_have_count(0, timeout=20_000)
    desk.faults = [fault for fault in desk.faults if "Failed to load resource" not in fault]


@check
def without_a_database_it_says_so(desk):
    page = desk.open(replies=[say("Hello.")], setup="Object.defineProperty(window, 'indexedDB', { get() { throw new Error('none'); } });")
    expect(page.locator(".notice")).to_contain_text("no database")
    send(page, "Hello?")
    settled(page)
    assert texts(page, "assistant") == ["Hello."]
    desk.picture(page, "no-database")


@check
def it_fits_a_phone_and_the_dark(desk):
    for colours in ["light", "dark"]:
        page = desk.open(replies=[say(MARKDOWN, size=40)], viewport={"width": 390, "height": 844}, color_scheme=colours, has_touch=True, is_mobile=True)
        desk.picture(page, f"phone-{colours}-welcome")
        send(page, "Show me all of it.")
        settled(page)
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth, document.querySelector('#scroll').scrollWidth]")
        assert widths[0] <= widths[1] and widths[2] <= widths[1], widths
        desk.picture(page, f"phone-{colours}")
        page.evaluate("document.querySelector('#scroll').scrollTop = 0")
        desk.picture(page, f"phone-{colours}-top")
        page.click(".bar [data-do=sidebar]")
        desk.picture(page, f"phone-{colours}-sidebar")
        page.mouse.click(370, 400)
        expect(page.locator("#sidebar")).to_be_hidden()
        page.click("[data-do=settings]")
        desk.picture(page, f"phone-{colours}-settings")
    page = desk.open(replies=[say(MARKDOWN, size=40)], color_scheme="dark")
    send(page, "Show me all of it.")
    settled(page)
    desk.picture(page, "dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.click("[data-do=theme]")
    assert page.evaluate(paper) != dark
    page.reload()
    assert page.evaluate(paper) != dark, "the choice is kept"


@check
def contrast_is_enough(desk):
    """All text on the welcome page and below an answer, against what lies behind it: 4.5 to 1 as WCAG AA wants."""
    for colours in ["light", "dark"]:
        page = desk.open(replies=[say(MARKDOWN, size=40)], color_scheme=colours)
        for step in ["welcome", "answer", "settings"]:
            if step == "answer":
                send(page, "Show me all of it.")
                settled(page)
            if step == "settings":
                page.click("[data-do=settings]")
            low = page.evaluate(CONTRAST)
            assert not low, (colours, step, low[:5])


CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return { rgb: n.slice(0, 3), a: n[3] ?? 1 }; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (e) => { for (let at = e; at; at = at.parentElement) { const c = parse(getComputedStyle(at).backgroundColor); if (c.a === 1) return c.rgb; } return [255, 255, 255]; };
  const low = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility({ checkOpacity: true }) || e.closest(".unseen, .skip, :disabled, option")) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color).rgb), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push([e.tagName, e.className, e.innerText.slice(0, 30), ratio.toFixed(2)]);
  }
  return low;
}"""


@check
def a_key_is_asked_for(desk):
    with serve(desk.command, desk.model, "--api-key", "correct-horse") as address:
        other = Desk(desk.browser, address, desk.pictures, desk.files)
        page = other.open()
        expect(page.locator(".notice")).to_contain_text("wants a key")
        desk.picture(page, "key")
        page.get_by_label("API key").first.fill("wrong-horse")
        page.get_by_role("button", name="Use", exact=True).click()
        expect(page.locator(".notice")).to_contain_text("does not know")
        page.get_by_label("API key").first.fill("correct-horse")
        page.get_by_role("button", name="Use", exact=True).click()
        expect(page.locator(".dot.there")).to_be_visible()
        expect(page.locator(".notice")).to_have_count(0)
        expect(page.locator(".welcome h1")).to_contain_text("Ask ")
        desk.requests += [url.replace(address, desk.address) for url in other.requests]


class serve:
    """A server as long as it is needed."""

    def __init__(self, command, model, *more):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}/"
        self.process = subprocess.Popen([command, "serve", model, "--port", str(port), "--quiet", *more])

    def __enter__(self):
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.address}health", timeout=1)
                return self.address
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("the server did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command")
    parser.add_argument("model")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--files", help="a folder in place of the page's own files")
    parser.add_argument("--only", default="", help="checks with this in their names")
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    failed = 0
    with serve(arguments.command, arguments.model) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.browser, args=["--no-sandbox"])
        for work in CHECKS:
            if arguments.only not in work.__name__:
                continue
            desk = Desk(browser, address, arguments.pictures, arguments.files)
            desk.command, desk.model = arguments.command, arguments.model
            failed += not passes(work, desk)
        browser.close()
    print(f"{failed} failed" if failed else "all passed")
    return 1 if failed else 0


def passes(work, desk):
    name = work.__name__.replace("_", " ")
    try:
        work(desk)
        outside = [url for url in desk.requests if not url.startswith((desk.address, "blob:", "data:"))]
        assert not outside, f"left the server: {outside}"
        faults = [fault for fault in desk.faults if not re.search("401", fault)]
        assert not faults, faults
    except Exception:
        print(f"FAIL  {name}\n{traceback.format_exc(limit=3)}", flush=True)
        return False
    finally:
        for context in desk.browser.contexts:
            context.close()
    print(f"ok    {name}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
