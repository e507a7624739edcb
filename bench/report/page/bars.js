// Where the time goes: stacked bars, a panel for each device and batch.

const OUTLINE = '#8a8a8a'; // visible next to every term, on light and dark paper

const share = (part, whole) => `${significant((100 * part) / whole)} %`;

function buildPanels() {
  at('terms').append(make('li', {}, 'Term'), ...data.terms.map(({ term, colour, hatch }) => {
    const swatch = make('span', { className: 'swatch' });
    swatch.style.background = hatch
      ? `repeating-linear-gradient(${hatch === '/' ? 135 : 45}deg, ${colour} 0 3px,
          ${hatch === '/' ? '#ffffff' : OUTLINE} 3px 4px)` : colour;
    return make('li', {}, swatch, term);
  }));
  data.profiles.forEach((panel, n) => {
    const doubts = panel.bars.flatMap(({ name, doubts: found }) => (
      found.map((doubt) => `${name}: ${doubt}`)));
    const title = `${data.devices[panel.device].label}, batch ${panel.batch}`;
    const picture = make('div', { id: `bars-${n}`, role: 'group', ariaLabel: title });
    picture.style.height = `${90 + 34 * panel.bars.length}px`;
    at('panels').append(make('h3', {}, title), ...(panel.bars.length ? [picture] : []),
      notesOf([...panel.failures, ...panel.notes, ...doubts]));
  });
  at('unit').addEventListener('change', drawPanels);
}

function drawPanels() {
  const unit = document.querySelector('[name="unit"]:checked').value;
  data.profiles.forEach((panel, n) => {
    if (panel.bars.length) drawPanel(`bars-${n}`, panel.bars, unit);
  });
}

function drawPanel(id, bars, unit) {
  const scales = bars.map((bar) => (unit === 'ms' ? 1e3 : 100 / bar.latency));
  const ends = bars.map((bar, i) => scales[i]
    * Math.max(bar.latency, ...bar.segments.map(([, left, width]) => left + width)));
  const traces = data.terms.map((term) => termTrace(term, bars, scales));
  Plotly.react(id, [...traces.filter((trace) => trace.x.length), latencyTrace(bars, scales)],
    layoutOf({
      barmode: 'overlay', margin: { l: 8, r: 16, t: 28, b: 44 },
      xaxis: { range: [0, 1.03 * Math.max(...ends)],
        title: { text: unit === 'ms' ? 'Latency (ms)' : 'Share of the latency (%)' } },
      yaxis: { range: [bars.length - 0.4, -0.6], showgrid: false, automargin: true,
        fixedrange: true, tickvals: bars.map((_, i) => i),
        ticktext: bars.map((bar) => `${literal(bar.name)}${bar.doubts.length ? ' *' : ''}  `) },
    }), CONFIG);
}

/** The segments of a term in all bars; a negative one extends back and is not filled. */
function termTrace({ term, colour, hatch }, bars, scales) {
  const parts = bars.flatMap((bar, i) => bar.segments.filter(([name]) => name === term)
    .map(([, left, width]) => ({ bar, place: i, left, width })));
  return {
    type: 'bar', orientation: 'h', width: 0.64, name: literal(term), hoverinfo: 'text',
    y: parts.map(({ place }) => place),
    base: parts.map(({ left, place }) => left * scales[place]),
    x: parts.map(({ width, place }) => width * scales[place]),
    hovertext: parts.map(({ bar, width }) => [`<b>${literal(term)}</b>`, literal(bar.name),
      `${ms(width)} ms, ${share(width, bar.latency)}`].join('<br>')),
    marker: {
      color: parts.map(({ width }) => (width < 0 ? 'rgba(0,0,0,0)' : colour)),
      line: { color: OUTLINE, width: 0.8 },
      pattern: { shape: hatch, fillmode: 'overlay', size: 6, solidity: 0.25,
        fgcolor: hatch === 'x' ? OUTLINE : '#ffffff' },
    },
  };
}

/** The marks at the latencies without the profiler. */
const latencyTrace = (bars, scales) => ({
  mode: 'markers', hoverinfo: 'text', y: bars.map((_, i) => i),
  x: bars.map((bar, i) => bar.latency * scales[i]),
  hovertext: bars.map((bar) => `${literal(bar.name)}<br>${ms(bar.latency)} ms, the median`),
  marker: { symbol: 'line-ns', size: 26, line: { color: theme.ink, width: 2 } },
});
