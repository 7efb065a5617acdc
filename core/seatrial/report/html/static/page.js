"use strict";
// Sorting, filtering, the model map. All text is set as text, never as markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, kind, text) => {
    const el = document.createElement(tag);
    if (kind) el.className = kind;
    if (text !== undefined && text !== null) el.textContent = text;
    return el;
  };
  document.documentElement.classList.add("js");

  const order = new Intl.Collator("en", { numeric: true }).compare; // ten times localeCompare
  // --- tables -------------------------------------------------------------------------------
  const figure = (text) => {
    const found = /^[^\d−-]{0,2}([−-]?[\d,]*\.?\d+(?:e[−+-]?\d+)?)/.exec(text.trim());
    return found ? Number(found[1].replaceAll(",", "").replaceAll("−", "-")) : null;
  };
  const compare = (a, b) => {
    const x = figure(a), y = figure(b);
    if (x !== null && y !== null) return x - y;
    if (x !== null || y !== null) return x === null ? 1 : -1;
    return order(a, b);
  };
  const PAGE = 100;
  function live(table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const box = table.closest(".tablebox");
    const filter = box && box.querySelector(".filter");
    const hits = box && box.querySelector(".hits");
    let most = table.classList.contains("paged") ? PAGE : Infinity;
    let more = null;
    const show = () => {
      const words = filter ? filter.value.trim().toLowerCase().split(/\s+/) : [];
      let found = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const hit = words.every((w) => text.includes(w));
        found += hit;
        row.hidden = !hit || found > most;
      }
      if (hits) hits.textContent = filter.value ? `${found} of ${rows.length}` : "";
      if (more) more.hidden = found <= most;
    };
    if (most < Infinity) {
      more = make("button", "", "Show all");
      more.type = "button";
      more.addEventListener("click", () => { most = Infinity; show(); });
      box.append(more);
    }
    if (filter) filter.addEventListener("input", show);
    sortable(heads, (i, up) => {
      rows.sort((a, b) => (up ? 1 : -1) * compare(a.cells[i].textContent, b.cells[i].textContent));
      body.append(...rows);
      show();
    });
    show();
  }
  function sortable(heads, sort) {
    heads.forEach((head, i) => {
      head.setAttribute("aria-sort", "none");
      head.tabIndex = 0;
      const go = () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((h) => h.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        sort(i, up);
      };
      head.addEventListener("click", go);
      head.addEventListener("keydown", (e) => {
        if (e.key === "Enter" || e.key === " ") { e.preventDefault(); go(); }
      });
    });
  }
  document.querySelectorAll("table.sortable").forEach(live);
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((d) => { if (d.id !== "node-details") d.open = true; });
  });

  // --- the model map ------------------------------------------------------------------------
  const island = $("map-data");
  if (!island) return;
  const facts = JSON.parse(island.textContent);
  const svg = document.querySelector("svg.graph");
  const boxes = [...svg.querySelectorAll("g[data-i]")];
  const rects = boxes.map((g) => g.firstElementChild);
  const centres = boxes.map((g) => /([-\d.]+),([-\d.]+)/.exec(g.getAttribute("transform")).slice(1).map(Number));
  const readers = facts.reads.map(() => []);
  facts.reads.forEach((all, i) => all.forEach((a) => readers[a].push(i)));
  const inFloat = new Set(facts.float);
  let target = facts.targets[0] || null;

  const short = (v) => (v === null || v === undefined ? "–" : Number(v.toPrecision(3)).toString());
  const brief = (v) => Number(v.toPrecision(2)).toString();
  const steps = (values) => {
    const known = values.filter((v) => v !== null && v > 0);
    const most = known.reduce((a, b) => Math.max(a, b), 0);
    const ends = [0.02, 0.1, 0.25, 0.5, 1].map((share) => share * most);
    return { ends, of: (v) => (v === null ? "none" : "h" + (v <= 0 || !most ? 0 : ends.findIndex((e) => v <= e * 1.000001) + 1)) };
  };
  const heat = (values, unit) => {
    const scale = steps(values);
    if (!scale.ends[4]) return { of: () => "c none", legend: [["none", "nothing measured"]] };
    const legend = [["none", "not told"], ["h0", "none"]];
    let low = 0;
    scale.ends.forEach((end, i) => { legend.push(["h" + (i + 1), `${brief(low)} to ${brief(end)} ${unit}`]); low = end; });
    return { of: (i) => "c " + scale.of(values[i]), legend };
  };
  const letters = (key, meaning) => ({
    of: (i) => "c " + meaning[target[key][i]][0],
    legend: [...new Set(target[key])].map((c) => meaning[c]),
  });
  const kinds = (key) => ({
    of: (i) => (target[key].codes[i] < 0 ? "c none" : "k" + target[key].codes[i]),
    legend: [...target[key].kinds.map((name, i) => ["k" + i, name]), ["none", "not told"]],
  });
  const WAYS = {
    int8: ["support, INT8 build", () => letters("int8", facts.builds)],
    fp32: ["support, float build", () => letters("fp32", facts.builds)],
    claimed: ["support, by tables", () => letters("claimed", facts.claims)],
    on: ["where it ran", () => kinds("on")],
    precision: ["precision it ran in", () => kinds("precision")],
    ms: ["time", () => heat(target.ms, "ms")],
    sensitivity: ["gain if kept in float", () => heat(facts.sensitivity, "")],
    noise: ["quantisation noise", () => noisy()],
    float: ["kept in float by choice", () => ({ of: (i) => (inFloat.has(i) ? "k1" : "k0"), legend: [["k0", "INT8 or as it came"], ["k1", "kept in float"]] })],
  };
  const noisy = () => {
    const of = (v) => (v === null ? "none" : v < 10 ? "h5" : v < 15 ? "h4" : v < 20 ? "h3" : v < 30 ? "h2" : "h1");
    return {
      of: (i) => "c " + of(facts.noise[i]),
      legend: [["none", "not told"], ["h1", "over 30 dB"], ["h2", "20 to 30 dB"], ["h3", "15 to 20 dB"], ["h4", "10 to 15 dB"], ["h5", "under 10 dB"]],
    };
  };
  const offered = (key) => {
    if (key === "sensitivity" || key === "noise") return facts[key].some((v) => v !== null);
    if (key === "float") return inFloat.size > 0;
    if (!target) return false;
    if (key === "on" || key === "precision") return target[key].kinds.length > 0;
    if (key === "ms") return target.ms.some((v) => v !== null);
    return /[^-]/.test(target[key]);
  };
  const by = $("map-by"), which = $("map-target"), find = $("map-find"), legend = $("map-legend");
  const offer = () => {
    const before = by.value;
    by.replaceChildren(...Object.keys(WAYS).filter(offered).map((key) => { const o = make("option", "", WAYS[key][0]); o.value = key; return o; }));
    if ([...by.options].some((o) => o.value === before)) by.value = before;
  };
  const colour = () => {
    if (!by.value) return;
    const way = WAYS[by.value][1]();
    rects.forEach((rect, i) => rect.setAttribute("class", way.of(i)));
    legend.replaceChildren(...way.legend.map(([kind, name]) => {
      const item = make("span");
      item.append(make("i", kind), document.createTextNode(name));
      return item;
    }));
  };
  facts.targets.forEach((t, i) => { const o = make("option", "", t.name); o.value = i; which.append(o); });
  offer();
  // At first the question with more than one answer: a picture of one colour tells nothing.
  const telling = [...by.options].find((o) => {
    const way = WAYS[o.value][1]();
    return o.value !== "claimed" && new Set(rects.map((_, i) => way.of(i))).size > 1;
  });
  if (telling) by.value = telling.value;
  by.addEventListener("change", colour);
  which.addEventListener("change", () => { target = facts.targets[which.value]; offer(); colour(); if (chosen >= 0) choose(chosen); nodes(); });
  $("map-tools").hidden = false;

  // Zoom and pan by the viewBox; names are drawn only when they can be read.
  const whole = svg.getAttribute("viewBox").split(" ").map(Number);
  let view = [...whole];
  let waiting = false;
  const apply = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      svg.setAttribute("viewBox", view.map((v) => v.toFixed(1)).join(" "));
      const scale = Math.min(svg.clientWidth / view[2], svg.clientHeight / view[3]);
      svg.classList.toggle("far", scale < 0.52);
    });
  };
  const zoom = (factor, x, y) => {
    const wide = Math.min(Math.max(view[2] * factor, 160), whole[2] * 1.5);
    const k = wide / view[2];
    view = [x - (x - view[0]) * k, y - (y - view[1]) * k, wide, view[3] * k];
    apply();
  };
  const at = (event) => {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [p.x, p.y];
  };
  const middle = () => [view[0] + view[2] / 2, view[1] + view[3] / 2];
  const centre = (i, wide) => {
    const w = Math.min(wide, whole[2]);
    const h = w * whole[3] / whole[2];
    view = [centres[i][0] - w / 2, centres[i][1] - h / 2, w, h];
    apply();
  };
  svg.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(e.deltaY * 0.0015), ...at(e)); }, { passive: false });
  const held = new Map();
  let moved = 0;
  svg.addEventListener("pointerdown", (e) => { held.set(e.pointerId, [e.clientX, e.clientY]); if (held.size === 1) moved = 0; });
  addEventListener("pointerup", (e) => held.delete(e.pointerId));
  addEventListener("pointercancel", (e) => held.delete(e.pointerId));
  svg.addEventListener("pointermove", (e) => {
    const last = held.get(e.pointerId);
    if (!last) return;
    const scale = 1 / svg.getScreenCTM().a;
    const dx = e.clientX - last[0], dy = e.clientY - last[1];
    moved += Math.abs(dx) + Math.abs(dy);
    if (held.size === 2) {
      const other = [...held].find(([id]) => id !== e.pointerId)[1];
      const gap = (x, y) => Math.hypot(x - other[0], y - other[1]) || 1;
      zoom(gap(...last) / gap(e.clientX, e.clientY), ...at({ clientX: (e.clientX + other[0]) / 2, clientY: (e.clientY + other[1]) / 2 }));
    } else {
      view = [view[0] - dx * scale, view[1] - dy * scale, view[2], view[3]];
      apply();
    }
    held.set(e.pointerId, [e.clientX, e.clientY]);
  });
  svg.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (step) { e.preventDefault(); view = [view[0] + step[0] * view[2] / 8, view[1] + step[1] * view[3] / 8, view[2], view[3]]; apply(); }
    if (e.key === "+" || e.key === "-") zoom(e.key === "+" ? 0.8 : 1.25, ...middle());
  });
  $("map-in").addEventListener("click", () => zoom(0.6, ...middle()));
  $("map-out").addEventListener("click", () => zoom(1 / 0.6, ...middle()));
  $("map-all").addEventListener("click", () => { view = [...whole]; apply(); });

  // One node: everything that is known of it, on every target.
  const panel = $("map-panel");
  let chosen = -1;
  const cells = (t, i) => [
    t.name, facts.claims[t.claimed[i]][1], facts.builds[t.fp32[i]][1], facts.builds[t.int8[i]][1],
    t.on.codes[i] < 0 ? "–" : t.on.kinds[t.on.codes[i]],
    t.precision.codes[i] < 0 ? "–" : t.precision.kinds[t.precision.codes[i]],
    t.ms[i] === null ? "–" : short(t.ms[i]) + " ms" + (t.shared[i] > 1 ? ` (with ${t.shared[i] - 1} others)` : ""),
  ];
  function choose(i) {
    if (chosen >= 0) boxes[chosen].classList.remove("chosen");
    chosen = i;
    boxes[i].classList.add("chosen");
    const head = make("h3", "", `${facts.ops[i]}: ${facts.names[i]}`);
    const table = make("table");
    const top = table.createTHead().insertRow();
    for (const name of ["target", "tables", "float build", "INT8 build", "ran on", "precision", "time"]) top.append(make("th", "", name));
    const body = table.createTBody();
    facts.targets.forEach((t) => { const row = body.insertRow(); cells(t, i).forEach((c) => row.append(make("td", "", c))); });
    const scroll = make("div", "scroll");
    scroll.append(table);
    const notes = [];
    const links = (name, all) => {
      if (!all.length) return;
      const line = make("p", "note", name + " ");
      all.slice(0, 12).forEach((j) => {
        const b = make("button", "link", `${facts.ops[j]} ${facts.names[j]}`);
        b.type = "button";
        b.addEventListener("click", () => { choose(j); centre(j, 1100); });
        line.append(b, " ");
      });
      if (all.length > 12) line.append(`and ${all.length - 12} more`);
      notes.push(line);
    };
    links("reads", facts.reads[i]);
    links("read by", readers[i]);
    facts.targets.forEach((t) => { if (t.why[i]) notes.push(make("p", "note", `${t.name}: ${t.why[i]}`)); });
    if (facts.noise[i] !== null) notes.push(make("p", "note", `quantisation noise ${facts.noise[i].toFixed(0)} dB`));
    if (facts.sensitivity[i] !== null) notes.push(make("p", "note", `expected gain if kept in float: ${short(facts.sensitivity[i])}`));
    if (inFloat.has(i)) notes.push(make("p", "note", "kept in float by the search for mixed precision"));
    panel.replaceChildren(head, scroll, ...notes);
    panel.hidden = false;
  }
  svg.addEventListener("click", (e) => {
    const g = e.target.closest("g[data-i]");
    if (g && moved < 6) choose(Number(g.dataset.i));
  });
  find.addEventListener("input", () => {
    const word = find.value.trim().toLowerCase();
    let first = -1;
    boxes.forEach((g, i) => {
      const hit = word && (facts.names[i].toLowerCase().includes(word) || facts.ops[i].toLowerCase().includes(word));
      g.classList.toggle("hit", Boolean(hit));
      g.classList.toggle("dim", Boolean(word) && !hit);
      if (hit && first < 0) first = i;
    });
    if (!word) { view = [...whole]; apply(); } else if (first >= 0) centre(first, 1400);
  });

  // The table of all nodes: a hundred rows at a time.
  const HEADS = ["node", "operator", "tables", "float build", "INT8 build", "ran on", "precision", "ms", "dB", "gain"];
  const table = $("node-table");
  const top = table.createTHead().insertRow();
  HEADS.forEach((name, k) => top.append(make("th", k > 6 ? "right" : "", name)));
  const body = table.createTBody();
  let most = PAGE, sort = null;
  const every = facts.names.map((_, i) => i);
  const value = (i, k) => {
    const t = target;
    return k === 0 ? facts.names[i] : k === 1 ? facts.ops[i] : k === 8 ? facts.noise[i] : k === 9 ? facts.sensitivity[i]
      : !t ? "" : k === 7 ? t.ms[i] : cells(t, i)[k - 1];
  };
  const worst = (i) => {
    if (!target) return "";
    const found = [facts.claims[target.claimed[i]][0], facts.builds[target.fp32[i]][0], facts.builds[target.int8[i]][0]];
    return found.includes("bad") ? "bad" : found.includes("open") ? "open" : "";
  };
  function nodes() {
    if (!$("node-details").open) return;
    const words = $("node-filter").value.trim().toLowerCase().split(/\s+/);
    const kind = $("node-kind").value;
    const found = every.filter((i) => (!kind || (kind === "float" ? inFloat.has(i) : worst(i) === kind))
      && words.every((w) => (facts.names[i] + " " + facts.ops[i] + " " + (target ? cells(target, i).join(" ") : "")).toLowerCase().includes(w)));
    if (sort) {
      const keys = new Map(found.map((i) => [i, value(i, sort[0])]));
      const less = (a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
        return sort[1] * (typeof x === "number" ? x - y : order(x, y)) || a - b;
      };
      found.sort(less);
    }
    body.replaceChildren(...found.slice(0, most).map((i) => {
      const row = make("tr", worst(i));
      HEADS.forEach((_, k) => { const v = value(i, k); row.append(make("td", k > 6 ? "right" : "", typeof v === "number" ? short(v) : v ?? "–")); });
      row.addEventListener("click", () => { choose(i); centre(i, 900); });
      return row;
    }));
    $("node-hits").textContent = `${found.length} of ${facts.names.length}`;
    $("node-more").hidden = found.length <= most;
  }
  sortable([...top.cells], (k, up) => { sort = [k, up ? 1 : -1]; nodes(); });
  $("node-filter").addEventListener("input", () => { most = PAGE; nodes(); });
  $("node-kind").addEventListener("change", () => { most = PAGE; nodes(); });
  $("node-more").addEventListener("click", () => { most += PAGE; nodes(); });
  $("node-details").addEventListener("toggle", nodes);
  $("node-tools").hidden = false;
  colour();
  apply();
})();
