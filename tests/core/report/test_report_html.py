"""The page: self-contained, inert whatever the names are, complete, and readable by machines."""

from __future__ import annotations

import base64
import copy
import hashlib
import html.parser
import importlib.resources
import importlib.util
import json
import re
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from seatrial.report import Report, finish, rows, speed_rows
from seatrial.report.html import FAILED, charts, graph, layout, render, summary, untried, words
from seatrial.share.redact import share


def beside(name):
    spec = importlib.util.spec_from_file_location(
        f"seatrial_report_{name}", Path(__file__).parent / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


examples, hostile = beside("examples"), beside("hostile")

#: Attributes that any element may have, and what may carry an address.
HARMLESS = re.compile(
    r"^(?:class|id|role|hidden|lang|charset|content|name|http-equiv|title|scope|open|type|alt|loading"
    r"|tabindex|autocomplete|placeholder|viewbox|transform|d|x|y|x1|x2|y1|y2|cx|cy|r|dy|width|height"
    r"|text-anchor|value|aria-[a-z]+|data-i)$"
)
TAGS = re.findall(
    r"\w+",
    """
    html head meta title style body nav div a main header h1 h2 h3 p span dl dt dd section article b
    ul li pre code details summary figure figcaption svg g path rect line circle text table caption
    thead tbody tr th td label input select option button br img footer output script
""",
)


class Page(html.parser.HTMLParser):
    """Tags, attributes, text of scripts and styles, and the visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.raw, self.words, self.sources = [], [], [], [], []
        self._in = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        self.tags.append(tag)
        for key, value in attrs:
            if key == "href":
                assert tag == "a" and re.fullmatch(r"#[a-z-]+", value), value
            elif key == "src":
                assert tag == "img" and re.fullmatch(
                    r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]*", value
                ), value
                self.sources.append(value)
            else:
                assert HARMLESS.match(key), f"{tag} {key}"
            if key == "id":
                self.ids.append(value)
        if tag in ("script", "style"):
            self._in = (tag, dict(attrs).get("type"))

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in:
            self.raw.append((*self._in, data))
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def of(self, tag, kind=None):
        return [text for name, type_, text in self.raw if (name, type_) == (tag, kind)]


@pytest.mark.parametrize("name", examples.ALL)
def test_every_example_is_one_self_contained_page(name):
    data = finish(examples.ALL[name]())
    text = render(data)
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"https?://", text.replace(str(data["next"]), ""))
    assert "url(" not in text and "@import" not in text
    (style,), (script,) = page.of("style"), page.of("script")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    policy = html.unescape(policy)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for part in (style, script):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize("name", examples.ALL)
def test_rendering_is_a_pure_function_of_the_document(name):
    data = finish(examples.ALL[name]())
    before = copy.deepcopy(data)
    first = render(data)
    assert data == before
    assert render(json.loads(json.dumps(data))) == first


@hypothesis.given(name=hostile.names, which=st.sampled_from(sorted(examples.ALL)))
@hypothesis.settings(max_examples=40, deadline=None)
def test_hostile_names_stay_text(name, which):
    report = Report(hostile.poison(examples.ALL[which](), name))
    text = report.to_html()
    Page(text)
    hostile.assert_harmless(re.sub(r"<(style|script)[^>]*>.*?</\1>", "", text, flags=re.DOTALL))
    Page(f"<html>{report._repr_html_()}</html>")


@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_each_known_attack_stays_text(name):
    text = Report(hostile.poison(examples.pictured(), name)).to_html()
    page = Page(text)
    assert page.tags.count("script") == 2
    (island,) = page.of("script", "application/json")
    assert json.loads(island)["names"]
    hostile.assert_harmless(re.sub(r"<(style|script)[^>]*>.*?</\1>", "", text, flags=re.DOTALL))


def test_an_attack_that_looks_like_markup_is_shown_as_it_is():
    text = Report(hostile.poison(examples.pictured(), "<script>alert(1)</script>")).to_html()
    assert "<script>alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_thumbnail_cannot_leave_its_attribute():
    data = finish(examples.pictured())
    data["calibration"]["thumbnails"][0]["picture"] = 'AAAA" onerror="alert(1)'
    assert "data:image/png;base64,AAAAonerror=alert1" in render(data)


def test_the_first_screen_says_verdict_reason_number_and_next():
    data = finish(examples.do_not_ship())
    (card, *_) = summary.cards(data)
    assert card.verdict == "DO NOT SHIP" and card.kind == "bad" and card.sign == "✕"
    assert card.reason and card.next
    row = summary.judged(card.name, data["ladder"])
    assert card.figure == f"{row['drop']:.2f}"
    assert f"limit {row['limit']:g}" in card.detail and f"{row['n']:,} samples" in card.detail
    page = Page(render(data))
    assert page.text.index("DO NOT SHIP") < page.text.index(card.reason)
    for text in data["missing"]:
        assert words.plain(text) in page.text


@pytest.mark.parametrize("hint", ["pip install 'x[y]'", ""])
def test_what_comes_next_for_a_target_that_was_asked_for_and_is_not_there_is_to_install_it(hint):
    data = finish(examples.not_proven())
    target = examples.absent_target(
        verdict="NOT PROVEN",
        decides=True,
        answers=rows.answers("NOT PROVEN", "NOT PROVEN", "not asked"),
    )
    target["availability"]["install_hint"] = hint
    data["targets"].append(target)
    assert data["missing"]
    (card,) = [c for c in summary.cards(data) if c.name == target["target"]]
    assert card.next == (
        f"Install what is missing: {hint}." if hint else "Make it usable on this machine."
    )


def test_no_other_figure_stands_in_for_one_that_was_not_measured():
    data = finish(examples.not_proven())
    data["ladder"] = []
    (card, *_) = [c for c in summary.cards(data) if c.verdict == "NOT PROVEN"]
    assert card.figure == "–" and card.detail == "accuracy was not measured"


def test_a_fault_is_the_figure_of_its_target():
    data = finish(examples.faults())
    made = {c.name: c for c in summary.cards(data)}
    faulted = [t for t in data["targets"] if t["fault"] and t["target"] in made]
    assert faulted
    for target in faulted:
        fault = target["fault"]
        assert made[target["target"]].figure == (fault["signal"] or fault["kind"])
        assert fault["kind"] in made[target["target"]].detail


def test_what_was_not_tried_is_on_the_page():
    data = finish(examples.pictured())
    data["calibration"]["facts"]["pictures"] = "the child died of SIGSEGV"
    text = Page(render(data)).text
    assert "the child died of SIGSEGV" in text
    listed = untried.untried(data, summary.absent(data))
    assert ("audit", "overlap with training data", "no training data") in listed
    for _, what, why in listed:
        assert what in text and why in text
    absent = [t for t in data["targets"] if t["availability"] and not t["availability"]["usable"]]
    for target in absent:
        assert target["availability"]["reason"] in text


def test_each_picture_has_its_figures_as_a_table():
    page = Page(render(finish(examples.pictured())))
    assert page.tags.count("img") >= 3
    for section in ("ladder", "speed", "recovery", "diagnosis", "map", "calibration", "faults"):
        assert section in page.ids
    for told in ("2 layers in float", "INT8 pays here", "last words", "equal to the pixel"):
        assert told in page.text


def test_a_document_of_an_older_version_is_shown_without_what_it_lacks():
    data = finish(examples.pictured())
    del data["logs"], data["sharing"], data["model"]["graph"]
    del data["calibration"]["thumbnails"], data["calibration"]["histograms"]
    for target in data["targets"]:
        for row in target["benchmark"]:
            del row["quantiles_ms"]
    page = Page(render(data))
    assert "map" not in page.ids and "speed" in page.ids


def properties(part):
    """Every property of the schema, wherever it stands."""
    if isinstance(part, dict):
        found = part.get("properties")
        yield from found.items() if isinstance(found, dict) else ()
        for value in part.values():
            yield from properties(value)
    elif isinstance(part, list):
        for value in part:
            yield from properties(value)


def nullable():
    """Names of the numbers that may be null wherever they stand, and of lists of measurements."""
    file = importlib.resources.files("seatrial.report") / "schema" / "report-1.json"
    kinds = {"number": set(), "null": set()}
    for name, value in properties(json.loads(file.read_text("utf-8"))):
        types = {value.get("type")} if isinstance(value.get("type"), str) else value.get("type", ())
        if "number" in types:
            kinds["null" if "null" in types else "number"].add(name)
    lists = {"ci95", "ci95_ms", "value_ci95", "quantiles_ms", "counts"}
    return (kinds["null"] - kinds["number"]) | lists | {"range_lo", "range_hi", "below", "above"}


MAYBE = nullable()


def without_numbers(part, draw, key=""):
    """The document after a NaN here and there: ``finish`` makes null of every one."""
    if isinstance(part, dict):
        return {k: without_numbers(v, draw, k) for k, v in part.items()}
    if isinstance(part, list):
        return [without_numbers(v, draw, key) for v in part]
    return None if isinstance(part, float) and key in MAYBE and draw() else part


@hypothesis.given(
    which=st.sampled_from(sorted(examples.ALL)), random=st.randoms(), share=st.floats(0, 1)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_any_number_may_be_missing(which, random, share):
    data = finish(examples.ALL[which]())
    Page(render(without_numbers(data, lambda: random.random() < share)))
    Page(render(without_numbers(data, lambda: True)))


@pytest.mark.parametrize("level", ["customer", "public"])
def test_a_shared_report_has_no_pictures_and_says_so(level):
    data = share(finish(examples.pictured()), level)
    page = Page(render(data))
    assert page.sources == [] and f"Made to be shared ({level})" in page.text
    assert "last words" not in page.text and "a/1.png" not in page.text
    assert ("HardSwish" in page.text) and ("/stem/Conv" in render(data)) == (level == "customer")


def test_a_page_that_cannot_be_drawn_costs_no_report(tmp_path):
    report = Report(examples.ship())
    report.data["model"]["graph"] = "<b>odd</b>"
    path = report.write(tmp_path)
    said = path.with_name("report.html").read_text("utf-8")
    assert FAILED in said and "report.json" in said and "<b>odd" not in said
    assert json.loads(path.read_text("utf-8"))["verdict"] == "SHIP"


# --- the graph ------------------------------------------------------------------------------------


def facts_of(data):
    return graph.facts(finish(data))


def test_the_map_tells_what_the_document_says_of_each_node():
    known = facts_of(examples.pictured())
    target = known["targets"][0]
    where = known["names"].index
    swish = where("/features.0/conv/HardSwish")
    assert target["int8"][swish] == "f" and target["fp32"][swish] == "t"
    assert "opset 17" in target["why"][str(swish)]
    assert target["int8"][where("/stem/Conv")] == "t"
    assert target["precision"]["kinds"][target["precision"]["codes"][0]] == "FP32"
    assert target["ms"][3] == pytest.approx(0.03) and target["ms"][-1] is None
    assert known["sensitivity"][0] == pytest.approx(0.1)
    assert known["noise"][2] == pytest.approx(35.0)
    assert known["float"] == []


def test_a_table_that_was_not_asked_is_not_a_yes():
    data = examples.pictured()
    first = data["targets"][0]
    first["claimed"] = None
    first["built"]["int8"]["fault"] = examples.fault("crashed", "build", "died")
    target = facts_of(data)["targets"][0]
    assert set(target["claimed"]) == {"-"} and set(target["int8"]) == {"-"}
    first["built"] = first["ran"] = None
    assert first["target"] not in [t["name"] for t in facts_of(data)["targets"]]


@st.composite
def dags(draw):
    size = draw(st.integers(1, 60))
    near = st.integers(1, 12)
    return [
        sorted({i - draw(near) for _ in range(draw(st.integers(0, 3)))} & set(range(i)))
        for i in range(size)
    ]


@hypothesis.given(reads=dags())
@hypothesis.settings(max_examples=60, deadline=None)
def test_no_two_nodes_overlap_and_readers_come_later(reads):
    found = layout.place(reads)
    wide, tall = layout.BOX
    for i, (x, y) in enumerate(found.centres):
        assert 0 <= x <= found.width and 0 <= y <= found.height
        for a, b in found.centres[:i]:
            assert abs(x - a) > wide or abs(y - b) > tall
    for b, sources in enumerate(reads):
        for a in sources:
            assert found.column[a] <= found.column[b]
            if found.column[a] == found.column[b]:
                assert found.centres[a][1] < found.centres[b][1]


def test_a_circle_and_a_node_that_does_not_exist_do_no_harm():
    found = layout.place([[1, 99, -5], [0], [1, 2]])
    assert len(set(found.centres)) == 3
    assert layout.place([]).centres == []


# --- charts ---------------------------------------------------------------------------------------


def marks(svg, kind):
    return re.findall(rf'<(?:line|rect|circle|path)[^>]*class="{kind}"[^>]*>', str(svg))


def number(mark, key):
    return float(re.search(rf'\b{key}="([-\d.]+)"', mark).group(1))


def test_the_ladder_puts_dot_interval_and_limit_in_order():
    row = examples.ladder_rows(drop=0.31, ci95=(-0.14, 0.74))[-1]
    svg = charts.ladder([row])
    (dot,), (line,), (limit,) = (marks(svg, k) for k in ("dot good", "whisker good", "limit"))
    assert number(line, "x1") < number(dot, "cx") < number(line, "x2") < number(limit, "x1")
    (zero,) = marks(svg, "zero")
    assert number(line, "x1") < number(zero, "x1") < number(dot, "cx")


@hypothesis.given(
    drop=st.floats(-100, 100), width=st.floats(0, 100), limit=st.none() | st.floats(0, 50)
)
@hypothesis.settings(max_examples=40, deadline=None)
def test_any_ladder_can_be_drawn(drop, width, limit):
    row = examples.ladder_rows(drop=drop, ci95=(drop - width, drop + width))[-1]
    svg = charts.ladder([row | {"limit": limit}])
    (line,) = marks(svg, "whisker good")
    assert number(line, "x1") <= number(line, "x2") + 0.1


@hypothesis.given(ms=st.floats(1e-4, 1e5), spread=st.floats(1.0, 1000.0))
@hypothesis.settings(max_examples=40, deadline=None)
def test_any_latency_can_be_drawn(ms, spread):
    slow = ms * spread
    steps = [ms + (slow - ms) * k / 40 for k in range(41)]
    row = speed_rows.benchmark("INT8", p50_ms=steps[20], p90_ms=steps[36], p99_ms=slow)
    svg = charts.latency([("x", row | {"quantiles_ms": steps})], {"quantile": "p99", "ms": ms})
    (most,), (half,) = marks(svg, "strip int most"), marks(svg, "strip int half")
    assert number(most, "x") <= number(half, "x") + 0.11
    assert number(most, "width") >= number(half, "width") - 0.11


def test_clipped_bins_are_marked():
    (row, empty) = examples.audited()["histograms"]
    svg = charts.histogram(row)
    assert len(marks(svg, "column clipped")) == 2 and len(marks(svg, "column")) == 6
    assert marks(svg, "outside")
    assert charts.histogram(empty) == ""


def test_numbers_in_names_are_left_alone():
    data = finish(examples.pictured())
    data["targets"][0]["target"] = "chip:v1.23456789"
    assert "chip:v1.23456789" in Page(render(data)).text


# --- notebooks ------------------------------------------------------------------------------------


def test_a_notebook_shows_the_verdict_without_style_or_script():
    text = Report(examples.do_not_ship())._repr_html_()
    page = Page(text)
    assert "DO NOT SHIP" in page.text and "openvino:CPU" in page.text
    assert not {"script", "style", "svg"} & set(page.tags) and len(text) < 8000


def test_the_lists_as_data_frames():
    pytest.importorskip("pandas")
    tables = Report(examples.pictured()).tables()
    assert set(tables["targets"]["verdict"]) >= {"DO NOT SHIP", "SHIP"}
    assert tables["benchmark"]["p50_ms"].notna().all()
    assert set(tables["noise"]["candidate"]) == {"mse-per-channel"}
    assert len(tables["points"]) == 3 and "scores.kl" in tables["candidates"]
    assert tables["audit"]["level"].tolist() == ["error", "warning", "info"]
    for name in examples.ALL:
        Report(examples.ALL[name]()).tables()


def test_a_gain_is_told_as_one():
    data = finish(examples.ship())
    (card, *_) = summary.cards(data)
    row = summary.judged(card.name, data["ladder"])
    assert card.unit.endswith(" lost")
    row.update(drop=-0.25, ci95=[-0.81, 0.28])
    (card, *_) = summary.cards(data)
    assert card.figure == "0.25" and card.unit.endswith(" gained")
    assert "95 % interval of the loss [−0.81, 0.28]" in card.detail


def test_a_failure_points_at_a_section_that_is_there():
    data = finish(examples.do_not_ship())
    for target in data["targets"]:
        target["reasons"] = []
    page = Page(render(data)).text
    for title in ("Where accuracy is lost", "What float would cost"):
        told = any(title in card.next for card in summary.cards(data))
        assert not told or page.count(title) > 1
    data["diagnosis"] = []
    assert not any("Where accuracy is lost" in card.next for card in summary.cards(data))
