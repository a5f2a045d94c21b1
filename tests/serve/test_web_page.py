"""The page in a real browser with a microphone that plays a file: enroll, verify, identify, delete; keys; words."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mvector.serve.keys import key_line, new_key
from tests.serve.browser import Page, chromium, needs_chromium
from tests.serve.processes import Running, running_service
from tests.serve.sound_files import encoded

pytestmark = [needs_chromium, pytest.mark.slow]
PICTURES = os.environ.get("MVECTOR_PAGE_PICTURES")  # a folder, to look at the page oneself


@pytest.fixture(scope="module")
def service(served_model, tmp_path_factory):
    with running_service(served_model, tmp_path_factory.mktemp("service"), "--rate_limit", "0") as running:
        yield running


@pytest.fixture(scope="module")
def microphone(make_voice, tmp_path_factory):
    path = tmp_path_factory.mktemp("microphone") / "voice.wav"
    path.write_bytes(encoded(make_voice(6.0, 48000), "wav", 48000))
    return path


@pytest.fixture(scope="module")
def tab(microphone, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser"), microphone) as page:
        yield page


@pytest.fixture
def page(tab: Page, service: Running):
    tab.problems.clear()
    tab.shape(1000, 900)
    tab.open(f"{service.address}/?{os.urandom(4).hex()}")
    tab.wait_for("document.querySelector('#people-state').textContent !== ''")
    return tab


def picture(page: Page, name: str) -> None:
    if PICTURES:
        os.makedirs(PICTURES, exist_ok=True)
        page.picture(Path(PICTURES) / f"{name}.png")


def choose(page: Page, task: str) -> None:
    page.click(f"input[value={task}]")


def record(page: Page, seconds: float) -> None:
    page.click("#record")
    page.wait_for("document.querySelector('#record').classList.contains('recording')")
    page.wait_for(f"parseFloat(document.querySelector('#timer').textContent) >= {seconds}")
    page.wait_for("document.querySelector('#level').value > 0.5")  # the fake microphone is heard, between the syllables
    assert page.is_shown("#level")
    page.click("#record")
    page.wait_for("!document.querySelector('#send').disabled")


def send(page: Page) -> str:
    page.click("#send")
    answered = "!$('#result').hidden && !$('#verdict').textContent.endsWith('…') || !$('#notice').hidden"
    page.wait_for(answered.replace("$", "document.querySelector"))
    return page.text("#notice") or page.text("#verdict")


def test_a_voice_is_enrolled_verified_identified_and_deleted(page):
    choose(page, "enroll")
    assert page.is_shown("#name")
    page.evaluate("document.querySelector('#name').value = '贝拉 & <b>co</b>'")
    record(page, 7.0)
    assert page.is_shown("#playback")
    assert page.is_shown("#waveform")
    duration = page.evaluate(
        "new Promise(done => { const a = document.querySelector('#playback');"
        " a.readyState ? done(a.duration) : a.onloadedmetadata = () => done(a.duration); })"
    )
    assert duration == pytest.approx(float(page.text("#timer").split()[0]), abs=0.1)
    inked = page.evaluate(
        "(() => { const c = document.querySelector('#waveform');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n / (d.length / 4); })()"
    )
    assert 0.05 < inked < 0.9
    assert send(page) == "贝拉 & <b>co</b> is enrolled."
    assert page.text("#numbers") == "1 recording"
    page.wait_for("document.querySelectorAll('#people li').length === 1")
    assert page.text("#people li .who").startswith("贝拉 & <b>co</b>")

    choose(page, "verify")
    record(page, 7.0)
    assert send(page) == "This is 贝拉 & <b>co</b>."
    assert page.is_shown("#scale")
    label = page.evaluate("document.querySelector('#scale').getAttribute('aria-label')")
    score, threshold = (float(part.split()[1]) for part in page.text("#numbers").split(" · ")[:2])
    assert f"Score {score:.2f}" in label
    assert threshold == 0.25
    at = page.evaluate("document.querySelector('#scale .score').cx.baseVal.value")
    line = page.evaluate("document.querySelector('#scale .threshold').x1.baseVal.value")
    assert (at > line) == (score > threshold)
    picture(page, "verified")

    choose(page, "identify")
    assert not page.is_shown("#name")
    assert send(page) == "This is 贝拉 & <b>co</b>."

    page.click("#language")  # the answer is said again in the other language
    assert page.text("#verdict") == "这是贝拉 & <b>co</b>。"
    picture(page, "chinese")
    page.click("#language")

    page.click("#people button")
    assert page.evaluate("document.querySelector('#confirm').open")
    assert "贝拉 & <b>co</b>" in page.text("#confirm-text")
    picture(page, "confirm")
    page.click("#confirm button[value=no]")
    page.wait_for("!document.querySelector('#confirm').open")
    assert page.evaluate("document.querySelectorAll('#people li').length") == 1
    page.click("#people button")
    page.click("#confirm button[value=yes]")
    page.wait_for("document.querySelectorAll('#people li').length === 0")
    page.wait_for("document.querySelector('#people-state').textContent.includes('is deleted')")
    assert page.problems == []


def test_the_recording_is_what_the_microphone_gave(page, microphone):
    """16 bit WAV; nothing of what browsers do to a voice for telephony (a gain, suppression of noise) is in it."""
    page.evaluate(
        "window.asked = []; const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        " navigator.mediaDevices.getUserMedia = (wish) => { window.asked.push(wish); return ask(wish); };"
        " const make = URL.createObjectURL.bind(URL);"
        " URL.createObjectURL = (blob) => { window.made = blob; return make(blob); }"
    )
    record(page, 7.0)
    wish = page.evaluate("window.asked[0].audio")
    assert [wish[name] for name in ("echoCancellation", "noiseSuppression", "autoGainControl")] == [False] * 3
    data = bytes(page.evaluate("window.made.arrayBuffer().then(bytes => [...new Uint8Array(bytes)])"))
    assert (data[:4], data[8:16], int.from_bytes(data[34:36], "little")) == (b"RIFF", b"WAVEfmt ", 16)
    from mvector.audio import load_audio

    heard, played = load_audio(data, 16000), load_audio(microphone, 16000)
    # Where in the looping file a second of the recording stood is found by correlation; there it is the file. Chromium
    # loses sound where the machine is busy, so one unbroken second is what is asked for.
    looped, size, found = np.tile(played, 3), 1 << 19, {}
    spectrum = np.fft.rfft(looped, size)
    for start in range(16000, len(heard) - 16000, 4000):
        part = heard[start : start + 16000]
        at = int(np.fft.irfft(spectrum * np.conj(np.fft.rfft(part, size)), size)[: len(looped) - len(part)].argmax())
        original = looped[at : at + len(part)]
        found[np.corrcoef(original, part)[0, 1]] = np.std(part) / np.std(original)
    best = max(found)
    assert best > 0.98
    assert found[best] == pytest.approx(1.0, abs=0.1)


def test_a_file_is_taken_instead_and_a_bad_one_is_told(page, microphone, tmp_path):
    bad = tmp_path / "text.wav"
    bad.write_text("no sound", encoding="utf-8")
    for path, expected in ((microphone, "Nobody of the enrolled people."), (bad, "This file cannot be read as sound.")):
        document = page.call("DOM.getDocument")["root"]["nodeId"]
        node = page.call("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
        page.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)
        page.wait_for("!document.querySelector('#send').disabled")
        assert send(page).startswith(expected)


def test_it_is_used_with_the_keyboard_alone(page):
    page.evaluate("document.activeElement.blur()")
    seen = []
    for _ in range(12):
        page.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className || "
                                  "document.activeElement.name"))  # fmt: skip
        outline = page.evaluate(
            "(() => { const e = document.activeElement; const shown = e.type === 'radio' || e.type === 'file'"
            " ? e.nextElementSibling : e; return getComputedStyle(shown).outlineStyle; })()"
        )
        assert outline != "none", seen
        if seen[-1] == "record":
            break
    assert seen[0] == "skip"
    assert {"language", "task", "record"} <= set(seen)
    page.press(" ", " ")
    page.wait_for("document.querySelector('#record').classList.contains('recording')")
    page.wait_for("parseFloat(document.querySelector('#timer').textContent) >= 1.5")
    page.press("Enter", "\r")
    page.wait_for("!document.querySelector('#send').disabled")
    page.evaluate("document.querySelector('input[value=identify]').focus()")
    page.press("ArrowRight")
    assert page.evaluate("document.querySelector('input[name=task]:checked').value") == "verify"
    assert page.is_shown("#name")


def test_what_a_screen_reader_needs_is_there(page):
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    nodes = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    for role, name in (
        ("RootWebArea", "Speaker recognition"),
        ("button", "Record"),
        ("radio", "Who is this?"),
        ("radio", "Is it this person?"),
        ("button", "中文"),
        ("heading", "Enrolled people"),
        ("main", ""),
    ):
        assert (role, name) in nodes, nodes
    assert all(name for role, name in nodes if role in ("button", "radio", "textbox", "link", "image", "dialog"))
    assert page.evaluate("document.querySelector('#result').getAttribute('aria-live')") == "polite"
    assert page.evaluate("document.querySelector('#notice').getAttribute('role')") == "alert"
    assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (320, False), (1280, True)])
def test_it_fits_a_phone_and_is_readable_in_light_and_dark(page, width, dark):
    page.shape(width, 844, dark, scale=2.0 if width < 600 else 1.0)
    choose(page, "enroll")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('button, .button, .choices span')]"
        ".filter(e => e.getClientRects().length && e.getBoundingClientRect().height < 43).map(e => e.outerHTML)"
    )
    assert small == []
    colours = page.evaluate(
        "['body', '.hint', '#send', '#language', '#record'].map(s => { const e = document.querySelector(s);"
        " let b = e; const clear = 'rgba(0, 0, 0, 0)';"
        " while (getComputedStyle(b).backgroundColor === clear && b.parentElement) b = b.parentElement;"
        " return [s, getComputedStyle(e).color, getComputedStyle(b).backgroundColor]; })"
    )
    for selector, ink, paper in colours:
        assert contrast(ink, paper) >= 4.5, (selector, ink, paper)
    picture(page, f"{width}{'-dark' if dark else ''}")


def contrast(ink: str, paper: str) -> float:
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""

    def luminance(colour: str) -> float:
        values = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_over_plain_http_from_elsewhere_it_says_why_it_cannot_record(page):
    page.evaluate(
        "(async () => { Object.defineProperty(window, 'isSecureContext', { value: false });"
        " document.querySelector('#language').click(); document.querySelector('#language').click(); })()"
    )
    assert page.is_shown("#no-microphone")
    assert "https://" in page.text("#no-microphone")
    assert page.evaluate("document.querySelector('#record').disabled")
    picture(page, "insecure")


def test_a_chinese_browser_reads_chinese_and_a_key_is_asked_for(served_model, tmp_path, make_voice, microphone):
    key = new_key()
    keys = tmp_path / "keys.txt"
    keys.write_text(key_line("phone", ["identify", "list"], key) + "\n", encoding="utf-8")
    with (
        running_service(served_model, tmp_path, "--keys", str(keys)) as service,
        chromium(tmp_path / "browser", microphone, "zh-CN") as page,
    ):
        page.open(service.address + "/")
        page.wait_for("!document.querySelector('#key-form').hidden")
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        assert page.text("h1") == "声纹识别"
        assert page.evaluate("document.activeElement.id") == "key"
        for presented, then in (("mv_wrong", "没有这个 API 密钥。"), (key, "还没有人注册。")):
            page.type(presented)
            page.press("Enter", "\r")
            page.wait_for(f"document.body.innerText.includes({json.dumps(then)})")
            page.evaluate("document.querySelector('#key').focus()")
        picture(page, "chinese-key")
        choose(page, "enroll")
        page.evaluate("document.querySelector('#name').value = '贝拉'")
        record(page, 1.5)
        assert send(page) == "此 API 密钥不能这样做。"
