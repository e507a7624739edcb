// The other sections of the page, and the start of the script.

const KIND_OF_CLAIM = { reproduced: 'good', 'same direction': 'doubt', 'not reproduced': 'bad' };
const DARK = matchMedia('(prefers-color-scheme: dark)');
const KEPT = 'bench-colours';
const TIES_SHOWN = 4;

const notesOf = (notes) => make('ul', { className: 'notes', hidden: !notes.length },
  ...notes.map((note) => make('li', {}, note)));

function buildDevices() {
  data.devices.forEach((device, n) => {
    const own = rows.filter((row) => row.device === n);
    const failed = own.filter((row) => row.stage).length;
    const counts = `${own.length} case${own.length === 1 ? '' : 's'}${failed ? `, ${failed} failed` : ''}`
      + `${device.latest ? '' : '; an earlier environment'}`;
    at('device-list').append(make('dt', { id: `device-${n}` }, device.label), make('dd', {},
      `${counts}. Environment ${device.environment}: ${device.about}.`, notesOf(device.notes)));
  });
  at('device-list').after(
    ...data.tallies.map((tally) => make('p', { className: 'muted' }, `${tally}.`)),
    notesOf(data.warnings),
  );
}

/** A sentence on a winner: its name, latency and interval, accuracy, and ties. */
function winnerOf(title, winner) {
  const sign = winner.verdict === 'SUSPECT' ? ' †' : '';
  const between = winner.low === null ? '' : ` (${ms(winner.low)} to ${ms(winner.high)})`;
  const top1 = winner.top1 === null ? '' : `, top-1 ${significant(winner.top1)} %`;
  const others = winner.ties.length - TIES_SHOWN;
  const more = others > 0 ? ` and ${others} more` : '';
  const ties = winner.ties.length
    ? `. Tied with ${winner.ties.slice(0, TIES_SHOWN).join(', ')}${more}` : '';
  return make('li', {}, `${title}: `, make('strong', {}, winner.name + sign),
    `, ${ms(winner.seconds)} ms${between}${top1}${ties}.`);
}

function buildAnswers() {
  const several = (key) => unique(data.answers.map((each) => each[key])).length > 1;
  at('answer-list').append(...data.answers.flatMap((answer) => {
    const place = [several('device') || several('batch') ? data.devices[answer.device].label : '',
      `batch ${answer.batch}`, several('size') ? answer.size : '', answer.allocation];
    const lines = [winnerOf(`Fastest of ${answer.cases} cases`, answer.fastest)];
    if (answer.accurate) {
      const least = significant(answer.least_top1);
      lines.push(winnerOf(`Fastest with a top-1 of at least ${least} %`, answer.accurate));
    }
    return [make('h3', {}, place.filter(Boolean).join(', ')),
      make('ul', { className: 'answers' }, ...lines)];
  }));
}

function buildClaims() {
  const verdicts = data.claims.map((claim) => claim.verdict.replace(' †', ''));
  const counts = byFrequency(verdicts).map((verdict) => (
    `${verdicts.filter((each) => each === verdict).length} ${verdict}`));
  at('claim-summary').textContent = `${data.claims.length} claim${data.claims.length === 1 ? '' : 's'}: ${counts.join(', ')}`;
  const labels = unique(data.claims.flatMap((claim) => Object.keys(claim.ours)));
  const titles = ['Claim', 'Where', 'Reported', 'Paper’s own tables', ...labels, 'Verdict'];
  const table = at('claim-table');
  table.tHead.rows[0].append(...titles.map((title) => make('th', { scope: 'col' }, title)));
  table.tBodies[0].append(...data.claims.map((claim) => {
    const ours = labels.map((label) => claim.ours[label] ?? 'not measured');
    return make('tr', {}, make('th', { scope: 'row' }, claim.title),
      ...[claim.where, claim.reported, claim.recomputed, ...ours].map((cell) => (
        make('td', {}, cell || '–'))),
      make('td', { className: KIND_OF_CLAIM[claim.verdict.replace(' †', '')] || 'muted' }, claim.verdict));
  }));
}

function isDark() {
  return root.style.colorScheme ? root.style.colorScheme === 'dark' : DARK.matches;
}

/** Set light or dark colours; '' follows the system. */
function setScheme(scheme) {
  root.style.colorScheme = scheme;
  at('theme').textContent = isDark() ? 'Light colours' : 'Dark colours';
  readTheme();
  if (rows.length) update();
  drawPanels();
}

/** Store the scheme if given; return the stored one, or '' if the browser denies storage. */
function kept(scheme) {
  try {
    if (scheme !== undefined) localStorage.setItem(KEPT, scheme);
    return localStorage.getItem(KEPT) || '';
  } catch {
    return '';
  }
}

function buildTheme() {
  at('theme').addEventListener('click', () => {
    const scheme = isDark() ? 'light' : 'dark';
    kept(scheme);
    setScheme(scheme);
  });
  DARK.addEventListener('change', () => setScheme(root.style.colorScheme));
  let before = '';
  addEventListener('beforeprint', () => {
    before = root.style.colorScheme;
    setScheme('light');
  });
  addEventListener('afterprint', () => setScheme(before));
}

/** Show a section and add it to the table of contents. */
function reveal(id) {
  at(id).hidden = false;
  const title = at(id).querySelector('h2').textContent;
  const link = make('a', { href: `#${id}` }, title);
  link.addEventListener('click', (event) => { // the address keeps the filters
    event.preventDefault();
    const folded = at(id).querySelector('details:not(#table details)');
    if (folded) folded.open = true;
    at(id).scrollIntoView();
  });
  at('contents').append(make('li', {}, link));
}

function start() {
  if (data.answers.length) {
    reveal('answers');
    buildAnswers();
  }
  if (groups.length) reveal('budget');
  buildDevices();
  reveal('devices');
  if (rows.length) {
    if (data.accuracies.length) reveal('accuracy');
    else { // without a known top-1 there is no picture, but the table keeps its filters
      at('of-dataset').hidden = true;
      at('cases').querySelector('h2').after(at('choices'));
    }
    reveal('cases');
    buildChoosers();
    setAccuracies();
    buildTable();
    if (groups.length) buildBudget();
    rememberOpening();
    readAddress();
    setAccuracies();
    if (groups.length) changedBudget();
    addEventListener('hashchange', () => {
      readAddress();
      setAccuracies();
      if (groups.length) changedBudget();
      update();
    });
  }
  if (data.profiles.length) {
    reveal('time');
    buildPanels();
  }
  if (data.claims.length) {
    reveal('claims');
    buildClaims();
  }
  buildTheme();
  setScheme(kept());
}

start();
