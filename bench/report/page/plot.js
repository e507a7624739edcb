// Accuracy over latency. Colour: family; marker: form; dash: device, or family of one device. Hollow markers: the paper does
// not report the accuracy. Pale markers: SUSPECT or INVALID.

const LOG_SPREAD = 8; // the axis is logarithmic if max / min exceeds this
const NARROW = 560; // pixels; a narrower picture has a shorter title and no buttons
const MOST_DECADES = 4; // up to so many decades, 2 and 5 have ticks too
const MOST_TICKS = 12;
const PLAIN = [0.9e-4, 0.9e6]; // ticks outside this range have an exponent
const FILLS = { '': '●', '-open': '○', '-open-dot': '⊙' };
const BRIGHTER = 0.45; // share of ink in a family's colour on a dark page
const SOURCES = { paper: 'reported by the paper', timm: 'published by timm',
  measured: 'given by the user', evaluated: 'measured here' };
const DASHES = ['solid', 'dot', 'dash', 'dashdot'];
const DRAWN_DASHES = { solid: '──', dot: '····', dash: '– –', dashdot: '–·–' };
let points = new Map(); // the index of each row's marker in the picture

function layoutOf(more) {
  const { ink, paper, rule, muted } = theme;
  const font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink };
  const axis = { gridcolor: rule, linecolor: rule, zeroline: false, fixedrange: false };
  return {
    paper_bgcolor: paper, plot_bgcolor: paper, font, showlegend: false, hovermode: 'closest',
    hoverlabel: { bgcolor: paper, bordercolor: ink, font, align: 'left', namelength: -1 },
    modebar: { bgcolor: paper, color: muted, activecolor: ink },
    ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

// An explicit list, because plotly's default includes a button that uploads the chart.
const CONFIG = { displaylogo: false, responsive: true,
  modeBarButtons: [['zoom2d', 'pan2d', 'zoomIn2d', 'zoomOut2d', 'resetScale2d', 'toImage']] };

/** The colour of a family: that of the figures, brighter on a dark page. */
function colourOf(family) {
  return mixed(data.families[family].colour, theme.ink, isDark() ? BRIGHTER : 0);
}

const FAMILY_DASHES = { solid: 'solid', dashed: 'dash', dotted: 'dot' };

/** The dash of a line: of several devices the device's, else the family's, as in the figures. */
const dashOf = (family, device) => (data.devices.length > 1
  ? DASHES[device % DASHES.length] : FAMILY_DASHES[data.families[family].line]);

const faint = (tone) => `rgba(${channels(tone).join(', ')}, 0.5)`;
const pale = (tone, level) => mixed(tone, theme.paper, data.pale[level] ?? 0);
const symbolOf = (form) => data.markers[form].symbol;
const glyphOf = (form) => data.markers[form].glyph;
const sourceOf = (row) => row.source.split(',')[0];

/** Filled: reported by the paper. Hollow: other source. With a dot: trained on more images. */
function fillOf(row) {
  if (row.more) return '-open-dot';
  return sourceOf(row) === 'paper' ? '' : '-open';
}

function hoverText(row) {
  const doubts = row.doubts ? `: ${row.doubts.split('\n').join('; ')}` : '';
  const lines = [
    `${row.label}, batch ${row.batch}, ${row.backend}, ${row.precision}, ${row.resolution}², `
      + `${row.threads} threads${row.memory === 'default' ? '' : `, ${row.memory}`}`,
    `Latency ${ms(row.estimate)} ms, ${significant(row.throughput)} img/s`,
    row.low === null ? 'No interval: too few processes' : `95 % interval ${interval(row)} ms`,
    `All iterations: ${plusMinus(row.mean, row.std)} ms, median ${ms(row.median)} ms`
      + (row.calls_per_sample > 1 ? ` of groups of ${row.calls_per_sample} calls` : ''),
    `Rank ${row.rank ?? '–'}, ${shorten((row.verdict || 'no verdict') + doubts)}`,
    `Top-1 ${significant(row.top1)} % (${row.source})`,
  ];
  return [`<b>${literal(row.name)}</b>`, ...lines.map(literal)].join('<br>');
}

/** Rows of the same family, form and setting, joined by a line; sorted by latency. */
function seriesOf(found) {
  const series = new Map();
  for (const row of found) {
    const key = JSON.stringify([row.device, row.batch, row.family, row.form, row.backend,
      row.precision, row.resolution, row.threads, row.memory]);
    if (!series.has(key)) series.set(key, []);
    series.get(key).push(row);
  }
  return [...series.values()].map((members) => members.sort((a, b) => a.estimate - b.estimate));
}

function traceOf(members, placed) {
  const { family, form, device } = members[0];
  const tone = colourOf(family);
  return {
    x: members.map((row) => row.estimate * 1e3),
    y: members.map((row) => row.top1),
    error_x: {
      type: 'data', symmetric: false, thickness: 1, width: 3, color: faint(tone),
      array: members.map((row) => (row.high === null ? NaN : (row.high - row.estimate) * 1e3)),
      arrayminus: members.map((row) => (row.low === null ? NaN : (row.estimate - row.low) * 1e3)),
    },
    mode: 'lines+markers+text', hoverinfo: 'text', hovertext: members.map(hoverText),
    ...textOf(members, placed), cliponaxis: false,
    name: literal(family), opacity: 0.95,
    line: { color: tone, width: 1.4, dash: dashOf(family, device) },
    marker: { symbol: members.map((row) => symbolOf(form) + fillOf(row)), size: 10,
      color: members.map((row) => pale(tone, row.verdict)),
      line: { color: theme.paper, width: members.map((row) => (fillOf(row) ? 1.8 : 1.2)) } },
  };
}

const accuracyOf = (row) => SOURCES[sourceOf(row)]
  + (row.more ? ', weights also trained on more data' : '');

/** Whether a row may be on the front: not INVALID, and trained on ImageNet-1K only. */
const counts = (row) => row.verdict !== 'INVALID' && !row.more;

/** The Pareto front per device and batch: rows more accurate than every faster row. Steps extend to
 * `end`, in milliseconds. */
function fronts(found, end) {
  const groups = new Map();
  for (const row of found.filter(counts).sort((a, b) => a.estimate - b.estimate || b.top1 - a.top1)) {
    const key = `${row.device} ${row.batch}`;
    const front = groups.get(key) || groups.set(key, []).get(key);
    if (!front.length || row.top1 > front[front.length - 1].top1) front.push(row);
  }
  return [...groups.values()].map((front) => ({
    x: [...front.map((row) => row.estimate * 1e3), end],
    y: [...front, front[front.length - 1]].map((row) => row.top1),
    mode: 'lines', hoverinfo: 'skip', name: 'Pareto front',
    line: { color: theme.muted, width: 7, shape: 'hv' }, opacity: 0.28,
  }));
}

function latencyAxis(found) {
  const values = found.map((row) => row.estimate * 1e3);
  const [least, most] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)],
    [Infinity, 0]);
  if (most <= LOG_SPREAD * least) return { range: [0, most * 1.1] };
  const [low, high] = [Math.log10(least) - 0.12, Math.log10(most) + 0.12];
  const digits = high - low > MOST_DECADES ? [1] : [1, 2, 5];
  const step = Math.ceil((high - low) / MOST_TICKS);
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power += step) {
    ticks.push(...digits.map((digit) => digit * 10 ** power));
  }
  return { type: 'log', range: [low, high], tickvals: ticks,
    ticktext: ticks.map((tick) => (tick >= PLAIN[0] && tick < PLAIN[1]
      ? String(Number(tick.toPrecision(1))) : tick.toExponential(0))) };
}

const isNarrow = () => at('plot').clientWidth < NARROW;

/** The range of the accuracies, with a margin, in per cent. */
function accuracyRange(found) {
  const values = found.map((row) => row.top1);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const margin = 0.08 * (most - least) || 1;
  return [least - margin, most + margin];
}

function drawPlot(found) {
  const drawn = found.filter((row) => row.estimate !== null && row.top1 !== null);
  const dataset = at('dataset').selectedOptions[0]?.text;
  at('plot').hidden = at('legend').hidden = !drawn.length;
  points = new Map();
  if (!drawn.length) Plotly.purge('plot');
  else {
    const series = seriesOf(drawn);
    const axis = latencyAxis(drawn);
    const accuracies = accuracyRange(drawn);
    const placed = placedNames(series, axis, { range: accuracies });
    const front = fronts(drawn, axis.type === 'log' ? 10 ** axis.range[1] : axis.range[1]);
    series.forEach((members, curve) => members.forEach((row, i) => points.set(row,
      { curveNumber: front.length + curve, pointNumber: i })));
    const batch = at('batch').value === EVERY ? 'every batch' : `batch ${at('batch').value}`;
    Plotly.react('plot', [...front, ...series.map((each) => traceOf(each, placed))], layoutOf({
      margin: MARGIN,
      xaxis: { ...axis,
        title: { text: `Latency at ${batch} (ms)${isNarrow() ? '' : ', mean of the processes’ medians'}` } },
      yaxis: { range: accuracies, title: { text: `Top-1 on ${literal(dataset)} (%)` } },
    }), { ...CONFIG, displayModeBar: isNarrow() ? false : undefined });
    drawLegend(drawn);
  }
  sayWhatIsMissing(found, drawn, dataset);
}

function sayWhatIsMissing(found, drawn, dataset) {
  const failed = found.filter((row) => row.stage).length;
  const unknown = found.length - drawn.length - failed;
  const reasons = [];
  if (unknown) reasons.push(`${unknown} without a known top-1 on ${dataset || 'any data set'}`);
  if (failed) reasons.push(`${failed} that failed`);
  const start = drawn.length ? 'Not in the picture: ' : 'Nothing to draw: ';
  at('empty').hidden = !reasons.length && drawn.length > 0;
  at('empty').className = drawn.length ? 'muted' : 'note';
  at('empty').textContent = start + (reasons.join(', ') || 'no case matches the filters') + '.';
}

/** A line of the legend from entries [sign, colour, meaning]. */
const keysOf = (title, keys) => make('ul', { className: 'keys' }, make('li', {}, title),
  ...keys.map(([glyph, tone, meaning]) => {
    const sign = make('span', { ariaHidden: 'true' }, `${glyph} `);
    sign.style.color = tone;
    return make('li', {}, sign, meaning);
  }));

function frontOf(drawn) {
  const apart = [drawn.some((row) => row.verdict === 'INVALID') && 'INVALID',
    drawn.some((row) => row.more) && 'more data'].filter(Boolean).join(' and ');
  return `Pareto front: no faster case is as accurate${apart && ` (excluding ${apart})`}`;
}

function drawLegend(drawn) {
  const of = (key) => unique(drawn.map((row) => row[key]));
  const forms = unique(of('form').map(glyphOf)).map((glyph) => [glyph, theme.muted,
    of('form').filter((form) => glyphOf(form) === glyph).join(', ')]);
  const lines = [
    keysOf('Family', families.filter((each) => of('family').includes(each)).map((family) => (
      ['●', colourOf(family), family]))),
    keysOf('Form', [...forms, ...(drawn.some(counts) ? [['━', theme.muted, frontOf(drawn)]] : []),
      ['├┤', theme.muted, '95 % interval']]),
    keysOf('Accuracy', unique(drawn.map(accuracyOf)).map((words) => [
      FILLS[fillOf(drawn.find((row) => accuracyOf(row) === words))], theme.muted, words])),
  ];
  const doubted = ['SUSPECT', 'INVALID'].filter((level) => of('verdict').includes(level));
  if (doubted.length) {
    lines.push(keysOf('Verdict', doubted.map((level) => ['●', pale(theme.ink, level), level])));
  }
  if (of('device').length > 1) {
    lines.push(keysOf('Device', of('device').map((device) => (
      [DRAWN_DASHES[DASHES[device % DASHES.length]], theme.muted, data.devices[device].label]))));
  }
  at('legend').replaceChildren(...lines);
}
