"""The HTML report in a real browser: without one on PATH these tests are skipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browser
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
        patch.setattr("sweeps.report._pictures", lambda *_: {})
        write_report([folder / "runs"], folder, "full3d")
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; apt-get install chromium, as .ci/run does")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def count(page: Page, selector: str) -> int:
    return int(page.run(f"document.querySelectorAll({selector!r}).length"))


def click(page: Page, section: str, text: str) -> None:
    page.run(f"[...document.querySelectorAll('#{section} button')]"
             f".find(button => button.textContent === {text!r}).click()")


def test_it_asks_for_nothing(report):
    """The one address in it is the name of SVG, and names of classes cannot end its script."""
    text = report.read_text()
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link(?! rel=\"icon\" href=\"data:)|src=|@import|url\(", text)
    assert text.count("</script>") == 2


@pytest.mark.parametrize("width", [390, 1280])
def test_everything_is_drawn_and_fits(report, page, width):
    page.open(report, width)
    assert page.complaints == []
    assert page.run("innerWidth") == width
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run("document.title") == "synthetic, xsub"
    assert count(page, "#table tbody tr") == 3
    assert count(page, "#cost .point") == 3
    assert count(page, "#difference .point") == 2
    assert count(page, "#classes .bar") == 3
    assert count(page, "#confusion .cell") == 4  # of full3d, whose first clip is missed once
    assert count(page, "#curves .curve") == 3
    assert count(page, "#commands pre") == 5
    assert page.run("document.querySelector('#gaps li').textContent") == (
        "slowonly, seed 1: missing")
    assert "</script><b>kick" in page.run("document.querySelector('#classes svg').textContent")
    # What is drawn lies inside of its picture, and has a size.
    assert page.run("""[...document.querySelectorAll('svg')].every(picture => {
        const outer = picture.getBoundingClientRect();
        return outer.width > 100 && outer.height > 60 && outer.right <= innerWidth
            && [...picture.querySelectorAll('.point, .bar, .cell, .curve')].every(mark => {
                const inner = mark.getBoundingClientRect();
                return inner.left >= outer.left - 1 && inner.right <= outer.right + 1
                    && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1; }); })""")


def test_plots_answer(report, page):
    page.open(report, 1280)
    page.point_at("#cost .point")
    shown = page.run("document.getElementById('tip').textContent")
    assert shown.startswith("full3d\ntop-1 70.00 % ± 14.14\nGMACs of one clip: 0.3")
    place = "document.querySelector('#cost .point').getAttribute('cy')"
    axis = "document.querySelector('#cost svg').textContent"
    before = page.run(place)
    click(page, "cost", "parameters")
    assert "parameters, millions" in page.run(axis)
    assert page.run(place) == before
    click(page, "cost", "full3d")  # hides an arm in all plots, and brings it back
    assert count(page, "#cost .point") == count(page, "#curves .curve") == 2
    click(page, "curves", "full3d")
    assert count(page, "#cost .point") == count(page, "#curves .curve") == 3
    click(page, "curves", "val/top1")
    assert "%" in page.run("document.querySelector('#curves svg').textContent")
    page.run("""(() => { const arms = document.querySelector('#confusion select');
        arms.selectedIndex = 1; arms.dispatchEvent(new Event('change')); })()""")
    assert page.run("document.querySelector('#confusion svg').getAttribute('aria-label')") == (
        "confusion of reduced")
    assert page.complaints == []


def test_one_arm_alone(tmp_path, page, monkeypatch):
    monkeypatch.setattr("sweeps.report._pictures", lambda *_: {})
    run = write_run(tmp_path / "run")
    (run / "metrics.csv").unlink()
    write_report([run], tmp_path)
    page.open(tmp_path / "report.html", 390)
    assert page.complaints == []
    assert count(page, "#cost .point") == 1
    assert count(page, "#difference") == count(page, "#curves") == count(page, "#gaps") == 0
    assert page.run("document.querySelector('#classes h2').textContent") == "Accuracy of classes"
