/* app.js - the page at /: one conversation, or one text, over the public interface.
 *
 * Everything that the model, the server or the user wrote reaches the page as a
 * text node, never as markup. The key is kept in the tab's sessionStorage and
 * goes nowhere but into the Authorization header of this server's requests. */
'use strict';

const $ = (id) => document.getElementById(id);
const KEY = 'bitnetd-key';
const POLL_MS = 2000;

const state = {
    talk: [],                       // messages of the conversation, OpenAI's shape
    abort: null,                    // of the answer under way
    template: null,                 // the model's chat template; null: it has none
    ready: false,
};

/* ---- the server ---- */

class ServerError extends Error {
    constructor(status, text, code) {
        super(text);
        this.status = status;
        this.code = code;
    }
}

async function refusal(response) {
    let text = `the server answers ${response.status}`, code = null;
    try {
        const { error } = await response.json();
        text = error.message;
        code = error.code;
    } catch { /* not one of ours */ }
    return new ServerError(response.status, text, code);
}

/* One request; a 401 asks for the key and, with one, tries once more. */
async function call(path, options = {}, again = true) {
    const headers = { ...options.headers };
    const key = sessionStorage.getItem(KEY);
    if (key)
        headers.Authorization = `Bearer ${key}`;
    const response = await fetch(path, { ...options, headers, cache: 'no-store' });
    if (response.ok)
        return response;
    const error = await refusal(response);
    if (response.status === 401 && again && await askKey(error.message))
        return call(path, options, false);
    throw error;
}

/* The data of each event, as it comes. */
async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = '', data = [];
    for (;;) {
        const { value, done } = await reader.read();
        if (done)
            return;
        const lines = (held + value).split('\n');
        held = lines.pop();
        for (const raw of lines) {
            const line = raw.replace(/\r$/, '');
            if (line.startsWith('data:'))
                data.push(line.slice(5).replace(/^ /, ''));
            else if (line === '' && data.length) {
                yield data.join('\n');
                data = [];
            }
        }
    }
}

/* ---- the key ---- */

let asking = null;                  // several requests may meet the 401 at once

function askKey(why) {
    asking ??= new Promise((resolve) => {
        const dialog = $('key-dialog');
        $('key-text').textContent = why ||
            'It stays in this tab and is forgotten with it. Empty: none.';
        $('key').value = sessionStorage.getItem(KEY) || '';
        const end = (saved) => {
            if (saved && $('key').value)
                sessionStorage.setItem(KEY, $('key').value);
            else if (saved)
                sessionStorage.removeItem(KEY);
            asking = null;
            dialog.onclose = null;
            dialog.close();
            resolve(saved);
        };
        $('key-save').onclick = () => end(true);
        $('key-cancel').onclick = () => end(false);
        $('key').onkeydown = (e) => { if (e.key === 'Enter') end(true); };
        dialog.onclose = () => end(false);
        dialog.showModal();
        $('key').focus();
    });
    return asking;
}

/* ---- what is served ---- */

function say(text, mood, more = '') {
    $('model-name').textContent = text;
    $('model-more').textContent = more;
    $('dot').className = `dot ${mood}`;
}

async function connect() {
    try {
        const model = (await (await call('/v1/models')).json()).data[0];
        state.template = model.meta.chat_template;
        state.ready = true;
        const form = state.template ? `, ${state.template} template` : '';
        say(model.id, '', `, ${model.meta.n_ctx} tokens of context${form}`);
        if (!state.template && !state.talk.length)
            setMode('completion');
        showMode();
    } catch (error) {
        say(error.status === 503 ? 'the model is still being loaded'
            : error instanceof ServerError ? error.message : 'no connection', 'bad');
        if (error.status !== 401)
            setTimeout(connect, POLL_MS);
    }
}

/* ---- parameters ---- */

const NUMBERS = ['temperature', 'max_tokens', 'top_p', 'top_k', 'min_p', 'seed'];

function parameters() {
    const body = { stream: true, stream_options: { include_usage: true } };
    for (const name of NUMBERS)
        if ($(name).value !== '')
            body[name] = Number($(name).value);
    const stop = $('stop_texts').value.split('\n').filter((s) => s !== '')
        .map((s) => s.replaceAll('\\n', '\n'));
    if (stop.length)
        body.stop = stop;
    return body;
}

/* ---- the log ---- */

function element(tag, name, text) {
    const e = document.createElement(tag);
    e.className = name;
    if (text !== undefined)
        e.textContent = text;
    return e;
}

/* Follows the text only while the reader is at its end. */
function show(change) {
    const log = $('log');
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
    change();
    if (atEnd)
        log.scrollTop = log.scrollHeight;
}

function addTurn(kind, who) {
    const turn = element('article', `turn ${kind}`);
    const text = element('div', 'text');
    turn.setAttribute('aria-label', who);
    turn.append(element('p', 'who', who), text);
    $('hint').hidden = true;
    show(() => $('log').append(turn));
    return { turn, text };
}

function addError(message) {
    const e = element('div', 'error', message);
    e.setAttribute('role', 'alert');
    $('hint').hidden = true;
    show(() => $('log').append(e));
}

/* ---- an answer ---- */

class Speed {
    constructor() {
        this.start = performance.now();
        this.first = this.last = 0;
        this.pieces = 0;
        this.tokens = 0;            // the server's count, at the end
    }

    piece() {
        this.last = performance.now();
        this.first ||= this.last;
        this.pieces++;
    }

    /* A piece is a token or, where half a code point was held back, several. */
    text() {
        if (!this.first)
            return '';
        const n = this.tokens || this.pieces, s = (this.last - this.first) / 1000;
        const rate = n > 1 && s > 0 ? `${((n - 1) / s).toFixed(1)} tokens/s` : '';
        const first = `first after ${Math.round(this.first - this.start)} ms`;
        return [rate, first].filter(Boolean).join(', ');
    }
}

const ENDS = {
    stop: '', length: 'Cut at its length.',
    stopped: 'Stopped.', tool_calls: '',
};

/* Streams the answer into `into`; what was said, also when it was stopped. */
async function follow(path, body, into, speed) {
    let said = '', end = null;
    const node = document.createTextNode('');
    into.append(node);
    const response = await call(path, {
        method: 'POST', body: JSON.stringify(body), signal: state.abort.signal,
        headers: { 'Content-Type': 'application/json' },
    });
    try {
        for await (const data of events(response)) {
            if (data === '[DONE]')
                return { said, end };
            const event = JSON.parse(data);
            if (event.error)
                throw new ServerError(0, event.error.message, event.error.code);
            if (event.usage)
                speed.tokens = event.usage.completion_tokens;
            const choice = event.choices && event.choices[0];
            const piece = choice && (choice.delta ? choice.delta.content : choice.text);
            end = (choice && choice.finish_reason) || end;
            if (!piece)
                continue;
            speed.piece();
            said += piece;
            /* Models of conversations often begin with empty lines. */
            const shown = body.messages && !node.length ? piece.replace(/^\n+/, '') : piece;
            show(() => node.appendData(shown));
            $('speed').textContent = speed.text();
        }
        throw new ServerError(0, 'the connection ended before the answer did');
    } catch (error) {
        if (error.name === 'AbortError')
            return { said, end: 'stopped' };
        error.said = said;
        throw error;
    }
}

function busy(on) {
    $('send').hidden = on;
    $('stop').hidden = !on;
    for (const radio of document.getElementsByName('mode'))
        radio.disabled = on;
}

async function answer(path, body, view, keep) {
    const speed = new Speed();
    state.abort = new AbortController();
    busy(true);
    $('speed').textContent = '';
    view.turn.setAttribute('aria-busy', 'true');
    try {
        const { said, end } = await follow(path, body, view.text, speed);
        keep(said);
        const note = [ENDS[end] ?? end, speed.tokens && `${speed.tokens} tokens`, speed.text()];
        view.turn.append(element('p', 'note', note.filter(Boolean).join(' \u00b7 ')));
    } catch (error) {
        keep(error.said || '');
        if (!error.said)
            view.turn.remove();
        if (error.name !== 'AbortError')
            addError(error.message);
    } finally {
        view.turn.removeAttribute('aria-busy');
        state.abort = null;
        $('speed').textContent = '';   /* the note has it now */
        busy(false);
        $('prompt').focus();
        show(() => {});
    }
}

function mode() {
    return document.querySelector('input[name=mode]:checked').value;
}

function chat(text) {
    const system = $('system').value;
    addTurn('user', 'You').text.textContent = text;
    state.talk.push({ role: 'user', content: text });
    const messages = system ? [{ role: 'system', content: system }, ...state.talk] : state.talk;
    /* What was not answered is not part of the conversation. */
    const keep = (said) => {
        if (said)
            state.talk.push({ role: 'assistant', content: said });
        else
            state.talk.pop();
    };
    return answer('/v1/chat/completions', { ...parameters(), messages },
        addTurn('assistant', 'Answer'), keep);
}

function complete(text) {
    const view = addTurn('assistant', 'Text');
    view.text.append(element('span', 'given', text));
    return answer('/v1/completions', { ...parameters(), prompt: text }, view, () => {});
}

function send() {
    const text = $('prompt').value;
    if (state.abort || text.trim() === '')
        return;
    $('prompt').value = '';
    grow();
    $('log').scrollTop = $('log').scrollHeight;
    (mode() === 'chat' ? chat : complete)(text);
}

function stop() {
    if (state.abort)
        state.abort.abort();
}

/* ---- modes ---- */

function setMode(name) {
    document.querySelector(`input[name=mode][value=${name}]`).checked = true;
}

function showMode() {
    const talk = mode() === 'chat', none = talk && state.ready && !state.template;
    $('system-row').hidden = !talk;
    $('prompt').placeholder = talk ? 'Message' : 'Once upon a time';
    $('prompt-label').textContent = talk ? 'Message' : 'Text to continue';
    $('hint-title').textContent = none ? 'This model has no chat template.'
        : talk ? 'Ask something.' : 'Begin a text.';
    $('hint-text').textContent = none
        ? 'The server cannot make a prompt of a conversation; chat.template names one. Completion works.'
        : talk ? 'The model remembers this conversation until you clear it.'
            : 'The model writes on from where you stop.';
}

function clear() {
    stop();
    state.talk = [];
    for (const e of [...$('log').children])
        if (e.id !== 'hint')
            e.remove();
    $('hint').hidden = false;
    $('speed').textContent = '';
    showMode();
    $('prompt').focus();
}

/* The field is as high as its text. */
function grow() {
    const p = $('prompt');
    p.style.height = 'auto';
    p.style.height = `${p.scrollHeight + 2}px`;
}

/* ---- the server's numbers ---- */

/* Prometheus text as name{labels} -> value, without the prefix. */
function parseMetrics(text) {
    const all = new Map();
    for (const line of text.split('\n')) {
        const at = line.lastIndexOf(' ');
        if (line && line[0] !== '#')
            all.set(line.slice(0, at).replace(/^bitnetd_/, ''), Number(line.slice(at + 1)));
    }
    return all;
}

const last = { tokens: null, at: 0 };

function percent(id, part, all) {
    const of = all > 0 ? part / all : 0;
    $(id).textContent = all > 0 ? `${(of * 100).toFixed(of < 0.1 ? 1 : 0)} %` : '\u2013';
    $(`${id}-bar`).value = of;
}

function showMetrics(all) {
    const get = (name) => all.get(name) ?? 0, now = performance.now();
    const tokens = get('generated_tokens_total');
    const page = (s) => get(`kv_pages{state="${s}"}`);
    $('m-running').textContent = get('requests_running') + get('requests_parked');
    $('m-waiting').textContent = get('requests_waiting');
    $('m-tokens').textContent = tokens.toLocaleString('en');
    if (last.tokens !== null)
        $('m-rate').textContent = ((tokens - last.tokens) / (now - last.at) * 1000).toFixed(1);
    last.tokens = tokens;
    last.at = now;
    percent('m-kv', page('used'), page('used') + page('cached') + page('free'));
    percent('m-prefix', get('prefix_cache_hit_tokens_total'), get('prefix_cache_query_tokens_total'));
}

let polling = false;

async function poll() {
    if (polling)
        return;
    polling = true;
    last.tokens = null;
    while ($('metrics').open) {
        try {
            if (!document.hidden)
                showMetrics(parseMetrics(await (await call('/metrics')).text()));
            $('m-note').textContent = '';
        } catch (error) {
            $('m-note').textContent = error.message;
            if (error.status === 401)
                $('metrics').open = false;
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    polling = false;
}

async function showSelection() {
    if (!$('selection').open)
        return;
    try {
        /* A row is long: what was chosen, then a line for each that was not. */
        const table = await (await call('/selection')).text();
        $('selection-text').textContent = table.replaceAll(' | ', '\n    ');
    } catch (error) {
        $('selection-text').textContent = error.message;
    }
}

/* ---- hands ---- */

function togglePanel() {
    const open = $('panel').classList.toggle('open');
    $('panel-open').setAttribute('aria-expanded', String(open));
    $('panel-open').textContent = open ? 'Back' : 'Settings';
}

function onKey(e) {
    if (e.key !== 'Enter' || e.shiftKey || e.isComposing)
        return;
    e.preventDefault();
    send();
}

$('send').onclick = send;
$('stop').onclick = stop;
$('clear').onclick = clear;
$('panel-open').onclick = togglePanel;
$('key-open').onclick = async () => {
    if (await askKey(''))
        connect();
};
$('prompt').onkeydown = onKey;
$('prompt').oninput = grow;
$('metrics').ontoggle = poll;
$('selection').ontoggle = showSelection;
for (const radio of document.getElementsByName('mode'))
    radio.onchange = () => { clear(); };
document.addEventListener('keydown', (e) => {
    if (e.key === 'Escape' && !$('key-dialog').open)
        stop();
});
showMode();
connect();
