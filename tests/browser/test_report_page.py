"""The page in a real browser: quiet, self-contained, inert, usable with a finger and on paper."""

from __future__ import annotations

import base64
import re

import pytest

from seatrial.report import Report

pytestmark = pytest.mark.timeout(120)


def page(data):
    return Report(data).to_html()


@pytest.fixture(scope="module")
def pictured(examples):
    return page(examples.pictured())


@pytest.mark.parametrize(
    "name", ["pictured", "ship", "refused", "faults", "check", "bench", "quantized", "interrupted"]
)
def test_nothing_is_loaded_and_the_console_stays_empty(tab, examples, name):
    tab.show(page(examples.ALL[name]()))
    assert tab.errors() == []
    loaded = tab.requests()
    assert all(url.startswith("data:image/") for url in loaded), loaded


def test_the_policy_is_in_force(tab, pictured):
    tab.show(pictured)
    tab.run(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://evil.example/x.png';"
        "document.body.append(i); document.body.setAttribute('style', 'color: red');"
    )
    assert tab.run("return window.ran") is None
    said = " ".join(tab.errors())
    assert all(kind in said for kind in ("script-src", "img-src", "style-src")), said
    assert not [url for url in tab.requests() if "evil" in url]


ATTACKS = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "\"'><svg onload='window.ran = 1'>",
    "</script><script>window.ran = 1</script>",
    "</title></style><script>window.ran = 1</script><!--",
    "{{ 7 * 7 }}{% for x in y %}",
    "javascript:window.ran = 1",
    "\u202egnp.exe\x00\x1b[2J",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_names_are_inert(tab, examples, hostile, attack):
    tab.show(page(hostile.poison(examples.pictured(), attack)))
    tab.run(
        "document.getElementById('node-details').open = true;"
        "document.querySelectorAll('svg.graph g').forEach((g) =>"
        "  g.dispatchEvent(new MouseEvent('click', {bubbles: true})));"
    )
    tab.run("return new Promise((r) => setTimeout(r, 100))")
    assert tab.run("return window.ran") is None
    assert tab.errors() == []
    assert tab.run("return document.querySelectorAll('script').length") == 2
    assert tab.run("return document.querySelectorAll('#node-table tbody tr').length") > 10


def rows_of(tab, table, column):
    return tab.run(
        "const [t, k] = arguments; return [...document.querySelectorAll(t + ' tbody tr')]"
        ".filter((r) => !r.hidden).map((r) => r.cells[k].textContent)",
        table, column,
    )  # fmt: skip


def test_tables_sort_by_number_and_back(tab, examples):
    data = examples.pictured()
    tab.show(page(data))
    name = "#diagnosis details table"
    heads = tab.run(
        "return [...document.querySelectorAll(arguments[0] + ' th')].map((h) => h.textContent)",
        name,
    )
    k = heads.index("SQNR dB")
    click = "document.querySelectorAll(arguments[0] + ' th')[arguments[1]].click()"
    tab.run(click, name, k)
    figures = [float(text) for text in rows_of(tab, name, k)]
    assert figures == sorted(figures) and len(figures) > 20
    tab.run(click, name, k)
    assert [float(text) for text in rows_of(tab, name, k)] == figures[::-1]
    sort = "return document.querySelectorAll(arguments[0] + ' th')[arguments[1]].ariaSort"
    assert tab.run(sort, name, k) == "descending"


def test_sorting_works_from_the_keyboard(tab, pictured):
    tab.show(pictured)
    tab.run(
        "const h = document.querySelector('#support table.sortable th'); h.focus();"
        "h.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));"
    )
    assert tab.run("return document.querySelector('#support th').ariaSort") == "ascending"


def test_a_filter_leaves_the_rows_that_hold_every_word(tab, pictured):
    tab.show(pictured)
    tab.run(
        "const f = document.querySelector('#diagnosis .filter'); f.value = 'conv depthwise';"
        "f.dispatchEvent(new Event('input'));"
    )
    left = rows_of(tab, "#diagnosis details table", 0)
    assert len(left) == 4 and all("depthwise" in name for name in left)
    assert tab.run("return document.querySelector('#diagnosis .hits').textContent") == "4 of 26"


def test_the_map_is_coloured_by_what_is_asked(tab, pictured):
    tab.show(pictured)
    choose = (
        "const s = document.getElementById('map-by'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('change'));"
        "return [...document.querySelectorAll('svg.graph rect')]"
        ".map((r) => r.getAttribute('class'))"
    )
    offered = tab.run("return [...document.getElementById('map-by').options].map((o) => o.value)")
    assert offered == ["int8", "fp32", "claimed", "on", "precision", "ms", "sensitivity", "noise"]
    support = tab.run(choose, "int8")
    assert support.count("c open") == 4 and support.count("c good") == 22
    for way in offered[1:]:
        assert len(tab.run(choose, way)) == 26
    assert len(set(tab.run(choose, "noise"))) > 2 and len(set(tab.run(choose, "ms"))) > 3
    legend = tab.run("return document.getElementById('map-legend').textContent")
    assert "ms" in legend


def test_the_map_zooms_moves_finds_and_tells(tab, pictured):
    tab.show(pictured)
    view = (
        "return document.querySelector('svg.graph').getAttribute('viewBox').split(' ').map(Number)"
    )
    wait = "return new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"
    whole = tab.run(view)
    tab.run("document.getElementById('map-in').click()")
    tab.run(wait)
    assert tab.run(view)[2] == pytest.approx(0.6 * whole[2], rel=0.01)
    tab.run(
        "document.querySelector('svg.graph').dispatchEvent(new WheelEvent('wheel',"
        "{deltaY: -200, clientX: 600, clientY: 400, bubbles: true, cancelable: true}))"
    )
    tab.run(wait)
    assert tab.run(view)[2] < 0.55 * whole[2]
    tab.run("document.getElementById('map-all').click()")
    tab.run(wait)
    assert tab.run(view) == whole
    tab.run(
        "const f = document.getElementById('map-find'); f.value = 'hardswish';"
        "f.dispatchEvent(new Event('input'));"
    )
    assert tab.run("return document.querySelectorAll('svg.graph g.hit').length") == 4
    tab.run(
        "document.querySelector('svg.graph g.hit').dispatchEvent("
        "new MouseEvent('click', {bubbles: true}))"
    )
    said = tab.run("return document.getElementById('map-panel').textContent")
    assert "/features.0/conv/HardSwish" in said and "opset 17" in said
    assert "/0/expand/Conv" in said and "read by" in said


def test_the_table_of_nodes_filters_and_sorts(tab, pictured):
    tab.show(pictured)
    tab.run("document.getElementById('node-details').open = true")
    tab.run("return new Promise((r) => setTimeout(r, 60))")
    assert len(rows_of(tab, "#node-table", 0)) == 26
    tab.run(
        "const k = document.getElementById('node-kind'); k.value = 'open';"
        "k.dispatchEvent(new Event('change'));"
    )
    assert set(rows_of(tab, "#node-table", 1)) == {"HardSwish"}
    tab.run(
        "const k = document.getElementById('node-kind'); k.value = '';"
        "k.dispatchEvent(new Event('change'));"
        "document.querySelectorAll('#node-table th')[7].click();"
    )
    told = [float(text) for text in rows_of(tab, "#node-table", 7) if text != "–"]
    assert told == sorted(told) and len(told) == 25


@pytest.mark.parametrize(("width", "dark"), [(360, False), (390, True), (768, False)])
def test_nothing_is_wider_than_a_small_screen(tab, pictured, width, dark):
    tab.show(pictured, width=width, height=800, dark=dark)
    tab.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert tab.run("return document.documentElement.scrollWidth") <= width
    tall = tab.run("return document.querySelector('.verdict').getBoundingClientRect().bottom")
    assert tall < 400


def contrast(a, b):
    """Contrast of two colours by WCAG 2.2, from 1 to 21."""

    def light(colour):
        parts = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_in_dark(tab, pictured, dark):
    tab.show(pictured, dark=dark)
    pairs = tab.run("""
        const solid = (el) => {
          for (; el; el = el.parentElement) {
            const c = getComputedStyle(el).backgroundColor;
            if (c !== 'rgba(0, 0, 0, 0)') return c;
          }
          return 'rgb(255, 255, 255)';
        };
        return [...document.querySelectorAll('body p, body li, body td, body th, body h2, .badge')]
          .filter((el) => el.textContent.trim() && el.getClientRects().length)
          .map((el) => [getComputedStyle(el).color, solid(el), el.textContent.slice(0, 40)]);
    """)
    assert len(pairs) > 80
    weak = {(a, b): text for a, b, text in pairs if contrast(a, b) < 4.5}
    assert not weak
    paper = tab.run("return getComputedStyle(document.body).backgroundColor")
    assert (contrast(paper, "rgb(0,0,0)") < 4) == dark


@pytest.mark.parametrize("dark", [False, True])
def test_names_on_the_map_can_be_read_in_every_colour(tab, pictured, dark):
    tab.show(pictured, dark=dark)
    kinds = ["c good", "c bad", "c open", "c odd", "c none"]
    kinds += [f"k{i}" for i in range(7)] + [f"c h{i}" for i in range(6)]
    seen = tab.run(
        "const r = document.querySelector('svg.graph rect'), t = r.nextElementSibling;"
        "return arguments[0].map((k) => { r.setAttribute('class', k);"
        " return [k, getComputedStyle(t).fill, getComputedStyle(r).fill]; })",
        kinds,
    )
    weak = {kind: contrast(ink, box) for kind, ink, box in seen if contrast(ink, box) < 4}
    assert not weak


def test_without_script_everything_but_the_controls_is_there(tab, pictured):
    tab.show(pictured, script=False)
    tab.send("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.run("return document.documentElement.classList.contains('js')") is False
    assert tab.run("return document.querySelectorAll('svg.graph g').length") == 26
    assert tab.run("return document.getElementById('map-tools').getClientRects().length") == 0
    assert tab.run("return document.querySelectorAll('svg.plot').length") > 6


def test_it_prints_on_a_few_pages(tab, pictured):
    tab.show(pictured)
    made = tab.send("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
    pdf = base64.b64decode(made["data"])
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20
    tab.send("Emulation.setEmulatedMedia", media="print")
    assert tab.run("return document.querySelector('nav').getClientRects().length") == 0


def test_a_net_of_3000_nodes_stays_usable(tab, examples):
    data = examples.pictured()
    data["model"]["graph"] = examples.graph(blocks=500)
    text = page(data)
    assert len(text) < 2_500_000
    tab.show(text)
    seconds = tab.run("return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
    assert seconds < 20
    assert tab.run("return document.querySelectorAll('svg.graph g').length") == 3002
    tab.run("document.getElementById('node-details').open = true")
    tab.run("return new Promise((r) => setTimeout(r, 300))")
    assert len(rows_of(tab, "#node-table", 0)) == 100
    tab.run("document.getElementById('node-more').click()")
    assert len(rows_of(tab, "#node-table", 0)) == 200
    assert tab.errors() == []
