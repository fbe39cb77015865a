"""The page in a real browser: what hands do reaches the session, what the session says is seen, read and reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from accessible import problems, walk
from browser import Page, browser
from fake_sitting import FakeSitting
from page_client import until

from collectors.teleop.orders import PLACES
from collectors.teleop.web.server import PAGE, Running, serve

PHASES = ("ready", "recording", "review", "reset", "held", "fault", "done")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[[], Page]]:
    with browser() as new:
        yield new


@pytest.fixture
def sitting() -> Iterator[FakeSitting]:
    with FakeSitting({"observation.images.front": (240, 320), "observation.images.wrist": (96, 96)}) as sitting:
        yield sitting


@pytest.fixture
def running(sitting: FakeSitting) -> Iterator[Running]:
    with serve(sitting) as running:
        yield running


@pytest.fixture
def page(chromium: Callable[[], Page], running: Running) -> Iterator[Page]:
    page = chromium()
    page.size(1280, 760)
    page.open(running.url)
    page.wait("document.body.dataset.seat === 'driving' && document.querySelector('canvas')?.width === 320")
    yield page
    page.send("Page.close")


def named(sitting: FakeSitting) -> list[str]:
    return [order.name for order in sitting.orders]


def test_the_token_leaves_the_address_and_a_reload_works(page: Page, running: Running) -> None:
    token = running.url.partition("token=")[2]
    assert token not in page.run("location.href") and token not in page.run("document.cookie")
    page.send("Page.reload")
    page.wait("document.readyState === 'complete' && document.body.dataset.seat === 'driving'")
    assert page.errors() == []


def test_a_page_without_the_token_says_what_to_do(chromium: Callable[[], Page], page: Page, running: Running) -> None:
    other = chromium()
    other.open(running.url.partition("?")[0])  # the cookie shows the page; the token it lacks
    other.wait("!document.getElementById('lost').hidden")
    assert "printed in the terminal" in other.run("document.getElementById('lost').textContent")
    other.send("Page.close")


def test_keys_drive_and_pedals_lead_on(page: Page, sitting: FakeSitting) -> None:
    page.key("KeyD", up=False)
    until(lambda: len(sitting.inputs) > 5)
    page.key("KeyD", down=False)
    until(lambda: sitting.inputs[-1].keys == ())
    assert {given.keys for given in sitting.inputs} == {("KeyD",), ()} and sitting.inputs[-2].keys == ("KeyD",)
    quiet = len(sitting.inputs)
    time.sleep(0.2)
    assert len(sitting.inputs) == quiet  # nothing is sent while nothing is held
    page.key("Space")
    until(lambda: sitting.phase == "recording")
    page.key("PageDown")
    until(lambda: sitting.phase == "review")
    page.key("KeyB")
    until(lambda: sitting.phase == "reset")
    page.key("Escape")
    until(lambda: sitting.phase == "held")
    assert named(sitting) == ["next", "next", "next", "estop"]


def test_a_tap_is_held_long_enough_for_the_session_to_see_it(page: Page, sitting: FakeSitting) -> None:
    page.key("KeyG")
    until(lambda: bool(sitting.inputs) and sitting.inputs[-1].keys == ())
    held = [given.sent for given in sitting.inputs if given.keys == ("KeyG",)]
    assert sitting.inputs[-1].sent - held[0] >= 2000 / sitting.fps


def test_typing_stays_typing_but_escape_stops(page: Page, sitting: FakeSitting) -> None:
    page.click("#instruction")
    page.run("document.getElementById('instruction').select()")
    for code in ("KeyB", "KeyW", "Space", "Digit1"):
        page.key(code)
    page.type("<img src=x onerror=alert(1)> lift it")
    page.key("Enter")
    until(lambda: bool(sitting.orders))
    assert sitting.orders[0].name == "instruct" and sitting.orders[0].text == "bw 1<img src=x onerror=alert(1)> lift it"
    assert not sitting.inputs
    page.wait(
        "document.activeElement === document.body && document.getElementById('instruction').value.includes('<img')"
    )
    assert page.run("document.images.length") == 0 and page.errors() == []
    page.click("#instruction")
    page.key("Escape")
    until(lambda: named(sitting) == ["instruct", "estop"])


def test_leaving_the_window_lets_go(page: Page, sitting: FakeSitting) -> None:
    page.key("KeyW", up=False)
    until(lambda: len(sitting.inputs) > 2)
    page.run("window.dispatchEvent(new Event('blur'))")
    until(lambda: sitting.inputs[-1].keys == ())


def test_judging_and_what_wants_a_second_press(page: Page, sitting: FakeSitting) -> None:
    page.key("Space")
    until(lambda: sitting.phase == "recording")
    page.wait("document.body.dataset.phase === 'recording'")
    page.key("Digit3")
    page.key("Digit1")
    until(lambda: sitting.phase == "review")
    page.wait("document.querySelectorAll('.findings li').length === 2")
    page.wait("document.querySelector('[data-order=success]').getAttribute('aria-pressed') === 'true'")
    assert "wrist camera" in page.run("document.getElementById('verdict').innerText")
    page.key("Delete")
    until(lambda: sitting.phase == "reset")
    page.wait("document.body.dataset.phase === 'reset'")
    page.click("[data-order=undo]")
    time.sleep(0.2)
    assert "undo" not in named(sitting)
    page.click("[data-order=undo]")
    until(lambda: named(sitting)[-1] == "undo")
    page.run("document.querySelector('[data-order=finish]').click()")
    page.run("document.querySelector('[data-order=finish]').click()")
    page.wait("document.body.dataset.phase === 'done'")
    assert "episodes kept" in page.run("document.getElementById('summary').innerText")
    assert named(sitting) == ["next", "flag", "success", "discard", "undo", "finish"]


def test_everything_is_reached_by_keyboard_alone(page: Page, sitting: FakeSitting) -> None:
    reached = walk(page)
    names = [where["name"] for where in reached]
    assert all(where["outline"] >= 2 and where["seen"] for where in reached)
    for wanted in (
        "instruction",
        "mute",
        "drive",
        "next",
        "discard",
        "note",
        "device",
        "task",
        "rehearse",
        "finish",
        "stop",
    ):
        assert wanted in names or wanted == "note", wanted  # a note wants an episode
    assert names.index("drive") < names.index("next") < names.index("stop")
    page.run("document.activeElement.blur()")
    while page.run("document.activeElement.dataset.order") != "takeover":
        page.key("Tab")
    page.key("Space")  # a button that was reached with Tab is pressed with Space
    until(lambda: named(sitting) == ["takeover"])


SLOWLY = [pytest.param(phone, dark, marks=pytest.mark.slow) for phone, dark in ((False, True), (True, False))]


@pytest.mark.parametrize(("phone", "dark"), [(False, False), (True, True), *SLOWLY])
def test_nothing_stands_in_the_way_of_anybody(page: Page, sitting: FakeSitting, phone: bool, dark: bool) -> None:
    page.size(390 if phone else 1280, 844 if phone else 700, phone=phone, dark=dark)
    for phase in PHASES:
        sitting.go(phase, f"Now {phase}.")  # type: ignore[arg-type]
        sitting.troubles = ("camera wrist: no picture – check its cable",) if phase == "fault" else ()
        page.wait(f"document.body.dataset.phase === '{phase}'")
        if phase == "review":
            page.wait("document.querySelector('.findings li')")
        time.sleep(0.25)
        assert problems(page, target=44 if phone else 24) == [], phase
    assert page.errors() == []


def test_buttons_are_there_when_the_session_takes_them() -> None:
    """What the page calls possible in a phase, the session's table calls possible too."""
    words = (PAGE / "index.html").read_text().split("<button")
    asked = 0
    for button in words:
        if 'data-when="' not in button:
            continue
        name, phases = (button.partition(f'data-{what}="')[2].partition('"')[0] for what in ("order", "when"))
        assert set(phases.split()) <= set(PLACES.get(name, (*PHASES, "approach"))), name
        asked += 1
    assert asked == 11


def test_another_page_watches_asks_and_gets(chromium: Callable[[], Page], page: Page, running: Running) -> None:
    other = chromium()
    other.size(1280, 760)
    other.open(running.url)
    other.wait("document.body.dataset.seat === 'watching' && !document.getElementById('ask').hidden")
    other.click("#ask")
    page.send("Page.bringToFront")
    page.wait("!document.getElementById('asked').hidden")
    page.run("document.getElementById('give').click()")
    other.wait("document.body.dataset.seat === 'driving'")
    page.wait("document.body.dataset.seat === 'watching'")
    assert page.run("document.getElementById('next').getAttribute('aria-disabled')") == "true"
    other.send("Page.close")


def test_a_broken_connection_is_said_and_mended(page: Page, sitting: FakeSitting, running: Running) -> None:
    token, port = running.url.partition("token=")[2], int(running.url.split(":")[2].split("/")[0])
    running.stop()
    page.wait("!document.getElementById('lost').hidden && document.body.dataset.seat === 'lost'")
    assert "Trying again" in page.run("document.getElementById('lost').textContent")
    with serve(sitting, port=port, token=token):
        page.wait("document.getElementById('lost').hidden && document.body.dataset.seat === 'driving'", 20)
        page.key("Space")
        until(lambda: sitting.phase == "recording")


def test_the_last_session_lies_over_the_live_picture(page: Page) -> None:
    page.run("document.getElementById('framing').open = true")
    page.run("(e => { e.value = 50; e.dispatchEvent(new Event('input')) })(document.getElementById('overlay'))")
    page.wait("document.querySelector('.reference').width === 320")
    assert page.run("getComputedStyle(document.querySelector('.reference')).opacity") == "0.5"


def test_the_motion_of_a_reduced_page_is_still(page: Page, sitting: FakeSitting) -> None:
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    sitting.go("recording", "Recording.")
    page.wait("document.body.dataset.phase === 'recording'")
    assert page.run("getComputedStyle(document.querySelector('.lamp')).animationName") == "none"
