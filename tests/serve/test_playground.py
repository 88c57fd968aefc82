"""The playground in a real browser: `pytest -m browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.conftest import ask
from tests.serve.played import Played, serving
from tinythinker.serve.application import make_application
from tinythinker.serve.limits import Limits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

Scheme = Literal["light", "dark"]
pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="no package playwright: pip install '.[dev]'")
EXAMPLES = [ask("Where does rain go?", "up", "down", gold="B", id="test-1"), ask("When?", "now", "then", id="test-2")]
WIDTHS = (390, 1280)
PATIENCE_MS = 120_000
"""What no step takes, not even on a busy machine."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium: Playwright's own, or one of the system."""
    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = str(own) if own.exists() else shutil.which("chromium") or shutil.which("google-chrome")
        if found is None:
            pytest.skip("no Chromium: run `playwright install chromium`, or `apt-get install chromium` on Debian")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=found, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def played() -> Played:
    return Played("round-2", "late")


@pytest.fixture
def address(played: Played) -> Iterator[str]:
    with serving(make_application(played, EXAMPLES)) as found:
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The playground; at the end, nothing was asked of any other place and no script has failed."""
    yield from opened(browser, address)


def opened(browser: Browser, address: str, *, width: int = 1280, scheme: Scheme = "light") -> Iterator[Page]:
    """The playground in a window of this width."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE_MS)
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda one: None if one.url.startswith((address, "data:")) else wrong.append(one.url))
    page.goto(address)
    sync_api.expect(page.get_by_role("button", name="Take a test question")).to_be_visible()
    yield page
    context.close()
    assert wrong == []


def fill(page: Page, question: str = "Where does rain go?", *options: str) -> None:
    page.get_by_label("Question", exact=True).fill(question)
    for label, text in zip("AB", options or ("up", "down"), strict=True):
        page.get_by_label(f"Option {label}", exact=True).fill(text)


def press(page: Page | Locator, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def card(page: Page, name: str = "round-2") -> Locator:
    return page.get_by_role("article", name=f"Student {name}")


def test_an_answer_comes_with_recall_analyses_and_a_bar_for_every_option(page: Page) -> None:
    fill(page)
    press(page, "Ask")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (up)")
    sync_api.expect(card(page).get_by_label("What the student recalls")).to_have_value("rain is wet.")
    sync_api.expect(card(page).get_by_label("A up")).to_have_value("yes.")
    bars = card(page).get_by_role("list", name="How likely each option is").get_by_role("listitem")
    assert [bar.inner_text().split() for bar in bars.all()] == [["A", "up", "70.0%"], ["B", "down", "30.0%"]]


def test_stages_appear_before_the_answer_is_there(page: Page, played: Played) -> None:
    played.may_go_on.clear()
    fill(page)
    press(page, "Ask")
    sync_api.expect(card(page).get_by_label("B down")).to_have_value("no.")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answers …")
    sync_api.expect(card(page).get_by_role("list")).to_have_count(0)
    played.may_go_on.set()
    sync_api.expect(card(page).get_by_role("list")).to_have_count(1)


def test_the_student_goes_on_from_an_edited_recall_and_comes_back_to_its_own(page: Page) -> None:
    fill(page)
    press(page, "Ask")
    recall = card(page).get_by_label("What the student recalls")
    sync_api.expect(card(page).get_by_role("button", name="Go on from this recall")).to_be_disabled()
    recall.fill("rain falls.")
    press(card(page), "Go on from this recall")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered B (down)")
    sync_api.expect(card(page).get_by_label("B down")).to_have_value("yes.")
    sync_api.expect(card(page).get_by_text("(edited)").filter(visible=True)).to_have_count(1)
    steps = card(page).locator("ol.history li")
    sync_api.expect(steps).to_have_text(["its own reasoning: A (up)", "edited recall: B (down)"])
    press(card(page), "Back to its own reasoning")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (up)")


def test_the_student_goes_on_from_edited_analyses_and_says_if_it_cannot_answer(page: Page) -> None:
    fill(page)
    press(page, "Ask")
    card(page).get_by_label("A up").fill("no.")
    card(page).get_by_label("B down").fill("yes, it does.")
    press(card(page), "Go on from these analyses")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered B (down)")
    sync_api.expect(card(page).get_by_text("(edited)").filter(visible=True)).to_have_count(2)
    card(page).get_by_label("B down").fill("who knows.")
    press(card(page), "Go on from these analyses")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered, unreadable")
    sync_api.expect(card(page).get_by_text("I cannot say.")).to_be_visible()


def test_two_students_answer_side_by_side_and_are_edited_apart(page: Page) -> None:
    page.get_by_label("Compare with").select_option("late")
    fill(page)
    press(page, "Ask")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (up)")
    sync_api.expect(card(page, "late").get_by_role("status")).to_have_text("answered B (down)")
    boxes = [card(page, name).bounding_box() for name in ("round-2", "late")]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    card(page).get_by_label("What the student recalls").fill("rain falls.")
    press(card(page), "Go on from this recall")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered B (down)")
    sync_api.expect(card(page, "late").locator("ol.history")).to_have_count(0)


def test_a_test_question_of_the_run_says_whether_the_answer_is_right(page: Page) -> None:
    press(page, "Take a test question")
    sync_api.expect(page.get_by_text("Test question test-1.")).to_be_visible()
    press(page, "Ask")
    sync_api.expect(card(page).get_by_text("✗ wrong, it is B (down)")).to_be_visible()
    press(page, "Take a test question")
    press(page, "Ask")
    sync_api.expect(card(page).get_by_text("✓ right")).to_be_visible()
    page.get_by_label("Option B", exact=True).fill("later")  # a question of one's own from here on
    press(page, "Ask")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (now)")
    sync_api.expect(card(page).get_by_text("✓ right")).to_have_count(0)


def test_the_address_holds_question_and_students(page: Page, address: str) -> None:
    page.get_by_label("Compare with").select_option("late")
    fill(page, "Où va la pluie & pourquoi?", "en haut", "100% <b>down</b>")
    press(page, "Ask")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (en haut)")
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    sync_api.expect(page.get_by_label("Option B", exact=True)).to_have_value("100% <b>down</b>")
    sync_api.expect(page.get_by_label("Question", exact=True)).to_have_value("Où va la pluie & pourquoi?")
    sync_api.expect(page.get_by_label("Compare with")).to_have_value("late")
    assert "?" not in link.removeprefix(address).split("#")[0]


def test_what_is_missing_is_said_and_gets_the_focus(page: Page) -> None:
    press(page, "Ask")
    sync_api.expect(page.locator("#error")).to_have_text("Write a question first.")
    sync_api.expect(page.get_by_label("Question", exact=True)).to_be_focused()
    page.get_by_label("Question", exact=True).fill("Where?")
    page.get_by_label("Option A", exact=True).fill("up")
    press(page, "Ask")
    sync_api.expect(page.locator("#error")).to_contain_text("Every option needs a text")
    sync_api.expect(page.get_by_label("Option B", exact=True)).to_be_focused()


def test_an_error_of_the_service_is_shown_where_the_answer_would_be(page: Page) -> None:
    fill(page, "bad?")
    press(page, "Ask")
    sync_api.expect(card(page).get_by_role("alert")).to_contain_text("this one is bad")
    fill(page)
    press(page, "Ask")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (up)")


def test_a_full_queue_is_told_with_the_seconds_to_wait(browser: Browser, played: Played) -> None:
    with serving(make_application(played, EXAMPLES, Limits(queue=0))) as address:
        for page in opened(browser, address):
            fill(page)
            press(page, "Ask")
            sync_api.expect(card(page).get_by_role("alert")).to_contain_text("try again in 1 s")


def test_a_key_is_asked_for_where_one_is_needed(browser: Browser, played: Played) -> None:
    with serving(make_application(played, EXAMPLES, key="hush")) as address:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.get_by_label("Key of this service").fill("hush")
        fill(page)
        press(page, "Ask")
        sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (up)")
        sync_api.expect(page.get_by_label("Key of this service")).to_be_hidden()
        page.close()


def test_options_are_added_and_removed_between_2_and_26(page: Page) -> None:
    for _ in range(24):
        press(page, "Add an option")
    sync_api.expect(page.get_by_role("button", name="Add an option")).to_be_disabled()
    page.get_by_label("Option C", exact=True).fill("sideways")
    press(page, "Remove option A")
    sync_api.expect(page.get_by_label("Option B", exact=True)).to_have_value("sideways")
    for _ in range(23):
        press(page, "Remove option A")
    sync_api.expect(page.get_by_role("button", name="Remove option A")).to_be_disabled()


def test_everything_is_done_with_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")  # the link to the paths
    page.keyboard.press("Tab")
    page.keyboard.type("Where does rain go?")
    for text in (None, None, "up", "down"):  # first the two lists of students
        page.keyboard.press("Tab")
        if text is not None:
            page.keyboard.type(text)
    page.keyboard.press("Control+Enter")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (up)")
    recall = card(page).get_by_label("What the student recalls")
    recall.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("rain falls.")
    page.keyboard.press("Control+Enter")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered B (down)")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_and_texts_stand_out_at_any_width_in_both_schemes(
    browser: Browser, address: str, tmp_path: Path, width: int, scheme: Scheme
) -> None:
    for page in opened(browser, address, width=width, scheme=scheme):
        page.get_by_label("Compare with").select_option("late")
        fill(page, "Where does rain go? " * 20, "up" * 100, "down")
        press(page, "Ask")
        sync_api.expect(card(page, "late").get_by_role("list")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        texts = page.evaluate(CONTRASTS)
        assert len(texts) > 20
        assert min(texts.values()) >= 4.5, texts
        page.screenshot(path=tmp_path / "playground.png", full_page=True)


CONTRASTS = """() => {
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (node) => { for (; node; node = node.parentElement) {
    const found = numbers(getComputedStyle(node).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found; } return [255, 255, 255]; };
  const texts = {};
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].filter((one) => one.nodeType === 3).map((one) => one.data).join("").trim();
    const text = node.value ?? own;
    if (!text || !node.checkVisibility() || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
    const [a, b] = [light(numbers(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    texts[`${node.tagName} ${text.slice(0, 30)}`] = (a + 0.05) / (b + 0.05);
  }
  return texts;
}"""


def test_every_control_has_a_name_for_a_screen_reader(page: Page) -> None:
    fill(page)
    press(page, "Ask")
    sync_api.expect(card(page).get_by_role("status")).to_have_text("answered A (up)")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, textarea, select, button")].filter((one) => {
            const labels = [...(one.labels ?? [])].map((label) => label.textContent.trim());
            const own = one.tagName === "BUTTON" ? one.textContent.trim() : "";
            return !(one.getAttribute("aria-label") || labels.join("") || own);
        }).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
