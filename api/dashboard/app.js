/** The page: who is logged in, which view is shown, and what every view has around it. */

import { logIn, logOut, present, session, whoAmI } from "./lib/api.js";
import { plural, span } from "./lib/format.js";
import { html, render, useEffect, useRef, useState } from "./lib/html.js";
import { live, useLive } from "./lib/live.js";
import { Act, Icon, Messages, Notice, place, Problem, Questions, tell } from "./lib/ui.js";
import * as overview from "./views/overview.js";

/** By the name in the address. Only the first is loaded with the page. */
const VIEWS = {
  overview: ["Overview", "M2 9l6-6 6 6M4 8v6h8V8", async () => overview],
  traffic: ["Traffic", "M1.5 12l3.5-5 3 3 3.5-6 3 4", () => import("./views/traffic.js")],
  pools: ["Pools", "M2 3.5h12v3H2zM2 9.5h12v3H2zM4.5 5h.1M4.5 11h.1", () => import("./views/pools.js")],
  routes: ["Routes", "M3 3v4a3 3 0 003 3h7M10 7l3 3-3 3", () => import("./views/routes.js")],
  cache: ["Cache", "M2.5 4.5c0-1.2 2.5-2 5.5-2s5.5.8 5.5 2v7c0 1.2-2.5 2-5.5 2s-5.5-.8-5.5-2zM2.5 8c0 1.2 2.5 2 5.5 2s5.5-.8 5.5-2", () => import("./views/cache.js")],
  cdn: ["CDN", "M8 2a6 6 0 100 12A6 6 0 008 2zM2 8h12M8 2c4 4 4 8 0 12M8 2c-4 4-4 8 0 12", () => import("./views/cdn.js")],
  community: ["Community", "M6 7.5a2.5 2.5 0 100-5 2.5 2.5 0 000 5zM1.5 13.5c0-3 2-4.5 4.5-4.5s4.5 1.5 4.5 4.5M11 3a2.3 2.3 0 010 4.5M12 9.3c1.7.6 2.5 2 2.5 4.2", () => import("./views/community.js")],
  errors: ["Errors", "M8 2.2L14.6 13.6H1.4zM8 6.4v3.4M8 11.6v.2", () => import("./views/errors.js")],
  config: ["Config", "M5 2.5h6.5v11h-9V5zM5 2.5V5H2.5M5 8h4M5 10.5h4", () => import("./views/config.js")],
  system: ["System", "M4.5 4.5h7v7h-7zM6.5 1.8v2.7M9.5 1.8v2.7M6.5 11.5v2.7M9.5 11.5v2.7M1.8 6.5h2.7M1.8 9.5h2.7M11.5 6.5h2.7M11.5 9.5h2.7", () => import("./views/system.js")],
  reference: ["API", "M5.5 4L2 8l3.5 4M10.5 4L14 8l-3.5 4", () => import("./views/reference.js")],
};

const Picture = ({ path }) => html`<svg class="icon" viewBox="0 0 16 16" width="18" height="18" aria-hidden="true" focusable="false"><path d=${path} /></svg>`;

function Login() {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const enter = async (event) => {
    event.preventDefault();
    const key = String(new FormData(event.target).get("key")).trim();
    setBusy(true);
    try {
      await logIn(key);
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  return html`<main class="login">
    <form class="card" onSubmit=${enter}>
      <h1><${Brand} /></h1>
      <label class="field"><span>Admin key</span>
        <input name="key" type="password" autocomplete="current-password" required autofocus spellcheck=${false} aria-describedby="key-help" /></label>
      <p id="key-help" class="soft">The balancer prints one when it starts without any. Others come from <code>balancer key create</code>.</p>
      <${Problem} error=${error} />
      <button type="submit" class="primary" disabled=${busy}>${busy ? "Logging in…" : "Log in"}</button>
    </form>
    <${Messages} />
  </main>`;
}

const Brand = () => html`<span class="brand"><svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true"><rect width="32" height="32" rx="7" class="brand-box" /><path class="brand-lines" d="M5 16h7M12 16c5 0 5-8 10-8h4M12 16h14M12 16c5 0 5 8 10 8h4" /></svg>Balancer</span>`;

const THEME_PATHS = {
  system: "M8 2.2a5.8 5.8 0 100 11.6A5.8 5.8 0 008 2.2z",
  light: "M8 5.2a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.6zM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  dark: "M13 9.5A5.5 5.5 0 016.5 3 5.5 5.5 0 1013 9.5z",
};
const THEMES = { system: "as the system", light: "light", dark: "dark" };

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "system");
  const turn = () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(theme) + 1) % names.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("balancer.theme", next);
    } catch {
      // It is kept until the page is left.
    }
    setTheme(next);
    dispatchEvent(new Event("themechange"));
  };
  return html`<button type="button" class="quiet" onClick=${turn} title="Colours: ${THEMES[theme]}" aria-label="Colours: ${THEMES[theme]}. Change">
    <svg class="icon" viewBox="0 0 16 16" width="18" height="18" aria-hidden="true"><path d=${THEME_PATHS[theme]} />${theme === "system" && html`<path fill="currentColor" d="M8 2.2a5.8 5.8 0 010 11.6z" />`}</svg>
  </button>`;
}

/** Whether what is shown is of now. */
function Pulse() {
  const { state, retry_at: again, version } = useLive();
  const [, draw] = useState(0);
  useEffect(() => {
    const timer = state === "waiting" ? setInterval(() => draw((n) => n + 1), 1000) : 0;
    return () => clearInterval(timer);
  }, [state]);
  if (state === "on") return html`<span class="pulse on" title="version ${version}"><span class="dot" aria-hidden="true"></span>live</span>`;
  if (state === "waiting") return html`<span class="pulse off"><span class="dot" aria-hidden="true"></span>no answer; trying again in ${Math.max(1, Math.ceil((again - Date.now()) / 1000))} s</span>`;
  return html`<span class="pulse"><span class="dot" aria-hidden="true"></span>connecting</span>`;
}

/** What is wrong, on top of every view. */
function Banners({ overlay }) {
  const { second, state } = useLive();
  const bad = Object.entries(second?.checks ?? {});
  const open = Object.entries(second?.pools ?? {}).filter(([, pool]) => pool.open);
  return html`<div class="banners">
    ${overlay && second?.overlaid && html`<${Notice} level="info">Not everything is as the configuration file says: it was changed over the API. <a href="#/config?tab=differences">See what</a></${Notice}>`}
    ${state === "waiting" && html`<${Notice} level="warning">The balancer does not answer. What is shown is from before.</${Notice}>`}
    ${second?.trial !== null && second?.trial !== undefined && html`<${Notice} level="warning">A change of the configuration is on trial: it undoes itself in ${span(second.trial)} unless it is confirmed. <a href="#/config">Look at it</a></${Notice}>`}
    ${open.map(([name]) => html`<${Notice} level="bad"><strong>${name} fails open:</strong> too few of its servers are well, so all of them have traffic. <a href="#/pools?pool=${encodeURIComponent(name)}">See why</a></${Notice}>`)}
    ${(second?.certificates ?? []).map(([listener, name, days]) => html`<${Notice} level=${days < 3 ? "bad" : "warning"}>The certificate <strong>${name}</strong> of ${listener} ${days < 0 ? "has ended" : `ends in ${plural(Math.floor(days), "day")}`}. <a href="#/system?tab=certificates">See all</a></${Notice}>`)}
    ${bad.filter(([name]) => !open.some(([pool]) => name === `pool ${pool}`)).map(([name, [status, reason]]) => html`<${Notice} level=${status === "down" ? "bad" : "warning"}><strong>${name}</strong> is ${status}${reason && `: ${reason}`}</${Notice}>`)}
  </div>`;
}

function Shell() {
  const [at, setAt] = useState(place());
  const [view, setView] = useState({ name: "overview", module: overview });
  const [failure, setFailure] = useState(null);
  const main = useRef(null);
  const { second } = useLive();
  useEffect(() => {
    const move = () => setAt(place());
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);
  const name = at.name in VIEWS ? at.name : "overview";
  useEffect(() => {
    let left = false;
    setFailure(null);
    document.title = `${VIEWS[name][0]} · Balancer`;
    VIEWS[name][2]().then(
      (module) => left || setView({ name, module }),
      (error) => left || setFailure(error),
    );
    return () => {
      left = true;
    };
  }, [name]);
  useEffect(() => {
    document.querySelector(".side a[aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
  }, [name]);
  const first = useRef(true);
  useEffect(() => {
    // Whoever reads with a screen reader, or a keyboard, is to be where the new view begins.
    if (!first.current) {
      main.current?.querySelector("h1")?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    first.current = false;
  }, [view.name]);
  useEffect(() => {
    const keys = (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.("input, textarea, select, dialog")) return;
      const index = event.key === "0" ? 9 : Number(event.key) - 1;
      const found = Object.keys(VIEWS)[index];
      if (found) location.hash = `#/${found}`;
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);
  const ailing = Object.values(second?.checks ?? {});
  const worst = ailing.some(([status]) => status === "down") ? "down" : ailing.length ? "degraded" : second ? "ok" : "unknown";
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current?.focus(); }}>To the content</a>
    <header class="top">
      <a href="#/overview" class="home"><${Brand} /></a>
      <span class="badge ${{ ok: "good", degraded: "warning", down: "bad", unknown: "quiet" }[worst]}"><${Icon} name=${{ ok: "ok", degraded: "warn", down: "bad", unknown: "clock" }[worst]} />${{ ok: "all is well", degraded: "degraded", down: "down", unknown: "…" }[worst]}</span>
      <span class="gap"></span>
      <${Pulse} />
      <${Theme} />
      <span class="who" title="key ${session.current.key}">${session.current.role}</span>
      <${Act} kind="quiet" onAct=${logOut}>Log out</${Act}>
    </header>
    <nav class="side" aria-label="Views"><ul>${Object.entries(VIEWS).map(([own, [title, path]], i) => html`<li><a href="#/${own}" aria-current=${own === name ? "page" : undefined} title="${title}${i < 10 ? `, key ${(i + 1) % 10}` : ""}"><${Picture} path=${path} /><span>${title}</span></a></li>`)}</ul></nav>
    <main id="main" ref=${main} tabindex="-1" aria-busy=${view.name !== name}>
      <${Banners} overlay=${view.name === "overview"} />
      ${failure ? html`<${Stale} />` : html`<div class="view" key=${view.name}><${view.module.default} query=${at.query} rest=${at.rest} /></div>`}
    </main>
    <${Messages} /><${Questions} />`;
}

/** A view could not be loaded: mostly as the balancer has been upgraded under the page. */
const Stale = () => html`<${Notice} level="warning">This view could not be loaded. If the balancer has been upgraded, the page has to be loaded anew. <button type="button" onClick=${() => location.reload()}>Load it anew</button></${Notice}>`;

function App() {
  const [who, setWho] = useState(session.current);
  const [failure, setFailure] = useState(null);
  useEffect(() => {
    session.listeners.add(setWho);
    begin().catch(setFailure);
    return () => session.listeners.delete(setWho);
  }, []);
  useEffect(() => {
    if (who) live.start();
    else live.stop();
  }, [!!who]);
  if (failure) return html`<main class="login"><${Problem} error=${failure} retry=${() => { setFailure(null); begin().catch(setFailure); }} /></main>`;
  if (who === undefined) return html`<main class="login" aria-busy="true"></main>`;
  return who === null ? html`<${Login} />` : html`<${Shell} />`;
}

/** A link may carry a key behind #, which no server is told: it is used once, by whoever is not logged in, and taken out of the address. */
async function begin() {
  const found = /^#login=(.+)$/.exec(location.hash);
  if (found) {
    history.replaceState(null, "", "#/overview");
    // Somebody else's link must not put another key in the place of the one that is in use.
    const already = await present();
    if (already) {
      session.set(already);
      return tell({ level: "bad", text: `You are logged in with ${session.current.key}: log out before you use the link's key.` });
    }
    try {
      return await logIn(decodeURIComponent(found[1]));
    } catch (error) {
      tell({ level: "bad", text: error.message });
    }
  }
  await whoAmI();
}

addEventListener("hashchange", () => /^#login=/.test(location.hash) && begin());
render(html`<${App} />`, document.getElementById("app"));
