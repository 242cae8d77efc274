"""The HTML report in a real browser: without Chromium on PATH these tests are skipped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from plotly.offline import get_plotlyjs
from records import LABEL, config_of, write_run

from sweeps.report import write_report

ARMS = ("full3d", "reduced", "slowonly")
NAMES = ("wave", "</script><b>kick", "sit down & <stand> up")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three arms with two seeds, of which one is missing."""
    folder = tmp_path_factory.mktemp("report")
    for number, arm in enumerate(ARMS):
        for seed in range(2):
            if (arm, seed) != ("slowonly", 1):
                write_run(folder / "runs" / f"{arm}-{seed}", config=config_of(arm), seed=seed,
                          names=NAMES, gmacs=0.3 + number, predicted=(seed, *LABEL[1:-1], number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeps.report.write_pictures", lambda *_: True)
        write_report([folder / "runs"], folder, "full3d")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on PATH; apt-get install chromium, as .ci/run does")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.fixture
def page(browser_page: Page) -> Iterator[Page]:
    """A page that must not complain in its console, raise, or ask for another file."""
    complaints: list[str] = []
    listeners = {"console": lambda message: complaints.append(message.text)
                 if message.type in {"error", "warning"} else None,
                 "pageerror": lambda error: complaints.append(str(error)),
                 "request": lambda request: complaints.append(request.url)
                 if not request.url.startswith(("data:", "blob:"))
                 and not request.is_navigation_request() else None}
    for event, listener in listeners.items():
        browser_page.on(event, listener)
    yield browser_page
    for event, listener in listeners.items():
        browser_page.remove_listener(event, listener)
    assert complaints == []


def show(page: Page, report: Path, width: int = 1280) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(report.resolve().as_uri())
    page.wait_for_function("[...document.querySelectorAll('.plot')]"
                           ".every(plot => plot.querySelector('.trace, .hm'))")


def section(page: Page, title: str):
    return page.locator(".plots").filter(has=page.get_by_role("heading", name=title))


def test_nothing_but_the_library_names_an_address(report):
    text = report.read_text()
    assert text.count(get_plotlyjs()) == 1
    own = text.replace(get_plotlyjs(), "")
    assert not re.search(r"https?://|<link(?! rel=\"icon\" href=\"data:)|src=|@import|url\(", own)
    assert own.count("</script>") == 3  # names of classes cannot end one


@pytest.mark.parametrize("width", [390, 1280])
def test_everything_is_there_and_fits(report, page, width):
    show(page, report, width)
    assert page.title() == "synthetic, xsub"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("table tr").count() == 4
    assert page.locator(".gaps li").all_text_contents() == ["slowonly, seed 1: missing"]
    assert page.locator("#commands pre").count() == 5
    headings = page.locator(".plots h2").all_text_contents()
    assert headings == ["Accuracy against cost", "Difference to full3d, 95 % interval",
                        "Accuracy of classes, in points above full3d", "Confusion matrix",
                        "Learning curves"]
    for title, marks, count in (("cost", ".point", 3), ("Difference", ".point", 2),
                                ("of classes", ".hm image", 1), ("Confusion", ".hm image", 1),
                                ("Learning", ".lines .js-line", 6)):  # with the bands
        found = section(page, title).locator(f".overplot {marks}")
        assert found.count() == count, title
        plot = section(page, title).locator(".main-svg").first.bounding_box()
        for mark in (one.bounding_box() for one in found.all()):
            assert plot["x"] - 1 <= mark["x"], title
            assert mark["x"] + mark["width"] <= plot["x"] + plot["width"] + 1, title


def test_names_are_shown_letter_by_letter(report, page):
    show(page, report)
    ticks = section(page, "Confusion").locator(".ytick text")
    assert set(ticks.all_text_contents()) == set(NAMES)
    assert section(page, "Confusion").locator("b").count() == 0


def test_plots_answer(report, page):
    show(page, report)
    cost = section(page, "cost")
    cost.scroll_into_view_if_needed()
    place = cost.locator(".scatterlayer .point").last.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    hover = cost.locator(".hoverlayer")
    page.wait_for_function("document.querySelector('.hoverlayer').textContent")
    assert re.match(r"slowonly ?top-1 100.00 % ?GMACs of one clip: 2.3", hover.text_content())
    cost.locator("select").select_option("parameters")
    assert "parameters, millions" in cost.locator(".infolayer").all_text_contents()[0]
    curves = section(page, "Learning")
    curves.locator("select").select_option("val/top1")
    assert "val/top1, %" in curves.locator(".infolayer").all_text_contents()[0]
    curves.locator(".legendtoggle").first.click()  # hides an arm
    page.wait_for_function("[...document.querySelectorAll('.legend .traces')]"
                           ".some(one => one.style.opacity === '0.5')")
    confusion = section(page, "Confusion")
    confusion.locator("select").select_option("reduced")
    assert "reduced: top-1" in confusion.locator(".infolayer").all_text_contents()[0]


def test_a_single_arm(tmp_path, page, monkeypatch):
    monkeypatch.setattr("sweeps.report.write_pictures", lambda *_: True)
    run = write_run(tmp_path / "run")
    (run / "metrics.csv").unlink()
    write_report([run], tmp_path)
    show(page, tmp_path / "report.html", 390)
    assert page.locator(".plots h2").all_text_contents() == [
        "Accuracy against cost", "Accuracy of classes", "Confusion matrix"]
    assert page.locator(".gaps").count() == 0
